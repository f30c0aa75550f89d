package autograd

import (
	"fmt"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/gateddelta"
	"github.com/gojet/gojet/kernels/packed"
)

// tiny is a small model that uses every differentiable operation of this package at least once.
type tiny struct {
	g      *Graph
	loss   *Node
	params []*Node
	values map[string]Value
}

const (
	tinyVocab  = 13
	tinyHidden = 8
)

// newTiny builds layers layers over two packed documents and a token that belongs to none.
func newTiny(p Precision, layers int) *tiny {
	q := packed.Sequences{Cu: []int32{0, 5, 9}}
	const n = 10
	m := &tiny{g: NewGraph(p), values: map[string]Value{"sequences": SequenceValue(q)}}
	g := m.g
	r := check.Rand(3)
	ids, labels := make([]int32, n), make([]int32, n)
	for i := range ids {
		ids[i], labels[i] = int32(r.IntN(tinyVocab)), int32(r.IntN(tinyVocab))
	}
	labels[4], labels[9] = -100, -100
	m.values["ids"], m.values["labels"] = Int32s(ids, n), Int32s(labels, n)
	seq := g.Sequences("sequences", 2)
	tokens, targets := g.Ints("ids", n), g.Ints("labels", n)
	embed := m.param("embed", tinyVocab, tinyHidden)
	x := g.Embedding(tokens, embed)
	for l := range layers {
		g.Segment(func() { x = m.layer(l, x, seq) })
	}
	h := g.RMSNorm(x, m.param("norm", tinyHidden), 1e-6)
	ce := g.LinearCrossEntropy(h, embed, targets, 0.7)
	teacher := m.data("teacher", n, 6)
	kl := g.LinearKL(h, embed, teacher, m.data("teacher head", tinyVocab, 6), targets, 2, 0.5)
	mse := g.HiddenMSE(x, m.data("teacher hidden", n, tinyHidden), targets, 0.3)
	m.loss = g.Sum(ce.Value, kl.Value, mse.Value)
	return m
}

func (m *tiny) layer(l int, x, seq *Node) *Node {
	g := m.g
	w := func(name string, shape ...int) *Node { return m.param(fmt.Sprintf("l%d.%s", l, name), shape...) }
	h := g.RMSNorm(x, w("norm1", tinyHidden), 1e-6)
	cfg := attention.Config{Heads: 2, KVHeads: 1, Dim: 4, Window: 3 * l}
	q := g.RoPE(g.RMSNorm(g.Linear(h, w("q", 8, tinyHidden), w("qb", 8)), w("qn", 4), 1e-6), seq, 4, 1e4)
	k := g.RoPE(g.Linear(h, w("k", 4, tinyHidden), nil), seq, 4, 1e4)
	o := g.Linear(g.Attention(cfg, q, k, g.Linear(h, w("v", 4, tinyHidden), nil), seq), w("o", tinyHidden, 8), nil)

	x, h = g.AddRMSNorm(x, o, w("norm2", tinyHidden), 1e-6)
	gd := gateddelta.Config{Heads: 2, KeyDim: 3, ValueDim: 4, NormQK: true}
	jq := g.ShortConv(g.Linear(h, w("jq", 6, tinyHidden), nil), w("jqc", 6, 1, 4), seq)
	jk := g.SiLU(g.Linear(h, w("jk", 6, tinyHidden), nil))
	jv := g.GeneratedConv(g.Linear(h, w("jv", 8, tinyHidden), nil), h, w("kern", 32, tinyHidden), w("kernb", 32), seq)
	beta := g.Sigmoid(g.Linear(h, w("jb", 2, tinyHidden), nil))
	decay := g.DecayGate(g.Linear(h, w("ja", 2, tinyHidden), nil), w("alog", 2), w("dt", 2))
	o, _ = g.GatedDeltaRule(gd, jq, jk, jv, decay, beta, seq, w("h0", 2, 2, 3, 4))
	o = g.RMSNormSwishGate(o, w("jn", 4), g.Linear(h, w("jg", 8, tinyHidden), nil), 1e-5)
	x = g.Add(x, g.Linear(o, w("jo", tinyHidden, 8), nil))
	return g.Add(x, g.Linear(g.SwiGLU(g.Linear(x, w("gate", 12, tinyHidden), nil), g.Linear(x, w("up", 12, tinyHidden), nil)), w("down", tinyHidden, 12), nil))
}

func (m *tiny) param(name string, shape ...int) *Node {
	n := m.draw(name, Parameter, shape)
	m.params = append(m.params, n)
	return n
}

func (m *tiny) data(name string, shape ...int) *Node { return m.draw(name, Data, shape) }

func (m *tiny) draw(name string, role Role, shape []int) *Node {
	x := check.Normal(check.Rand(uint64(len(m.values))), size(shape), 0.4)
	if m.g.float == tensor.Float64 {
		m.values[name] = Float64s(x, shape...)
	} else {
		m.values[name] = Float32s(check.To[float32](x), shape...)
	}
	return m.g.Input(name, role, shape...)
}

