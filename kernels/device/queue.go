package device

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// Device is an open accelerator and its one queue of work. The first failure sticks: work queued after it is dropped
// and Err reports it, so that code that queues kernels needs no error handling of its own. Methods may be called from
// several goroutines; each is atomic.
type Device struct {
	mu        sync.Mutex
	drv       driver
	about     Info
	kernels   map[string]*Kernel
	memory    allocator
	err       error
	capturing bool // what is queued is recorded, not run
}

// Queue is the name that kernels know a Device by: they only add work to it.
type Queue = Device

// Open opens device number ordinal.
func Open(ordinal int) (*Device, error) {
	drv, err := open(ordinal)
	if err != nil {
		return nil, err
	}
	return newDevice(drv)
}

func newDevice(drv driver) (*Device, error) {
	about, err := drv.info()
	if err != nil {
		return nil, err
	}
	d := &Device{drv: drv, about: about, kernels: map[string]*Kernel{}}
	d.memory.init(drv)
	return d, nil
}

// Info describes the device.
func (d *Device) Info() Info { return d.about }

// Err returns the first failure.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// do runs f unless something failed before.
func (d *Device) do(f func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = f()
	}
}

// Fail makes err stick, as the failure of an operation that finds fault with its arguments.
func (d *Device) Fail(err error) { d.do(func() error { return err }) }

// Source is the text of one or more kernels.
type Source struct {
	File string // its name in error messages
	Text string
}

// Define is a constant for the compilation of a kernel: NAME=VALUE. Value is an int, bool, string or Type.
type Define struct {
	Name  string
	Value any
}

func (f Define) option() string {
	switch v := f.Value.(type) {
	case bool:
		n := 0
		if v {
			n = 1
		}
		return fmt.Sprintf("-D%s=%d", f.Name, n)
	case Type:
		return fmt.Sprintf("-D%s=%s", f.Name, v.C())
	case float64:
		return fmt.Sprintf("-D%s=%.9ef", f.Name, v)
	default:
		return fmt.Sprintf("-D%s=%v", f.Name, v)
	}
}

// Kernel is a compiled kernel.
type Kernel struct {
	Name      string
	Options   []string
	Resources Resources
	handle    handle
}

func (k *Kernel) String() string { return k.Name + " " + strings.Join(k.Options, " ") }

// Kernel returns the kernel of that name compiled with these constants. It is compiled when it is first asked for.
func (d *Device) Kernel(src *Source, name string, defines ...Define) *Kernel {
	options := make([]string, len(defines))
	for i, f := range defines {
		options[i] = f.option()
	}
	key := src.File + "\x00" + name + "\x00" + strings.Join(options, "\x00")
	var k *Kernel
	d.do(func() error {
		if k = d.kernels[key]; k != nil {
			return nil
		}
		start := time.Now()
		h, res, err := d.drv.compile(program{file: src.File, text: src.Text, name: name, options: options})
		if err != nil {
			return fmt.Errorf("device: compiling %s of %s %s: %w", name, src.File, strings.Join(options, " "), err)
		}
		if res.Seconds > 0 {
			res.Seconds = time.Since(start).Seconds()
		}
		k = &Kernel{Name: name, Options: options, Resources: res, handle: h}
		d.kernels[key] = k
		return nil
	})
	return k
}

// Kernels returns the kernels compiled so far.
func (d *Device) Kernels() []*Kernel {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*Kernel, 0, len(d.kernels))
	for _, k := range d.kernels {
		list = append(list, k)
	}
	return list
}

// Grid is how a kernel is launched: blocks along x, y, z (0 is 1), threads of a block, bytes of dynamic shared memory, and
// blocks of a cluster along x.
type Grid struct {
	X, Y, Z int
	Threads int
	Shared  int
	Cluster int
}

// Launch queues a kernel. Arguments are passed as the kernel declares them: a Tensor as a pointer, int as int, int64 as
// long long, float64 and float32 as float, a Descriptor as a struct of 128 bytes. A grid without blocks is no work.
func (d *Device) Launch(k *Kernel, g Grid, args ...any) {
	if k == nil || g.X == 0 {
		return
	}
	c := call{kernel: k, grid: [3]int{g.X, max(g.Y, 1), max(g.Z, 1)}, block: [3]int{g.Threads, 1, 1}, cluster: g.Cluster, shared: g.Shared}
	for i, a := range args {
		if err := c.args.add(a); err != nil {
			d.Fail(fmt.Errorf("device: argument %d of %s: %w", i, k.Name, err))
			return
		}
	}
	c.args.at = append(c.args.at, len(c.args.data))
	d.do(func() error {
		if err := d.drv.launch(&c); err != nil {
			return fmt.Errorf("device: launching %v on %v blocks of %d threads, %d bytes of shared memory: %w", k, c.grid, g.Threads, g.Shared, err)
		}
		return nil
	})
}

