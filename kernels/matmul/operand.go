package matmul

import (
	"unsafe"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/cpu"
)

// operand is the second factor: float32 or bfloat16 weights. One of the two is set.
type operand struct {
	full []float32
	half []bf16.BF16
}

func operandOf[B Element](data []B) operand {
	switch data := any(data).(type) {
	case []float32:
		return operand{full: data}
	case []bf16.BF16:
		return operand{half: data}
	}
	panic("unreachable")
}

func (o operand) at(i int) float32 {
	if o.half != nil {
		return o.half[i].Float32()
	}
	return o.full[i]
}

// from is the operand without its first i values.
func (o operand) from(i int) operand {
	if o.half != nil {
		return operand{half: o.half[i:]}
	}
	return operand{full: o.full[i:]}
}

// len returns the number of values.
func (o operand) len() int { return max(len(o.full), len(o.half)) }

// floats returns n values of scratch that start on a cache line: a vector load across two lines costs two loads.
func floats(w *cpu.Worker, n int) []float32 {
	const line = 16
	s := w.Floats(n + line)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))/4) % line
	at := (line - past) % line
	return s[at : at+n : at+n]
}
