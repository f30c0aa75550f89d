package autograd

import (
	"fmt"

	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/kernels/rows"
)

// SequenceValue is the value of a Sequences input.
func SequenceValue(q packed.Sequences) Value {
	s := q.Len()
	v := make([]int32, 3*(s+1))
	SetSequences(v, q)
	return Int32s(v, 3, s+1)
}

// SetSequences writes q over the buffer of a SequenceValue with room for as many sequences or more; those left over
// are empty.
func SetSequences(v []int32, q packed.Sequences) {
	w := len(v) / 3
	if q.Len()+1 > w {
		panic(fmt.Sprintf("autograd: %d sequences, room for %d", q.Len(), w-1))
	}
	for s := range w {
		v[s] = q.Cu[min(s, q.Len())]
		v[w+s], v[2*w+s] = 0, int32(s)
		if s < q.Len() {
			v[w+s], v[2*w+s] = int32(q.Start(s)), int32(q.Row(s))
		}
	}
}

// sequences reads a Sequences input.
func (v Value) sequences() packed.Sequences {
	w := v.Shape[1]
	return packed.Sequences{Cu: v.I32[:w], Pos: v.I32[w : 2*w-1], Slot: v.I32[2*w : 3*w-1]}
}

func isSequences(s Shape) error {
	if len(s) != 2 || s[0] != 3 || s[1] < 2 {
		return fmt.Errorf("sequences have shape %v, want [3, S+1]", s)
	}
	return nil
}

// matrix returns the sides of a [N, D] input.
func matrix(name string, s Shape) (n, d int, err error) {
	if len(s) != 2 {
		return 0, 0, fmt.Errorf("%s has shape %v, want [N, D]", name, s)
	}
	return s[0], s[1], nil
}

// want reports an input whose shape is not as it must be.
func want(name string, got Shape, dims ...int) error {
	if !got.Eq(Shape(dims)) {
		return fmt.Errorf("%s has shape %v, want %v", name, got, Shape(dims))
	}
	return nil
}

// LastTokens picks the last token of every sequence: x [N, D] to [S, D]. It has no gradient: it serves decoding.
func (g *Graph) LastTokens(x, sequences *Node) *Node { return g.apply1(lastTokens{}, x, sequences) }

type lastTokens struct{}

func (lastTokens) Name() string { return "last tokens" }

func (lastTokens) Infer(in []Shape) ([]Shape, error) {
	_, d, err := matrix("x", in[0])
	if err != nil {
		return nil, err
	}
	if err := isSequences(in[1]); err != nil {
		return nil, err
	}
	return []Shape{{in[1][1] - 1, d}}, nil
}

func (lastTokens) Run(_ *Env, out, in []Value) {
	q, d := in[1].sequences(), in[0].Shape[1]
	if out[0].F64 != nil {
		rows.Last(out[0].F64, in[0].F64, d, q)
		return
	}
	rows.Last(out[0].F32, in[0].F32, d, q)
}

func (lastTokens) Launch(env *DeviceEnv, out, in []Value) {
	rows.DeviceLast(env.Queue, out[0].Dev, in[0].Dev, in[1].Dev, in[0].Shape[1])
}
