//go:build gpu

package device

/*
#cgo LDFLAGS: -lcublasLt -ldl
#include "cuda_calls.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"gorgonia.org/cu"
)

const workspaceBytes = 64 << 20

// blas is cuBLASLt with the plans it made. A plan is the first that its heuristic names for a shape, which is the same on
// every run; the workspace is one and stays where it is, so that products can be recorded.
type blas struct {
	handle    unsafe.Pointer
	workspace cu.DevicePtr
	plans     map[C.gojet_shape]*C.gojet_product
	bias      []cu.DevicePtr // for biases of another type than the result; the last is in use
	biasBytes int64
	narrow    *Kernel
}

func blasError(call string, status C.int) error {
	if status == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", call, C.GoString(C.gojet_blas_error(status)))
}

func openBLAS() (*blas, error) {
	if err := loadBLAS(); err != nil {
		return nil, err
	}
	b := &blas{plans: map[C.gojet_shape]*C.gojet_product{}}
	if err := blasError("cublasLtCreate", C.gojet_blas_open(&b.handle)); err != nil {
		return nil, err
	}
	var err error
	if b.workspace, err = cu.MemAlloc(workspaceBytes); err != nil {
		return nil, errors.Join(failed("cuMemAlloc", err), b.close())
	}
	return b, nil
}

func (b *blas) close() error {
	if b == nil {
		return nil
	}
	for _, p := range b.plans {
		C.gojet_blas_forget(p)
	}
	errs := []error{blasError("cublasLtDestroy", C.gojet_blas_close(b.handle))}
	for _, p := range append(b.bias, b.workspace) {
		if p != 0 {
			errs = append(errs, failed("cuMemFree", cu.MemFree(p)))
		}
	}
	return errors.Join(errs...)
}

// aligned is how far an address and its distances are multiples of powers of two, in bytes, 256 at most.
func aligned(ptr uintptr, elements ...int) C.int32_t {
	n := uint64(ptr) | 256
	for _, e := range elements {
		n |= uint64(e)
	}
	return C.int32_t(1 << bits.TrailingZeros64(n))
}

// shape says p in cuBLASLt's terms. It thinks in columns, and so sees every matrix transposed: Cᵀ = op(B)ᵀ·op(A)ᵀ.
func (p *Product) shape() C.gojet_shape {
	flag := func(b bool) C.int32_t {
		if b {
			return 1
		}
		return 0
	}
	size, sizeC := p.A.Type.Size(), p.C.Type.Size()
	s := C.gojet_shape{
		m: C.int64_t(p.N), n: C.int64_t(p.M), k: C.int64_t(p.K),
		lda: C.int64_t(p.LDB), ldb: C.int64_t(p.LDA), ldc: C.int64_t(p.LDC),
		batch:   C.int32_t(p.Batch),
		trans_a: flag(p.TransB), trans_b: flag(p.TransA),
		type_ab: flag(p.A.Type == BF16), type_c: flag(p.C.Type == BF16),
		align_a: aligned(p.B.Ptr), align_b: aligned(p.A.Ptr), align_c: aligned(p.C.Ptr),
	}
	if p.Batch > 1 {
		s.stride_a, s.stride_b, s.stride_c = C.int64_t(p.StrideB), C.int64_t(p.StrideA), C.int64_t(p.StrideC)
		s.align_a, s.align_b, s.align_c = aligned(p.B.Ptr, p.StrideB*size), aligned(p.A.Ptr, p.StrideA*size), aligned(p.C.Ptr, p.StrideC*sizeC)
	}
	return s
}

func (c *cuda) product(p *Product) error {
	if err := p.valid(); err != nil {
		return err
	}
	if p.K == 0 {
		return c.empty(p)
	}
	return c.do(func() error {
		if c.blas == nil {
			var err error
			if c.blas, err = openBLAS(); err != nil {
				return err
			}
		}
		b, bias, s := c.blas, p.Bias, p.shape()
		if !bias.None() {
			if bias.Type != p.C.Type {
				var err error
				if bias, err = c.narrowed(bias); err != nil {
					return err
				}
			}
			s.bias = aligned(bias.Ptr)
		}
		plan := b.plans[s]
		if plan == nil {
			plan = &C.gojet_product{}
			if err := blasError("cublasLtMatmulAlgoGetHeuristic", C.gojet_blas_plan(b.handle, &s, workspaceBytes, plan)); err != nil {
				return err
			}
			b.plans[s] = plan
		}
		c.last = nil
		return blasError("cublasLtMatmul", C.gojet_blas_run(b.handle, plan, C.uintptr_t(p.B.Ptr), C.uintptr_t(p.A.Ptr), C.uintptr_t(p.C.Ptr),
			C.uintptr_t(bias.Ptr), C.float(p.Alpha), C.float(p.Beta), C.uintptr_t(b.workspace), workspaceBytes, C.uintptr_t(handleOf(c.stream))))
	})
}

// empty is a product of sums without terms.
func (c *cuda) empty(p *Product) error {
	switch {
	case !p.Bias.None():
		return errors.New("a bias on a product of no terms")
	case p.Beta == 1:
		return nil
	case p.Beta != 0:
		return fmt.Errorf("a result kept %g times in a product of no terms", p.Beta)
	}
	size := p.C.Type.Size()
	for i := range p.Batch {
		err := c.call("cuMemsetD2D8Async", func() error {
			at := cu.DevicePtr(p.C.Ptr + uintptr(i*p.StrideC*size))
			return cu.MemsetD2D8Async(at, int64(p.LDC*size), 0, int64(p.N*size), int64(p.M), c.stream)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const narrowText = `#include "gojet.cuh"
extern "C" __global__ void narrow(bf16* __restrict__ y, const float* __restrict__ x, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) y[i] = bf16(x[i]);
}
`

// narrowed is a float32 bias as bf16, which is the only type that cuBLASLt adds to a bf16 result. It stands in memory of
// the driver's own until the product is done, which comes next in the queue.
func (c *cuda) narrowed(bias Tensor) (Tensor, error) {
	b := c.blas
	out := Tensor{Type: BF16, Len: bias.Len}
	if b.narrow == nil {
		h, took, err := c.compile(program{file: "narrow.cu", text: narrowText, name: "narrow"})
		if err != nil {
			return out, err
		}
		b.narrow = &Kernel{Name: "narrow", handle: h, Resources: took}
	}
	if out.Bytes() > b.biasBytes {
		// Smaller buffers stay: recorded work may name them.
		n := max(out.Bytes(), 64<<10)
		ptr, err := cu.MemAlloc(n)
		if err != nil {
			return out, failed("cuMemAlloc", err)
		}
		b.bias, b.biasBytes = append(b.bias, ptr), n
	}
	out.Ptr = uintptr(b.bias[len(b.bias)-1])
	l := call{kernel: b.narrow, grid: [3]int{(bias.Len + 255) / 256, 1, 1}, block: [3]int{256, 1, 1}}
	for _, v := range []any{out, bias, bias.Len} {
		if err := l.args.add(v); err != nil {
			return out, err
		}
	}
	l.args.at = append(l.args.at, len(l.args.data))
	return out, c.launch(&l)
}