func (m *tiny) bind(t *testing.T, e *Executor) {
	t.Helper()
	for name, v := range m.values {
		if err := e.Bind(m.g.inputs[name], v); err != nil {
			t.Fatal(err)
		}
	}
}

// run compiles and runs outputs with poisoned buffers and returns copies of the results.
func (m *tiny) run(t *testing.T, outputs ...*Node) [][]float32 {
	t.Helper()
	p, err := Compile(m.g, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	c := cpu.New(2)
	defer c.Close()
	e := NewExecutor(p, OnCPU(c))
	e.Poison = true
	m.bind(t, e)
	for range 2 {
		if err := e.RunAll(); err != nil {
			t.Fatal(err)
		}
	}
	results := make([][]float32, len(outputs))
	for i, o := range outputs {
		results[i] = append([]float32(nil), e.Value(o).F32...)
	}
	return results
}

func TestGradientsOfTinyModel(t *testing.T) {
	ref := newTiny(Float64, 2)
	if err := ref.g.Err(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range ref.params {
		if p != ref.params[0] || len(names) == 0 {
			names = append(names, p.Name())
		}
	}
	GradientCheck(t, ref.values, names, func(g *Graph) []*Node {
		m := newTiny(Float64, 2)
		*g = *m.g
		return []*Node{m.loss}
	})
}

// TestOracle holds executor and reverse pass to Gorgonia's own machine and differentiation.
func TestOracle(t *testing.T) {
	for _, layers := range []int{1, 3} {
		own := newTiny(Float32, layers)
		grads := own.g.Backward(own.loss, own.params, BackwardConfig{})
		if err := own.g.Err(); err != nil {
			t.Fatal(err)
		}
		got := own.run(t, append([]*Node{own.loss}, grads...)...)

		tape := newTiny(Float32, layers)
		for name, v := range tape.values {
			if err := gorgonia.Let(tape.g.inputs[name], v.toGorgonia()); err != nil {
				t.Fatal(err)
			}
		}
		oracle, err := gorgonia.Grad(tape.loss, tape.params...)
		if err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(tape.g.Expr())
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		loss := tape.loss.Value().Data().(float32)
		if got[0][0] != loss {
			t.Errorf("%d layers: loss %v, TapeMachine says %v", layers, got[0][0], loss)
		}
		for i, n := range oracle {
			v, err := fromGorgonia(n.Value())
			if err != nil {
				t.Fatal(err)
			}
			check.Close(t, own.params[i].Name(), got[1+i], v.F32, 1e-6)
		}
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecomputeGivesTheSameGradients(t *testing.T) {
	var results [3][][]float32
	var peak [3]int64
	for i, cfg := range []BackwardConfig{{}, {Recompute: true, Segments: 1}, {Recompute: true}} {
		m := newTiny(Float32, 4)
		grads := m.g.Backward(m.loss, m.params, cfg)
		outs := append([]*Node{m.loss}, grads...)
		p, err := Compile(m.g, outs...)
		if err != nil {
			t.Fatal(err)
		}
		peak[i] = p.Memory().Arena
		results[i] = m.run(t, outs...)
	}
	for i := range results[0] {
		check.Close(t, fmt.Sprintf("output %d", i), results[1][i], results[0][i], 0)
		check.Close(t, fmt.Sprintf("output %d", i), results[2][i], results[0][i], 0)
	}
	if peak[2] >= peak[1] || peak[1] >= peak[0] {
		t.Errorf("recomputation needs %d bytes, of one segment %d, without it %d", peak[2], peak[1], peak[0])
	}
}

// TestRunsAreAlike runs one plan with 1 and 3 threads: bit-identical results, and no allocation once warm.
func TestRunsAreAlike(t *testing.T) {
	var first [][]float32
	for _, threads := range []int{1, 3} {
		m := newTiny(Float32, 2)
		grads := m.g.Backward(m.loss, m.params, BackwardConfig{})
		outs := append([]*Node{m.loss}, grads...)
		p, err := Compile(m.g, outs...)
		if err != nil {
			t.Fatal(err)
		}
		c := cpu.New(threads)
		defer c.Close()
		e := NewExecutor(p, OnCPU(c))
		m.bind(t, e)
		for range 20 {
			if err := e.RunAll(); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(20, func() { _ = e.RunAll() }); n > 0 && !raceDetector {
			t.Errorf("%d threads: a run allocates %v times, want 0", threads, n)
		}
		for i, o := range outs {
			v := e.Value(o).F32
			if threads == 1 {
				first = append(first, append([]float32(nil), v...))
				continue
			}
			check.Close(t, fmt.Sprintf("output %d", i), v, first[i], 0)
		}
	}
}
