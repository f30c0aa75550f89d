// Command blocks writes what gojet's linear blocks compute, for blocks_check.py to compare with flash-linear-attention: for
// every block of the table OUT/NAME.safetensors with the input x [B, T, D], the weights, the output o, the gradient do, and
// the gradients dx and d.WEIGHT.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

const batch, tokens, hidden = 2, 70, 32

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "go run ./dev/blocks OUT")
		os.Exit(2)
	}
	for _, row := range layers.Mixers() {
		if row.Name == "attn" || row.Name == "swa" || row.Name == "jet" {
			continue
		}
		if err := write(row, filepath.Join(os.Args[1], row.Name+".safetensors")); err != nil {
			fmt.Fprintf(os.Stderr, "blocks: %s: %v\n", row.Name, err)
			os.Exit(1)
		}
	}
}

func write(row layers.Row, path string) error {
	c := &checkpoints.Config{HiddenSize: hidden, InitializerRange: 0.2}
	o := checkpoints.DefaultJet()
	o.NumHeads, o.HeadDim, o.ExpandV = 2, 16, 2
	if row.Name == "rwkv7" { // there they are as wide as the model
		o.ExpandV = 1
	}
	if err := c.SetJet(row.Name, o); err != nil {
		return err
	}
	m, err := row.New(c, row.Name)
	if err != nil {
		return err
	}
	g, q := autograd.NewGraph(autograd.Float32), packed.Batch(batch, tokens)
	b, err := layers.NewBlockGraph(g, m, batch*tokens, hidden, q)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	normal := func(n int, mean, std float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(mean + std*r.NormFloat64())
		}
		return x
	}
	dO := g.Input("do", autograd.Data, batch*tokens, hidden)
	values := map[*autograd.Node][]float32{b.X: normal(batch*tokens*hidden, 0, 1), dO: normal(batch*tokens*hidden, 0, 1)}
	wrt, names := []*autograd.Node{b.X}, []string{"dx"}
	var sources []safetensors.Source
	for _, p := range m.Params() {
		w := p.Draw(3)
		for i, x := range normal(len(w), 0, 0.1) { // nothing stays zero or one
			w[i] += x
		}
		values[b.Params[p.Name]] = w
		wrt, names = append(wrt, b.Params[p.Name]), append(names, "d."+p.Name)
		sources = append(sources, floats(p.Name, p.Shape, w))
	}
	grads := g.BackwardFrom([]*autograd.Node{b.Out}, []*autograd.Node{dO}, wrt, autograd.BackwardConfig{})
	plan, err := autograd.Compile(g, append([]*autograd.Node{b.Out}, grads...)...)
	if err != nil {
		return err
	}
	cores := cpu.New(0)
	defer cores.Close()
	e := autograd.NewExecutor(plan, autograd.OnCPU(cores))
	if err := e.Bind(b.Seq, autograd.SequenceValue(q)); err != nil {
		return err
	}
	for n, v := range values {
		if err := e.Bind(n, autograd.Float32s(v, n.Shape()...)); err != nil {
			return err
		}
	}
	if err := e.RunAll(); err != nil {
		return err
	}
	whole := []int{batch, tokens, hidden}
	sources = append(sources, floats("x", whole, values[b.X]), floats("do", whole, values[dO]), floats("o", whole, e.Value(b.Out).F32))
	for i, n := range grads {
		shape := []int(n.Shape())
		if i == 0 {
			shape = whole
		}
		sources = append(sources, floats(names[i], shape, e.Value(n).F32))
	}
	return safetensors.Write(path, sources, nil)
}

func floats(name string, shape []int, v []float32) safetensors.Source {
	return safetensors.Float32s(name, shape, safetensors.F32, safetensors.Values(v))
}
