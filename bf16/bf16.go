// Package bf16 is the bfloat16 number: the upper half of a float32.
package bf16

import "math"

// BF16 holds the bits of a bfloat16.
type BF16 uint16

// From rounds to nearest, ties to even, as PyTorch does. NaN stays NaN.
func From(x float32) BF16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return BF16(b>>16 | 0x40)
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16)
}

// Float32 is exact.
func (x BF16) Float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// Rounded returns xs rounded to bfloat16.
func Rounded(xs []float32) []BF16 {
	ys := make([]BF16, len(xs))
	for i, x := range xs {
		ys[i] = From(x)
	}
	return ys
}

// Floats returns xs as float32.
func Floats(xs []BF16) []float32 {
	ys := make([]float32, len(xs))
	for i, x := range xs {
		ys[i] = x.Float32()
	}
	return ys
}
