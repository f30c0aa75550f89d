package layers

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/packed"
)

// fixtureBlock reads a block's options from the file that holds its reference values.
func fixtureBlock(t *testing.T, f *fixtures.File) JetBlock {
	t.Helper()
	var o struct {
		HiddenSize int     `json:"hidden_size"`
		NumHeads   int     `json:"num_heads"`
		HeadDim    int     `json:"head_dim"`
		ExpandV    float64 `json:"expand_v"`
		ConvSize   int     `json:"conv_size"`
		Reduction  int     `json:"dconv_generator_reduction"`
		NormEps    string  `json:"norm_eps"`
	}
	if err := json.Unmarshal([]byte(f.Metadata()["config"]), &o); err != nil {
		t.Fatal(err)
	}
	eps, err := strconv.ParseFloat(o.NormEps, 64)
	if err != nil {
		t.Fatal(err)
	}
	return JetBlock{Hidden: o.HiddenSize, Heads: o.NumHeads, KeyDim: o.HeadDim, ExpandV: o.ExpandV, ConvSize: o.ConvSize,
		Reduction: o.Reduction, NormEps: eps}
}

func TestJetBlockFixtures(t *testing.T) { eachMachine(t, check.Fixture32, jetBlockFixtures) }

func jetBlockFixtures(t *testing.T, m testMachine) {
	for _, path := range fixtures.Glob(t, "block/jet_block_*.safetensors") {
		f := fixtures.Load(t, path)
		block := fixtureBlock(t, f)
		if err := block.Validate(); err != nil {
			t.Fatal(err)
		}
		shape := f.Shape("x")
		n := shape[0] * shape[1]
		q := packed.Batch(shape[0], shape[1])
		g := autograd.NewGraph(autograd.Float32)
		b, err := NewBlockGraph(g, block, n, block.Hidden, q)
		if err != nil {
			t.Fatal(err)
		}
		wrt, names := []*autograd.Node{b.X}, []string{"dx"}
		values := map[*autograd.Node]autograd.Value{b.X: autograd.Float32s(f.Float32("x")), b.Seq: autograd.SequenceValue(q)}
		for _, p := range block.Params() {
			node := b.Params[p.Name]
			wrt, names = append(wrt, node), append(names, "d."+p.Name)
			values[node] = autograd.Float32s(f.Float32(p.Name))
		}
		do := g.Input("do", autograd.Data, n, block.Hidden)
		values[do] = autograd.Float32s(f.Float32("do"))
		grads := g.BackwardFrom([]*autograd.Node{b.Out}, []*autograd.Node{do}, wrt, autograd.BackwardConfig{})
		e := m.executor(t, g, values, append([]*autograd.Node{b.Out}, grads...)...)
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
		check.Close(t, "o", read(t, e, b.Out), f.Float32("o"), m.tol)
		for i, name := range names {
			check.Close(t, name, read(t, e, grads[i]), f.Float32(name), m.tol)
		}
	}
}

func TestJetBlockStartsStatic(t *testing.T) {
	b := JetBlock{Hidden: 8, Heads: 2, KeyDim: 4, ExpandV: 2, ConvSize: 4, Reduction: 8, InitStd: 0.02}
	for _, p := range b.Params() {
		w := p.Draw(1)
		again, other := p.Draw(1), p.Draw(2)
		check.Close(t, p.Name+" drawn again", again, w, 0)
		zero := check.RelErr(w, make([]float32, len(w))) == 0
		switch p.Name {
		case "dynamic_conv1d.kernel_generator.w1.weight", "dynamic_conv1d.kernel_generator.w2.weight":
			if !zero {
				t.Errorf("%s does not start at zero", p.Name)
			}
		case "o_norm.weight":
			if w[0] != 1 {
				t.Errorf("%s starts at %v, want 1", p.Name, w[0])
			}
		case "A_log":
			for _, v := range w {
				if a := math.Exp(float64(v)); a <= 0 || a > 16 {
					t.Errorf("A starts at %v, want it in (0, 16]", a)
				}
			}
		case "dt_bias":
			for _, v := range w {
				dt := math.Log1p(math.Exp(float64(v)))
				if dt < 0.99e-3 || dt > 0.101 {
					t.Errorf("dt starts at %v, want it in [0.001, 0.1]", dt)
				}
			}
		default:
			if zero || check.RelErr(w, other) == 0 {
				t.Errorf("%s is not drawn at random", p.Name)
			}
		}
	}
}
