package autograd

import (
	"strings"
	"testing"

	"gorgonia.org/gorgonia"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/gateddelta"
	"github.com/gojet/gojet/kernels/packed"
)

// faulty is an operation whose gradient is wrong in a chosen way.
type faulty struct{ gradient func(c *Chain) []*Node }

func (faulty) Name() string                      { return "faulty" }
func (faulty) Infer(in []Shape) ([]Shape, error) { return []Shape{{}}, nil }
func (faulty) Run(_ *Env, out, _ []Value)        { out[0].set(0, 1) }
func (faulty) Differentiates(n int) []bool       { return all(n) }
func (f faulty) Gradient(c *Chain) []*Node       { return f.gradient(c) }

// touch is an operation that advances its input.
type touch struct{}

func (touch) Name() string                      { return "touch" }
func (touch) Infer(in []Shape) ([]Shape, error) { return in[:1], nil }
func (touch) Mutates() []int                    { return []int{0} }
func (touch) Run(_ *Env, out, in []Value) {
	in[0].F32[0]++
	copy(out[0].F32, in[0].F32)
}

// TestMistakes builds graphs with one mistake each and looks for the sentence that names it.
func TestMistakes(t *testing.T) {
	compile := func(g *Graph, outs ...*Node) error {
		_, err := Compile(g, outs...)
		return err
	}
	for _, tc := range []struct {
		name, want string
		build      func(g *Graph) error
	}{
		{"name twice", `input "x" is declared twice: (2) and (3)`, func(g *Graph) error {
			g.Input("x", Data, 2)
			g.Input("x", Data, 3)
			return g.Err()
		}},
		{"empty dimension", "has shape (0), want dimensions of 1 or more", func(g *Graph) error {
			g.Input("x", Data, 0)
			return g.Err()
		}},
		{"missing input", "input 1 of linear is missing", func(g *Graph) error {
			g.Linear(g.Input("x", Data, 2, 3), nil, nil)
			return g.Err()
		}},
		{"shapes", "linear: w has shape (4, 5), want [Out, 3]", func(g *Graph) error {
			g.Linear(g.Input("x", Data, 2, 3), g.Input("w", Parameter, 4, 5), nil)
			return g.Err()
		}},
		{"the first mistake stays", "w has shape", func(g *Graph) error {
			y := g.Linear(g.Input("x", Data, 2, 3), g.Input("w", Parameter, 4, 5), nil)
			return compile(g, g.SiLU(y))
		}},
		{"loss not scalar", "the loss has shape (2, 3), want a scalar", func(g *Graph) error {
			x := g.Input("x", Parameter, 2, 3)
			g.Backward(g.SiLU(x), []*Node{x}, BackwardConfig{})
			return g.Err()
		}},
		{"no path to the parameter", "no gradient flows to unused", func(g *Graph) error {
			x := g.Input("x", Parameter, 2, 3)
			y := g.SiLU(x)
			g.BackwardFrom([]*Node{y}, []*Node{g.Input("dy", Data, 2, 3)}, []*Node{g.Input("unused", Parameter, 1)}, BackwardConfig{})
			return g.Err()
		}},
		{"gradient of wrong shape", "gradient of faulty for its input 0 has shape (3), want (2)", func(g *Graph) error {
			x := g.Input("x", Parameter, 2)
			y := g.apply1(faulty{func(c *Chain) []*Node { return []*Node{g.Input("g", Data, 3)} }}, x)
			g.Backward(y, []*Node{x}, BackwardConfig{})
			return g.Err()
		}},
		{"gradient forgotten", "faulty gives no gradient for its input 0", func(g *Graph) error {
			x := g.Input("x", Parameter, 2)
			y := g.apply1(faulty{func(*Chain) []*Node { return nil }}, x)
			g.Backward(y, []*Node{x}, BackwardConfig{})
			return g.Err()
		}},
		{"state with two readers", "state s is advanced by touch and has 3 readers, want 1", func(g *Graph) error {
			s := g.Input("s", State, 2)
			return compile(g, g.apply1(touch{}, s), g.Add(s, s))
		}},
		{"state that nothing advances", "state s is advanced by no operation", func(g *Graph) error {
			s := g.Input("s", State, 2)
			return compile(g, g.Add(s, s))
		}},
		{"advancing what is computed", "touch advances its input 0 in place, which must be state or a parameter", func(g *Graph) error {
			return compile(g, g.apply1(touch{}, g.SiLU(g.Input("x", Data, 2))))
		}},
		{"differentiating through state", "cached gated delta rule advances state and cannot be differentiated", func(g *Graph) error {
			cfg := gateddelta.Config{Heads: 1, KeyDim: 2, ValueDim: 2}
			x, gate := g.Input("x", Parameter, 3, 2), g.Input("gate", Data, 3, 1)
			y := g.CachedGatedDeltaRule(cfg, g.SiLU(x), x, x, gate, gate, g.Sequences("seq", 1), g.Input("s", State, 1, 1, 2, 2))
			g.BackwardFrom([]*Node{y}, []*Node{x}, []*Node{x}, BackwardConfig{})
			return g.Err()
		}},
		{"heads", "attention: attention: 3 heads are not a multiple of 2 key heads", func(g *Graph) error {
			q, k := g.Input("q", Data, 2, 12), g.Input("k", Data, 2, 8)
			g.Attention(attention.Config{Heads: 3, KVHeads: 2, Dim: 4}, q, k, k, g.Sequences("seq", 1))
			return g.Err()
		}},
		{"no output", "a plan needs at least one output", func(g *Graph) error { return compile(g) }},
		{"a foreign node", "was not made by this graph", func(g *Graph) error {
			other := NewGraph(Float32)
			return compile(g, other.Input("x", Data, 1))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.build(NewGraph(Float32))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

// TestCollidingNames uses two names whose 32-bit hashes are equal in Gorgonia.
func TestCollidingNames(t *testing.T) {
	const a, b = "model.layers.57.w9078", "model.layers.28.w93633"
	plain := gorgonia.NewGraph()
	na := gorgonia.NewMatrix(plain, gorgonia.Float32, gorgonia.WithShape(8, 8), gorgonia.WithName(a))
	nb := gorgonia.NewMatrix(plain, gorgonia.Float32, gorgonia.WithShape(8, 8), gorgonia.WithName(b))
	if na.Hashcode() != nb.Hashcode() {
		t.Fatal("the two names no longer collide; find another pair")
	}
	g := NewGraph(Float32)
	w1, w2 := g.Input(a, Parameter, 8, 8), g.Input(b, Parameter, 8, 8)
	if w1 == w2 || w1.Hashcode() == w2.Hashcode() {
		t.Fatal("colliding inputs are not told apart")
	}
	x := g.Input("x", Data, 2, 8)
	y1, y2 := g.Linear(x, w1, nil), g.Linear(x, w2, nil)
	if y1 == y2 || g.info[y2].in[1] != w2 || g.children(y2)[1] != w2 {
		t.Error("operations on colliding inputs were merged")
	}
	if y3 := g.Linear(x, w1, nil); y3 == y1 {
		t.Error("two operations with the same inputs were merged")
	}
	if g.Inputs()[b] != w2 {
		t.Error("a renamed input is not found by its own name")
	}
}

func TestExecutorErrors(t *testing.T) {
	g := NewGraph(Float32)
	x, ids := g.Input("table", Parameter, 4, 2), g.Ints("ids", 3)
	y := g.Embedding(ids, x)
	p, err := Compile(g, y)
	if err != nil {
		t.Fatal(err)
	}
	c := cpu.New(1)
	defer c.Close()
	e := NewExecutor(p, OnCPU(c))
	fails := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	fails("parameter table has no value", e.RunAll())
	fails("table holds 3 values, want 8 (shape (4, 2))", e.Bind(x, Float32s(make([]float32, 3), 3)))
	fails("table holds float64, want float32", e.Bind(x, Float64s(make([]float64, 8), 4, 2)))
	fails("is computed, not an input", e.Bind(y, Float32s(make([]float32, 6), 3, 2)))
	if err := e.Bind(x, BF16s([]bf16.BF16{0, 0, 0, 0, 0x3f80, 0x4000, 0, 0}, 4, 2)); err != nil {
		t.Fatal(err)
	}
	if err := e.Bind(ids, Int32s([]int32{2, 9, 0}, 3)); err != nil {
		t.Fatal(err)
	}
	fails("step 0, embedding: embedding: token 1 has id 9, want 0 to 3", e.RunAll())
	e.Value(ids).I32[1] = 2
	if err := e.RunAll(); err != nil {
		t.Fatal(err)
	}
	if got := e.Value(y).F32; got[0] != 1 || got[3] != 2 {
		t.Errorf("embedding from bfloat16 gives %v", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err == nil {
		t.Error("a second Close succeeds")
	}
}

// TestPlacement checks the planner against its definition: values alive together never overlap, and operations that
// may work in place do so only where nothing else reads the memory.
func TestPlacement(t *testing.T) {
	m := newTiny(Float32, 3)
	grads := m.g.Backward(m.loss, m.params, BackwardConfig{})
	p, err := Compile(m.g, append([]*Node{m.loss}, grads...)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range p.storages {
		for _, b := range p.storages[i+1:] {
			apart := a.offset+a.bytes <= b.offset || b.offset+b.bytes <= a.offset
			if !a.bound && !b.bound && overlap(&a, &b) && !apart {
				t.Fatalf("storage [%d,%d) of steps %d-%d overlaps [%d,%d) of steps %d-%d",
					a.offset, a.offset+a.bytes, a.from, a.to, b.offset, b.offset+b.bytes, b.from, b.to)
			}
		}
	}
	mem := p.Memory()
	if mem.Arena <= 0 || mem.Arena*2 > mem.Unshared {
		t.Errorf("arena of %d bytes for %d bytes of values: sharing does not work", mem.Arena, mem.Unshared)
	}
	inPlace := 0
	for _, s := range p.Steps() {
		if s.Reused {
			inPlace++
		}
	}
	if inPlace == 0 {
		t.Error("nothing works in place")
	}
	var text strings.Builder
	if err := p.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gated delta rule backward", "linear cross-entropy", "l0.q(8, 8)", "in place", "values in between: peak"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the printed plan lacks %q", want)
		}
	}
}

// TestUnwantedResults compiles a loss without gradients: nothing of the backward is computed or stored.
func TestUnwantedResults(t *testing.T) {
	m := newTiny(Float32, 1)
	m.g.Backward(m.loss, m.params, BackwardConfig{})
	p, err := Compile(m.g, m.loss)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range p.steps {
		if strings.Contains(st.op.Name(), "backward") {
			t.Errorf("%s is planned though nothing reads it", st.op.Name())
		}
		if st.op.Name() == "gated delta rule" && (st.out[1] != nil || st.out[2] != nil) {
			t.Error("final state and saved states are planned though nothing reads them")
		}
	}
}

func TestSequenceValue(t *testing.T) {
	q := packed.Sequences{Cu: []int32{0, 3, 7}, Pos: []int32{5, 0}, Slot: []int32{1, 0}}
	v := SequenceValue(q)
	got := v.sequences()
	for s := range 2 {
		lo, hi := got.Span(s)
		wlo, whi := q.Span(s)
		if lo != wlo || hi != whi || got.Start(s) != q.Start(s) || got.Row(s) != q.Row(s) {
			t.Errorf("sequence %d does not survive", s)
		}
	}
	SetSequences(v.I32, packed.Batch(1, 4))
	if lo, hi := v.sequences().Span(1); lo != 4 || hi != 4 {
		t.Errorf("the sequence left over is [%d, %d), want empty at 4", lo, hi)
	}
}
