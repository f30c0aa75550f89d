// Package device runs kernels on an accelerator: memory, a queue of launches and matrix products, events, graphs.
//
// Kernels are CUDA C++ text that stands beside the operation it serves, in kernels/<noun>; it is compiled for the
// device at hand, with shapes and types as constants, when it is first launched. Behind a Device stands a driver,
// chosen when the program is built: CUDA (build tag gpu), or an emulator on the host that runs the same text thread by
// thread (build tag emulate), for tests where there is no GPU. A build without either has no device, and Open says so.
package device

import (
	"errors"
	"fmt"
)

// ErrNone is what Open reports where there is nothing to open: the build has no driver, or the machine no device.
var ErrNone = errors.New("no accelerator")

// Type is how an element is stored.
type Type uint8

// Types.
const (
	Float32 Type = iota
	BF16
	Int32
	Float64
)

// Size is the bytes of one element.
func (t Type) Size() int { return [...]int{4, 2, 4, 8}[t] }

// String is the name that users know.
func (t Type) String() string { return [...]string{"float32", "bfloat16", "int32", "float64"}[t] }

// C is the name in kernel text.
func (t Type) C() string { return [...]string{"float", "bf16", "int", "double"}[t] }

// Tensor is a flat, row-major buffer in the memory of a device, or a piece of one. The zero Tensor is none: a result
// that is not wanted, an input that is not given. Kernels see none as a null pointer.
type Tensor struct {
	Ptr  uintptr
	Type Type
	Len  int // elements
}

// None reports the zero Tensor.
func (t Tensor) None() bool { return t.Ptr == 0 }

// Bytes is the memory of the elements.
func (t Tensor) Bytes() int64 { return int64(t.Len) * int64(t.Type.Size()) }

// Slice is the piece of n elements from element at.
func (t Tensor) Slice(at, n int) Tensor {
	if at < 0 || n < 0 || at+n > t.Len {
		panic(fmt.Sprintf("device: elements %d to %d of a tensor of %d", at, at+n, t.Len))
	}
	return Tensor{Ptr: t.Ptr + uintptr(at*t.Type.Size()), Type: t.Type, Len: n}
}

// As reads the same bytes as elements of another type: how scratch memory is divided.
func (t Tensor) As(u Type) Tensor {
	return Tensor{Ptr: t.Ptr, Type: u, Len: int(t.Bytes()) / u.Size()}
}

// Carve divides scratch memory: it returns n elements of type u from the front of t, aligned to 256 bytes, and the rest.
func (t Tensor) Carve(u Type, n int) (piece, rest Tensor) {
	taken := int64(Aligned(int64(n) * int64(u.Size())))
	b := t.Bytes()
	if taken > b {
		panic(fmt.Sprintf("device: scratch of %d bytes has no room for %d %s", b, n, u))
	}
	rest = Tensor{Ptr: t.Ptr + uintptr(taken), Type: Float32, Len: int(b-taken) / 4}
	return Tensor{Ptr: t.Ptr, Type: u, Len: n}, rest
}

// Aligned rounds bytes up to the alignment of pieces of scratch memory.
func Aligned(bytes int64) int64 { return (bytes + 255) &^ 255 }

// Info describes a device.
type Info struct {
	Name       string // as the maker calls it
	Driver     string // "CUDA 13.0, driver 580.159", or "emulator"
	Emulated   bool
	Major      int // compute capability
	Minor      int
	Processors int   // streaming multiprocessors
	SharedMax  int   // bytes of shared memory that one block can have
	Memory     int64 // bytes in all
	Free       int64 // bytes free when asked
}
