//go:build emulate && !gpu && linux && cgo

package device

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// As in cuda/emulate.h.
typedef struct {
	const char *kernel;
	unsigned grid[3], threads, shared;
	unsigned long long seed;
	char *stacks;
	const void *data;
	const int *at;
	int count;
} Launch;

typedef const char *(*Function)(const Launch *);

enum { maxThreads = 1024, stackBytes = 256 << 10 };

// Kernels are loaded once into a process, and so have one state for all devices.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char *stacks;

static void *load(const char *path, const char **err) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *f = library ? dlsym(library, "gojet_launch") : 0;
	*err = f ? 0 : dlerror();
	return f;
}

// launch returns null or a message to be freed.
static char *launch(void *f, const char *name, const unsigned *grid, unsigned threads, unsigned shared, unsigned long long seed, const void *data, size_t size, const int *at, int count) {
	char *said = 0;
	void *aligned = 0;
	pthread_mutex_lock(&turn);
	if (!stacks) {
		stacks = mmap(0, (size_t)maxThreads * stackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		for (int i = 0; i < maxThreads; i++) mprotect(stacks + (size_t)i * stackBytes, 4096, PROT_NONE);
	}
	if (posix_memalign(&aligned, 64, size + 64)) abort();
	memcpy(aligned, data, size);
	Launch l = {name, {grid[0], grid[1], grid[2]}, threads, shared, seed, stacks, aligned, at, count};
	const char *err = ((Function)f)(&l);
	if (err) said = strdup(err);
	free(aligned);
	pthread_mutex_unlock(&turn);
	return said;
}

// Memory between stretches that cannot be touched; its end touches the second.
enum { guard = 1 << 20 };

static uintptr_t map_guarded(size_t bytes) {
	size_t whole = (bytes + 4095) / 4096 * 4096;
	char *p = mmap(0, whole + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED || mprotect(p + guard, whole, PROT_READ | PROT_WRITE)) return 0;
	return (uintptr_t)(p + guard + whole - bytes);
}
static int unmap_guarded(uintptr_t p, size_t bytes) {
	size_t whole = (bytes + 4095) / 4096 * 4096;
	return munmap((char *)(p + bytes - whole - guard), whole + 2 * guard);
}

// c[m,n] = sum over k of a[m,k]·b[k,n], all packed floats.
static void product(float *c, const float *a, const float *b, int m, int n, int k) {
	for (int i = 0; i < m; i++) {
		float *row = c + (size_t)i * n;
		memset(row, 0, n * sizeof *row);
		for (int t = 0; t < k; t++) {
			const float x = a[(size_t)i * k + t], *y = b + (size_t)t * n;
			for (int j = 0; j < n; j++) row[j] += x * y[j];
		}
	}
}
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// cFunction is a loaded kernel.
type cFunction struct{ f unsafe.Pointer }

func loadFunction(path string) (cFunction, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var said *C.char
	f := C.load(name, &said)
	if f == nil {
		return cFunction{}, fmt.Errorf("loading %s: %s", path, C.GoString(said))
	}
	return cFunction{f}, nil
}

func (f cFunction) run(kernel string, grid [3]int, threads, shared int, args arguments, seed uint64) error {
	name := C.CString(kernel)
	defer C.free(unsafe.Pointer(name))
	g := [3]C.uint{C.uint(grid[0]), C.uint(grid[1]), C.uint(grid[2])}
	at := make([]C.int, len(args.at))
	for i, v := range args.at {
		at[i] = C.int(v)
	}
	said := C.launch(f.f, name, &g[0], C.uint(threads), C.uint(shared), C.ulonglong(seed), unsafe.Pointer(unsafe.SliceData(args.data)), C.size_t(len(args.data)),
		unsafe.SliceData(at), C.int(len(at)-1))
	if said == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(said))
	return errors.New(C.GoString(said))
}

func mapGuarded(n int64) (uintptr, error) {
	p := uintptr(C.map_guarded(C.size_t(n)))
	if p == 0 {
		return 0, fmt.Errorf("the host has no %d bytes", n)
	}
	return p, nil
}

func unmapGuarded(ptr uintptr, n int64) error {
	if C.unmap_guarded(C.uintptr_t(ptr), C.size_t(n)) != 0 {
		return errors.New("munmap failed")
	}
	return nil
}