// add appends one parameter, aligned as C aligns it.
func (a *arguments) add(v any) error {
	align := func(n int) {
		for len(a.data)%n != 0 {
			a.data = append(a.data, 0)
		}
		a.at = append(a.at, len(a.data))
	}
	switch v := v.(type) {
	case Tensor:
		align(8)
		a.data = binary.LittleEndian.AppendUint64(a.data, uint64(v.Ptr))
	case int:
		if v != int(int32(v)) {
			return fmt.Errorf("%d is too large for an int", v)
		}
		align(4)
		a.data = binary.LittleEndian.AppendUint32(a.data, uint32(int32(v)))
	case int32:
		align(4)
		a.data = binary.LittleEndian.AppendUint32(a.data, uint32(v))
	case int64:
		align(8)
		a.data = binary.LittleEndian.AppendUint64(a.data, uint64(v))
	case float32:
		align(4)
		a.data = binary.LittleEndian.AppendUint32(a.data, math.Float32bits(v))
	case float64:
		align(4)
		a.data = binary.LittleEndian.AppendUint32(a.data, math.Float32bits(float32(v)))
	case Descriptor:
		align(64)
		a.data = append(a.data, v.bytes[:]...)
	default:
		return fmt.Errorf("a %T cannot be passed", v)
	}
	return nil
}

// Product is a matrix product C = Alpha·op(A)·op(B) + Beta·C, row-major, where C is [M, N] and the sums are float32. A and
// B have one type; C may have another. BF16 is multiplied as such, Float32 in full precision (no TF32).
type Product struct {
	M, N, K        int
	A, B, C        Tensor
	TransA, TransB bool    // A is stored [K, M]; B is stored [N, K]
	LDA, LDB, LDC  int     // elements between rows as stored; 0 means packed
	Alpha, Beta    float32 // Alpha 0 means 1
	Bias           Tensor  // [N], added to every row (of the type of C or float32); none for none
	Batch          int     // so many products, 0 means 1, at these distances in elements
	StrideA        int
	StrideB        int
	StrideC        int
}

// Product queues a matrix product.
func (d *Device) Product(p Product) {
	if p.M == 0 || p.N == 0 {
		return
	}
	p.complete()
	d.do(func() error {
		if err := d.drv.product(&p); err != nil {
			return fmt.Errorf("device: product %s [%d, %d]·[%d, %d] → %s (transposed %t, %t): %w", p.A.Type, p.M, p.K, p.K, p.N, p.C.Type, p.TransA, p.TransB, err)
		}
		return nil
	})
}

// complete fills in what zero stands for.
func (p *Product) complete() {
	either := func(v *int, t bool, yes, no int) {
		if *v == 0 {
			*v = no
			if t {
				*v = yes
			}
		}
	}
	either(&p.LDA, p.TransA, p.M, p.K)
	either(&p.LDB, p.TransB, p.K, p.N)
	either(&p.LDC, false, 0, p.N)
	if p.Alpha == 0 {
		p.Alpha = 1
	}
	p.Batch = max(p.Batch, 1)
}

// TensorMap describes a matrix [Rows, Cols] in device memory to the bulk copy engine, which moves boxes of it to shared
// memory: [BoxRows, BoxCols], swizzled over Swizzle bytes (0, 32, 64 or 128). Higher dimensions are optional: with Planes the
// matrix is [Planes, Rows, Cols].
type TensorMap struct {
	T                       Tensor
	Rows, Cols              int
	Stride                  int // elements between rows; 0 means Cols
	Planes, PlaneStride     int
	BoxRows, BoxCols, Boxes int // Boxes: planes of a box, 0 means 1
	Swizzle                 int
}

// Descriptor is an encoded TensorMap, a kernel argument.
type Descriptor struct{ bytes [128]byte }

// Describe encodes a tensor map.
func (d *Device) Describe(m TensorMap) Descriptor {
	var out Descriptor
	d.do(func() (err error) {
		if out.bytes, err = d.drv.tensorMap(&m); err != nil {
			return fmt.Errorf("device: tensor map of [%d, %d] %s, boxes [%d, %d], swizzle %d: %w", m.Rows, m.Cols, m.T.Type, m.BoxRows, m.BoxCols, m.Swizzle, err)
		}
		return nil
	})
	return out
}

// Zero queues writing zeros.
func (d *Device) Zero(t Tensor) {
	if t.Bytes() > 0 {
		d.do(func() error { return d.drv.fill(t.Ptr, 0, 1, t.Bytes()) })
	}
}

// Poison queues writing NaN (the least int for int32), for tests.
func (d *Device) Poison(t Tensor) {
	if t.Len == 0 {
		return
	}
	word, width := uint32(0x7fc07fc0), 4
	switch t.Type {
	case BF16:
		width = 2
		word = 0x7fc0
	case Int32:
		word = 1 << 31
	}
	d.do(func() error { return d.drv.fill(t.Ptr, word, width, t.Bytes()/int64(width)) })
}

// Copy queues copying src over dst, of the same size in bytes.
func (d *Device) Copy(dst, src Tensor) {
	if dst.Bytes() != src.Bytes() {
		d.Fail(fmt.Errorf("device: copy of %d bytes over %d", src.Bytes(), dst.Bytes()))
		return
	}
	if dst.Len > 0 {
		d.do(func() error { return d.drv.copyWithin(dst.Ptr, src.Ptr, dst.Bytes()) })
	}
}

// Wait waits until all queued work is done and returns the first failure.
func (d *Device) Wait() error {
	d.do(d.drv.wait)
	return d.Err()
}
