package device_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/device"
)

func ramp(n int) []float32 {
	h := make([]float32, n)
	for i := range h {
		h[i] = float32(i)
	}
	return h
}

func random(r *rand.Rand, n int) []float64 {
	h := make([]float64, n)
	for i := range h {
		h[i] = float64(float32(r.NormFloat64()))
	}
	return h
}

// put uploads numbers and rounds h to what was uploaded.
func put(d *device.Device, t device.Tensor, h []float64) {
	if t.Type == device.BF16 {
		b := make([]bf16.BF16, len(h))
		for i, x := range h {
			b[i] = bf16.From(float32(x))
			h[i] = float64(b[i].Float32())
		}
		device.Upload(d, t, b)
		return
	}
	f := make([]float32, len(h))
	for i, x := range h {
		f[i] = float32(x)
		h[i] = float64(f[i])
	}
	device.Upload(d, t, f)
}

func fetch(t *testing.T, d *device.Device, x device.Tensor) []float32 {
	t.Helper()
	h := make([]float32, x.Len)
	var err error
	if x.Type == device.BF16 {
		b := make([]bf16.BF16, x.Len)
		err = device.Download(d, b, x)
		for i := range b {
			h[i] = b[i].Float32()
		}
	} else {
		err = device.Download(d, h, x)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// variant is what a product does beside multiplying.
type variant struct {
	name        string
	extra       int // elements between rows beyond their length
	batch       int
	bias        bool
	wide        bool // the bias is float32 where the result is not
	alpha, beta float32
	offset      int // elements before each operand: how badly it is aligned
}

func TestProduct(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(3, 4))
	variants := []variant{
		{name: "plain"},
		{name: "rows apart", extra: 8, beta: 1},
		{name: "rows apart oddly", extra: 3, alpha: 2, beta: -0.5, offset: 1},
		{name: "batch", batch: 3, extra: 1, beta: 1},
		{name: "bias", bias: true},
		{name: "bias, added to", bias: true, alpha: 0.5, beta: 1, extra: 8},
		{name: "float32 bias", bias: true, wide: true, offset: 1},
	}
	for _, types := range [][2]device.Type{{device.Float32, device.Float32}, {device.BF16, device.BF16}, {device.BF16, device.Float32}} {
		for _, size := range [][3]int{{1, 1, 1}, {1, 7, 5}, {65, 33, 17}, {128, 64, 96}, {64, 1, 130}, {3, 200, 1}} {
			for trans := range 4 {
				for _, v := range variants {
					p := device.Product{M: size[0], N: size[1], K: size[2], TransA: trans&1 != 0, TransB: trans&2 != 0}
					name := fmt.Sprintf("%s to %s, %v, transposed %t %t, %s", types[0], types[1], size, p.TransA, p.TransB, v.name)
					tryProduct(t, d, r, name, p, types, v)
				}
			}
		}
	}
}

func tryProduct(t *testing.T, d *device.Device, r *rand.Rand, name string, p device.Product, types [2]device.Type, v variant) {
	t.Helper()
	batch := max(v.batch, 1)
	// matrix makes one operand: its rows, its batch, and the numbers.
	matrix := func(kind device.Type, rows, cols int, transposed bool) (device.Tensor, []float64, int, int) {
		if transposed {
			rows, cols = cols, rows
		}
		ld := cols + v.extra
		stride := rows*ld + v.extra
		whole := d.New(kind, v.offset+batch*stride)
		x := whole.Slice(v.offset, batch*stride)
		h := random(r, x.Len)
		put(d, x, h)
		t.Cleanup(func() { d.Free(whole) })
		return x, h, ld, stride
	}
	var a, b, c []float64
	p.A, a, p.LDA, p.StrideA = matrix(types[0], p.M, p.K, p.TransA)
	p.B, b, p.LDB, p.StrideB = matrix(types[0], p.K, p.N, p.TransB)
	p.C, c, p.LDC, p.StrideC = matrix(types[1], p.M, p.N, false)
	p.Batch, p.Alpha, p.Beta = v.batch, v.alpha, v.beta
	var bias []float64
	if v.bias {
		kind := types[1]
		if v.wide {
			kind = device.Float32
		}
		whole := d.New(kind, p.N+v.offset)
		t.Cleanup(func() { d.Free(whole) })
		p.Bias = whole.Slice(v.offset, p.N)
		bias = random(r, p.N)
		put(d, p.Bias, bias)
	}
	if v.beta == 0 { // then what was there must not matter
		gap := c
		d.Poison(p.C)
		c = make([]float64, len(gap))
		for i := range c {
			c[i] = math.NaN()
		}
	}
	d.Product(p)
	got := fetch(t, d, p.C)
	alpha := float64(p.Alpha)
	if alpha == 0 {
		alpha = 1
	}
	at := func(h []float64, transposed bool, ld, i, k int) float64 {
		if transposed {
			i, k = k, i
		}
		return h[i*ld+k]
	}
	var worst, most float64
	written := make([]bool, len(c))
	for z := range batch {
		for i := range p.M {
			for j := range p.N {
				sum := 0.0
				for k := range p.K {
					sum += at(a[z*p.StrideA:], p.TransA, p.LDA, i, k) * at(b[z*p.StrideB:], p.TransB, p.LDB, k, j)
				}
				sum *= alpha
				o := z*p.StrideC + i*p.LDC + j
				if p.Beta != 0 {
					sum += float64(p.Beta) * c[o]
				}
				if bias != nil {
					sum += bias[j]
				}
				written[o] = true
				most = max(most, math.Abs(sum))
				worst = max(worst, math.Abs(sum-float64(got[o])))
				if got[o] != got[o] {
					worst = math.Inf(1)
				}
			}
		}
	}
	tolerance := 1e-5
	if types[1] == device.BF16 {
		tolerance = 8e-3 // the result and perhaps the bias are rounded to 8 bits
	}
	if !(worst <= tolerance*max(most, 1)) {
		t.Errorf("%s: off by %g of %g", name, worst, most)
	}
	for o := range c {
		if !written[o] && float64(got[o]) != c[o] && !(c[o] != c[o] && got[o] != got[o]) {
			t.Fatalf("%s: wrote %g between rows", name, got[o])
		}
	}
}

func TestProductOfNothing(t *testing.T) {
	d := open(t)
	c := d.New(device.Float32, 12)
	d.Poison(c)
	x := d.New(device.Float32, 1)
	d.Product(device.Product{M: 3, N: 2, K: 0, A: x, B: x, C: c, LDC: 4})
	got := fetch(t, d, c)
	for i, v := range got {
		if inside := i%4 < 2; inside != (v == 0) {
			t.Errorf("element %d is %g", i, v)
		}
	}
	d.Product(device.Product{M: 0, N: 2, K: 5, A: x, B: x, C: c})
	d.Product(device.Product{M: 2, N: 2, K: 5, A: x, B: x, C: c})
	wantError(t, d.Wait(), "product", "[2, 5]·[5, 2]")
}
