package run

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Snapshot is what a checkpoint is made of. Tensors are streamed: each function that returns values is
// called once, when its tensor is written, and its result is not kept.
type Snapshot struct {
	State State

	Config    *checkpoints.Config
	Params    []checkpoints.Param // of the model
	DType     string              // of the model on disk, "" for that of Config; float32 where it holds the only copy of the weights
	Tokenizer string              // folder whose tokenizer files go along; "" for none

	Optimizer []Moments // of the trained parameters
	// Extra is what else the trainer needs, such as adapters or float32 weights beside a bfloat16 model:
	// tensors by the name of their file, without its ending.
	Extra map[string][]safetensors.Source
}

// Moments are AdamW's two moving averages of a parameter, of its shape.
type Moments struct {
	Name  string // of the parameter
	Shape []int
	M, V  func() ([]float32, error) // safetensors.Values where they lie in a slice
}

// files are all files of a snapshot save the manifest.
func (s *Snapshot) files() ([]checkpoints.File, error) {
	if s.Config == nil {
		return nil, fmt.Errorf("the snapshot has no Config")
	}
	files, err := checkpoints.Files(s.Config, s.Params, checkpoints.SaveOptions{DType: s.DType, Tokenizer: s.Tokenizer})
	if err != nil {
		return nil, err
	}
	var moments []safetensors.Source
	for _, p := range s.Optimizer {
		moments = append(moments,
			safetensors.Float32s(firstMoment+p.Name, p.Shape, safetensors.F32, p.M),
			safetensors.Float32s(secondMoment+p.Name, p.Shape, safetensors.F32, p.V))
	}
	f, err := s.tensors(optimizerName, moments)
	if err != nil {
		return nil, err
	}
	files = append(files, f)
	for name, sources := range s.Extra {
		file := trainerDir + "/" + name + tensorFile
		if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\:`) || file == optimizerName {
			return nil, fmt.Errorf("extra %q: no name for a file beside %s", name, optimizerName)
		}
		if f, err = s.tensors(file, sources); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	state, err := s.State.format()
	if err != nil {
		return nil, err
	}
	files = append(files, checkpoints.File{Name: stateName, Bytes: int64(len(state)), Write: func(w io.Writer) error {
		_, err := w.Write(state)
		return err
	}})
	slices.SortFunc(files, func(a, b checkpoints.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

const stepKey = "step" // in the metadata of the trainer's tensor files

// tensors is a file of the trainer's that says which step it is of.
func (s *Snapshot) tensors(name string, sources []safetensors.Source) (checkpoints.File, error) {
	p, err := safetensors.NewPlan(sources, map[string]string{stepKey: strconv.Itoa(s.State.Step)})
	if err != nil {
		return checkpoints.File{}, fmt.Errorf("%s: %w", name, err)
	}
	return checkpoints.File{Name: name, Bytes: p.Bytes(), Write: p.Write}, nil
}
