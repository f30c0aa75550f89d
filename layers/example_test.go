package layers_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// GatedConv is a block of one's own: values pass through a causal convolution and are gated by the token itself.
//
//	v_t = silu(Σ_w (x Wv)_{t-W+1+w} · c_w)    y = (silu(x Wg) ⊙ v) Wo
type GatedConv struct {
	Hidden int // D
	Taps   int // W
}

// Params lists the weights by their names below "self_attn.".
func (b GatedConv) Params() []layers.Param {
	square := []int{b.Hidden, b.Hidden}
	return []layers.Param{
		{Name: "g_proj.weight", Shape: square, Init: small, Decay: true},
		{Name: "v_proj.weight", Shape: square, Init: small, Decay: true},
		{Name: "v_conv1d.weight", Shape: []int{b.Hidden, 1, b.Taps}, Init: small, Decay: true},
		{Name: "o_proj.weight", Shape: square, Init: small, Decay: true},
	}
}

func small(r *rand.Rand, w []float32) {
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.02)
	}
}

// States lists what a sequence carries from one call to the next: the convolution's last inputs.
func (b GatedConv) States(int) []layers.State {
	return []layers.State{{Name: "v_history", Shape: []int{b.Hidden, b.Taps - 1}}}
}

// Mix appends the block's nodes: x [N, D] to [N, D].
func (b GatedConv) Mix(s *layers.Scope, x *autograd.Node) *autograd.Node {
	v, kernel := s.Linear(x, "v_proj", false), s.Weight("v_conv1d.weight")
	if s.Cached() {
		v = s.CachedShortConv(v, kernel, s.Seq, s.State("v_history"))
	} else {
		v = s.ShortConv(v, kernel, s.Seq)
	}
	return s.Linear(s.SwiGLU(s.Linear(x, "g_proj", false), v), "o_proj", false)
}

// ExampleMixer runs a block of one's own forward and backward, alone in a graph, on two sequences of 20 tokens.
func ExampleMixer() {
	const n = 2 * 20
	block, seqs := GatedConv{Hidden: 32, Taps: 4}, packed.Batch(2, 20)

	g := autograd.NewGraph(autograd.Float32)
	b, err := layers.NewBlockGraph(g, block, n, block.Hidden, seqs)
	if err != nil {
		fmt.Println(err)
		return
	}
	seed := g.Input("gradient at the output", autograd.Data, n, block.Hidden)
	grads := g.BackwardFrom([]*autograd.Node{b.Out}, []*autograd.Node{seed}, []*autograd.Node{b.X, b.Params["o_proj.weight"]}, autograd.BackwardConfig{})

	values := map[*autograd.Node]autograd.Value{
		b.X: ones(n, block.Hidden), seed: ones(n, block.Hidden), b.Seq: autograd.SequenceValue(seqs),
	}
	for _, p := range block.Params() {
		values[b.Params[p.Name]] = autograd.Float32s(p.Draw(1), p.Shape...)
	}
	outputs := append([]*autograd.Node{b.Out}, grads...)
	plan, err := autograd.Compile(g, outputs...)
	if err != nil {
		fmt.Println(err)
		return
	}
	cores := cpu.New(0)
	defer cores.Close()
	e := autograd.NewExecutor(plan, autograd.OnCPU(cores))
	for node, v := range values {
		if err := e.Bind(node, v); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := e.RunAll(); err != nil { // as often as one likes
		fmt.Println(err)
		return
	}
	for i, what := range []string{"out", "gradient of x", "gradient of o_proj"} {
		fmt.Println(what, e.Value(outputs[i]).Shape)
	}
	// Output:
	// out (40, 32)
	// gradient of x (40, 32)
	// gradient of o_proj (32, 32)
}

func ones(shape ...int) autograd.Value {
	x := make([]float32, shape[0]*shape[1])
	for i := range x {
		x[i] = 1
	}
	return autograd.Float32s(x, shape...)
}
