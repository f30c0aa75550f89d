package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Prefixes of a parameter's moments in optimizer.safetensors.
const (
	firstMoment  = "m."
	secondMoment = "v."
)

// Optimizer is the optimiser's moments on disk.
type Optimizer struct {
	file  *safetensors.File
	names []string
}

func openOptimizer(path string) (*Optimizer, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	o := &Optimizer{file: f}
	if err := o.index(); err != nil {
		return nil, commit.Also(fmt.Errorf("%s: %w", optimizerName, err), f.Close())
	}
	return o, nil
}

// index lists the parameters and makes sure that both moments of each are there, alike in shape.
func (o *Optimizer) index() error {
	for _, tensor := range o.file.Names() {
		name, isFirst := strings.CutPrefix(tensor, firstMoment)
		other := secondMoment + name
		if !isFirst {
			var isSecond bool
			if name, isSecond = strings.CutPrefix(tensor, secondMoment); !isSecond {
				return fmt.Errorf("tensor %q is no moment, want %sNAME or %sNAME", tensor, firstMoment, secondMoment)
			}
			other = firstMoment + name
		}
		x, _ := o.file.Tensor(tensor)
		y, ok := o.file.Tensor(other)
		switch {
		case !ok:
			return fmt.Errorf("tensor %q is missing beside %q", other, tensor)
		case x.DType != safetensors.F32:
			return fmt.Errorf("tensor %q is %v, want F32", tensor, x.DType)
		case !slices.Equal(x.Shape, y.Shape):
			return fmt.Errorf("tensor %q is %v, but %q is %v", tensor, x.Shape, other, y.Shape)
		}
		if isFirst {
			o.names = append(o.names, name)
		}
	}
	return nil
}

// Names lists the parameters that have moments.
func (o *Optimizer) Names() []string { return slices.Clone(o.names) }

// Match reports, all at once, which of the trained parameters have no moments or some of another shape,
// and which moments belong to no parameter.
func (o *Optimizer) Match(trained []checkpoints.Spec) error {
	var wrong []string
	known := map[string]bool{}
	for _, want := range trained {
		known[want.Name] = true
		m, ok := o.file.Tensor(firstMoment + want.Name)
		if !ok {
			wrong = append(wrong, want.Name+" has none")
		} else if !slices.Equal(m.Shape, want.Shape) {
			wrong = append(wrong, fmt.Sprintf("%s has %v, want %v", want.Name, m.Shape, want.Shape))
		}
	}
	for _, name := range o.names {
		if !known[name] {
			wrong = append(wrong, name+" is not trained")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	const most = 12
	if n := len(wrong) - most; n > 0 {
		wrong = append(wrong[:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("run: %s: the moments do not fit the trained parameters: %s", o.file.Path(), strings.Join(wrong, "; "))
}

// Read copies a parameter's moments into m and v.
func (o *Optimizer) Read(name string, m, v []float32) error {
	for _, part := range []struct {
		prefix string
		to     []float32
	}{{firstMoment, m}, {secondMoment, v}} {
		x, ok := o.file.Tensor(part.prefix + name)
		if !ok {
			return fmt.Errorf("run: %s: %s has no moments", o.file.Path(), name)
		}
		if x.Len() != len(part.to) {
			return fmt.Errorf("run: %s: tensor %q has %d elements, want %d", o.file.Path(), part.prefix+name, x.Len(), len(part.to))
		}
		if err := x.ReadFloat32s(part.to); err != nil {
			return err
		}
	}
	return nil
}

// Close gives the moments back.
func (o *Optimizer) Close() error { return o.file.Close() }
