package autograd

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/device"
)

// Shape is the size of each dimension; a scalar has none.
type Shape = tensor.Shape

// Value is a flat, row-major buffer with its shape. One of the slices is set. A graph's float nodes are all
// float32 or all float64; bfloat16 is a way to store a parameter that the graph sees as float32. A value in the memory
// of a device has Dev instead of a slice.
type Value struct {
	Shape Shape
	F32   []float32
	F64   []float64
	I32   []int32
	BF16  []bf16.BF16
	Dev   device.Tensor
	// Master is the float32 original of a bfloat16 parameter on a device that learns.
	Master device.Tensor
}

// Float32s is a Value over data.
func Float32s(data []float32, shape ...int) Value { return Value{Shape: shape, F32: data} }

// Float64s is a Value over data.
func Float64s(data []float64, shape ...int) Value { return Value{Shape: shape, F64: data} }

// Int32s is a Value over data.
func Int32s(data []int32, shape ...int) Value { return Value{Shape: shape, I32: data} }

// BF16s is a Value over data.
func BF16s(data []bf16.BF16, shape ...int) Value { return Value{Shape: shape, BF16: data} }

// Len returns the number of elements held.
func (v Value) Len() int { return len(v.F32) + len(v.F64) + len(v.I32) + len(v.BF16) + v.Dev.Len }

// None reports a result that nobody asked for.
func (v Value) None() bool {
	return v.F32 == nil && v.F64 == nil && v.I32 == nil && v.BF16 == nil && v.Dev.None()
}

// Bytes returns the memory of the elements.
func (v Value) Bytes() int64 {
	return 4*int64(len(v.F32)+len(v.I32)) + 8*int64(len(v.F64)) + 2*int64(len(v.BF16)) + v.Dev.Bytes() + v.Master.Bytes()
}

func (v Value) kind() string {
	switch {
	case v.F32 != nil:
		return "float32"
	case v.F64 != nil:
		return "float64"
	case v.I32 != nil:
		return "int32"
	case v.BF16 != nil:
		return "bfloat16"
	case !v.Dev.None():
		return v.Dev.Type.String() + " on a device"
	}
	return "nothing"
}

// fits reports why v cannot stand for node n.
func (v Value) fits(n *Node) error {
	want := size(n.Shape())
	if v.Len() != want {
		return fmt.Errorf("autograd: %s holds %d values, want %d (shape %v)", n.Name(), v.Len(), want, n.Shape())
	}
	kind := v.kind()
	ok := kind == n.Dtype().String()
	if kind == "bfloat16" {
		ok = n.Dtype() == tensor.Float32
	}
	if want > 0 && !ok && v.Dev.None() {
		return fmt.Errorf("autograd: %s holds %s, want %s", n.Name(), kind, n.Dtype())
	}
	return nil
}

// Zeros is a fresh float Value.
func Zeros(p Precision, shape ...int) Value { return alloc(p.dtype(), shape) }

// At returns float element i.
func (v Value) At(i int) float64 {
	if v.F64 != nil {
		return v.F64[i]
	}
	return float64(v.F32[i])
}

// Set writes float element i.
func (v Value) Set(i int, x float64) {
	if v.F64 != nil {
		v.F64[i] = x
	} else {
		v.F32[i] = float32(x)
	}
}

// Piece is n of the elements, from element `at` on, in the same memory, without a shape and without the master.
func (v Value) Piece(at, n int) Value {
	end := at + n
	switch {
	case v.F32 != nil:
		return Value{F32: v.F32[at:end:end]}
	case v.F64 != nil:
		return Value{F64: v.F64[at:end:end]}
	case v.I32 != nil:
		return Value{I32: v.I32[at:end:end]}
	case v.BF16 != nil:
		return Value{BF16: v.BF16[at:end:end]}
	}
	return Value{Dev: v.Dev.Slice(at, n)}
}

// Clear writes zero everywhere.
func (v Value) Clear() {
	clear(v.F32)
	clear(v.F64)
	clear(v.I32)
	clear(v.BF16)
}

// f32 and f64 read a Value as one type of float, for code that is generic over both.
func f32(v Value) []float32 { return v.F32 }
func f64(v Value) []float64 { return v.F64 }

func size(s Shape) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// alloc returns a fresh Value of the node's type.
func alloc(dt tensor.Dtype, shape Shape) Value {
	n := size(shape)
	switch dt {
	case tensor.Float64:
		return Value{Shape: shape, F64: make([]float64, n)}
	case tensor.Int32:
		return Value{Shape: shape, I32: make([]int32, n)}
	default:
		return Value{Shape: shape, F32: make([]float32, n)}
	}
}

// fromGorgonia shares the memory of a Gorgonia value.
func fromGorgonia(v gorgonia.Value) (Value, error) {
	shape := v.Shape()
	switch d := v.Data().(type) {
	case []float32:
		return Value{Shape: shape, F32: d}, nil
	case []float64:
		return Value{Shape: shape, F64: d}, nil
	case []int32:
		return Value{Shape: shape, I32: d}, nil
	case float32:
		return Value{Shape: shape, F32: []float32{d}}, nil
	case float64:
		return Value{Shape: shape, F64: []float64{d}}, nil
	case int32:
		return Value{Shape: shape, I32: []int32{d}}, nil
	}
	return Value{}, fmt.Errorf("autograd: a Gorgonia value holds %T, want float32, float64 or int32", v.Data())
}

// toGorgonia shares the memory of v; scalars are copied.
func (v Value) toGorgonia() gorgonia.Value {
	scalar := len(v.Shape) == 0
	switch {
	case scalar && v.F64 != nil:
		return gorgonia.NewF64(v.F64[0])
	case scalar && v.F32 != nil:
		return gorgonia.NewF32(v.F32[0])
	case v.F64 != nil:
		return tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(v.F64))
	case v.I32 != nil:
		return tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(v.I32))
	default:
		return tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(v.F32))
	}
}