// product multiplies in float32.
func (e *emulator) product(p *Product) error {
	if err := p.valid(); err != nil {
		return err
	}
	q := *p
	return e.queue(func() error {
		for i := range q.Batch {
			multiply(&q, i)
		}
		return nil
	})
}

// multiply computes product i of a batch.
func multiply(p *Product, i int) {
	a := gather(p.A, i*p.StrideA, p.M, p.K, p.LDA, p.TransA)
	b := gather(p.B, i*p.StrideB, p.K, p.N, p.LDB, p.TransB)
	c := make([]float32, p.M*p.N)
	C.product((*C.float)(unsafe.SliceData(c)), (*C.float)(unsafe.SliceData(a)), (*C.float)(unsafe.SliceData(b)), C.int(p.M), C.int(p.N), C.int(p.K))
	out, bias := hostBytes(p.C.Ptr, p.C.Bytes()), hostBytes(p.Bias.Ptr, p.Bias.Bytes())
	for row := range p.M {
		for col := range p.N {
			at := i*p.StrideC + row*p.LDC + col
			v := p.Alpha * c[row*p.N+col]
			if p.Beta != 0 {
				v += p.Beta * element(out, p.C.Type, at)
			}
			if !p.Bias.None() {
				v += element(bias, p.Bias.Type, col)
			}
			if p.C.Type == BF16 {
				binary.LittleEndian.PutUint16(out[2*at:], nearest(v))
			} else {
				binary.LittleEndian.PutUint32(out[4*at:], math.Float32bits(v))
			}
		}
	}
}

// gather reads a matrix [rows, cols], stored transposed or not, as packed floats.
func gather(t Tensor, from, rows, cols, ld int, transposed bool) []float32 {
	stored, wide := rows, cols
	if transposed {
		stored, wide = cols, rows
	}
	b := hostBytes(t.Ptr, t.Bytes())
	out := make([]float32, rows*cols)
	for r := range stored {
		for c := range wide {
			v := element(b, t.Type, from+r*ld+c)
			if transposed {
				out[c*cols+r] = v
			} else {
				out[r*cols+c] = v
			}
		}
	}
	return out
}

func element(b []byte, t Type, i int) float32 {
	if t == BF16 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}

// nearest rounds to bfloat16, ties to even.
func nearest(v float32) uint16 {
	u := math.Float32bits(v)
	if v != v {
		return 0x7fff
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// tensorMap writes the EmulatedMap of cuda/emulate.h, and minds what the real encoder minds.
func (e *emulator) tensorMap(m *TensorMap) (out [128]byte, err error) {
	size := m.T.Type.Size()
	stride, planes, boxes := m.Stride, max(m.Planes, 1), max(m.Boxes, 1)
	if stride == 0 {
		stride = m.Cols
	}
	inner := m.BoxCols * size
	switch {
	case m.T.Ptr%16 != 0:
		return out, errors.New("the matrix is not aligned to 16 bytes")
	case stride*size%16 != 0 || planes > 1 && m.PlaneStride*size%16 != 0:
		return out, errors.New("distances between rows and planes must be multiples of 16 bytes")
	case m.Rows < 1 || m.Cols < 1 || m.BoxRows < 1 || m.BoxCols < 1 || m.BoxRows > 256 || m.BoxCols > 256 || boxes > 256:
		return out, errors.New("sides of boxes are 1 to 256")
	case inner%16 != 0:
		return out, errors.New("a row of a box must be a multiple of 16 bytes")
	case m.Swizzle != 0 && m.Swizzle != 32 && m.Swizzle != 64 && m.Swizzle != 128:
		return out, errors.New("swizzles are 0, 32, 64 or 128 bytes")
	case m.Swizzle != 0 && inner > m.Swizzle:
		return out, fmt.Errorf("a row of a box is %d bytes, more than the swizzle", inner)
	}
	if err := e.within(m.T.Ptr, int64(((planes-1)*m.PlaneStride+(m.Rows-1)*stride+m.Cols)*size)); err != nil {
		return out, err
	}
	b := out[:0]
	b = binary.LittleEndian.AppendUint64(b, uint64(m.T.Ptr))
	for _, v := range []int{size, stride * size, m.PlaneStride * size} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	for _, v := range []int{m.Cols, m.Rows, planes, m.BoxCols, m.BoxRows, boxes, m.Swizzle} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return out, nil
}
