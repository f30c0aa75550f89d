package conv

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

type shape struct {
	f       Config
	lengths []int
	gap     int // tokens before and after all sequences
	bias    bool
	noCache bool
}

func (s shape) String() string {
	return fmt.Sprintf("%+v T %v gap %d bias %v cache %v", s.f, s.lengths, s.gap, s.bias, !s.noCache)
}

func shapes() (list []shape) {
	for _, dynamic := range []bool{false, true} {
		for taps := 1; taps <= 6; taps++ {
			f := Config{Dim: 19, Taps: taps, Dynamic: dynamic, SiLU: taps != 3}
			list = append(list,
				shape{f: f, lengths: []int{62, 1, 0, 2, 70}, gap: 3, bias: !dynamic},
				shape{f: f, lengths: []int{1, 2, 0, 1}, noCache: true})
		}
		for _, t := range check.Sizes() {
			list = append(list, shape{f: Config{Dim: 33, Taps: 4, Dynamic: dynamic, SiLU: true}, lengths: []int{t}})
		}
		list = append(list, shape{f: Config{Dim: tileFeatures + 5, Taps: 4, Dynamic: dynamic, SiLU: true}, lengths: []int{5, 80}, bias: !dynamic})
	}
	return list
}

// problem is a set of inputs in float64 and what the reference makes of them.
type problem struct {
	shape
	seqs                       packed.Sequences
	n, rows                    int
	x, kernel, bias, cache, dy []float64
	y, newCache                []float64
	dx, dKernel, dBias, dCache []float64
}

// draw makes a problem of a shape. Cache rows stand in reverse, with one to spare.
func draw(sh shape) *problem {
	r := check.Rand(11)
	p := &problem{shape: sh, n: sh.gap, rows: len(sh.lengths) + 1}
	p.seqs.Cu = []int32{int32(p.n)}
	for i, t := range sh.lengths {
		p.n += t
		p.seqs.Cu = append(p.seqs.Cu, int32(p.n))
		p.seqs.Slot = append(p.seqs.Slot, int32(len(sh.lengths)-i))
	}
	p.n += sh.gap
	kernel, _ := sh.f.kernelLen(p.n)
	p.x, p.dy = check.Normal(r, p.n*sh.f.Dim, 1), check.Normal(r, p.n*sh.f.Dim, 1)
	p.kernel = check.Normal(r, kernel, 0.7)
	if sh.bias {
		p.bias = check.Normal(r, sh.f.Dim, 1)
	}
	if !sh.noCache {
		p.cache = check.Normal(r, p.rows*sh.f.CacheLen(), 1)
	}
	for _, x := range [][]float64{p.x, p.dy, p.kernel, p.bias, p.cache} {
		for i := range x {
			x[i] = float64(float32(x[i]))
		}
	}
	fw := forwardArgs[float64](p)
	fw.Y, fw.NewCache = make([]float64, len(p.x)), make([]float64, len(p.cache))
	ReferenceForward(fw)
	bw := backwardArgs[float64](p)
	results(p, bw)
	ReferenceBackward(bw)
	p.y, p.newCache = fw.Y, fw.NewCache
	p.dx, p.dKernel, p.dBias, p.dCache = bw.DX, bw.DKernel, bw.DBias, bw.DCache
	return p
}

func forwardArgs[T kernels.Float](p *problem) *ForwardArgs[T] {
	return &ForwardArgs[T]{Config: p.f, Seqs: p.seqs, X: check.To[T](p.x), Kernel: check.To[T](p.kernel),
		Bias: check.To[T](p.bias), Cache: check.To[T](p.cache)}
}

func backwardArgs[T kernels.Float](p *problem) *BackwardArgs[T] {
	return &BackwardArgs[T]{Config: p.f, Seqs: p.seqs, X: check.To[T](p.x), Kernel: check.To[T](p.kernel),
		Bias: check.To[T](p.bias), Cache: check.To[T](p.cache), DY: check.To[T](p.dy)}
}

// results gives the backward pass poisoned results for every input there is.
func results[T kernels.Float](p *problem, a *BackwardArgs[T]) []check.Out[T] {
	var out []check.Out[T]
	for _, x := range []struct {
		dst *[]T
		n   int
	}{{&a.DX, len(p.x)}, {&a.DKernel, len(p.kernel)}, {&a.DBias, len(p.bias)}, {&a.DCache, len(p.cache)}} {
		o := check.Poisoned[T](x.n)
		if x.n > 0 {
			*x.dst = o.Data
		}
		out = append(out, o)
	}
	return out
}

func TestReferenceGradients(t *testing.T) {
	for _, dynamic := range []bool{false, true} {
		p := draw(shape{f: Config{Dim: 3, Taps: 4, Dynamic: dynamic, SiLU: true}, lengths: []int{6, 0, 2}, gap: 1, bias: !dynamic})
		fw := forwardArgs[float64](p)
		fw.Y = make([]float64, len(p.x))
		loss := func() float64 {
			ReferenceForward(fw)
			var sum float64
			for i, y := range fw.Y {
				sum += y * p.dy[i]
			}
			return sum
		}
		check.Gradient(t, "x", fw.X, p.dx, loss)
		check.Gradient(t, "kernel", fw.Kernel, p.dKernel, loss)
		check.Gradient(t, "bias", fw.Bias, p.dBias, loss)
		check.Gradient(t, "cache", fw.Cache, p.dCache, loss)
	}
}

func TestForwardMatchesReference(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.String(), func(t *testing.T) {
			p := draw(sh)
			for threads := 1; threads <= 3; threads++ {
				c := cpu.New(threads)
				a := forwardArgs[float32](p)
				unchanged := check.Unchanged(t, a.X, a.Kernel, a.Bias, a.Cache)
				y := check.Poisoned[float32](len(p.x))
				a.Y, a.NewCache = y.Data, p.poisonedRows()
				Forward(c, a)
				unchanged()
				check.Written(t, "y", y, p.y, check.Kernel32)
				p.checkCache(t, a.NewCache)

				a.Y, a.NewCache = nil, a.Cache // in place
				clear(a.Cache[:min(len(a.Cache), a.CacheLen())])
				Forward(c, a)
				p.checkCache(t, a.Cache)
				c.Close()
			}
		})
	}
}

// poisonedRows is a cache that is NaN in the rows of sequences and 0 in the spare one.
func (p *problem) poisonedRows() []float32 {
	rows := make([]float32, len(p.cache))
	for i := min(len(rows), p.f.CacheLen()); i < len(rows); i++ {
		rows[i] = float32(math.NaN())
	}
	return rows
}

// checkCache wants the very inputs, and zero in the spare row.
func (p *problem) checkCache(t *testing.T, got []float32) {
	t.Helper()
	for i, want := range p.newCache {
		if float64(got[i]) != want {
			t.Fatalf("new cache is %v at %d, want %v", got[i], i, want)
		}
	}
}

func TestBackwardMatchesReference(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.String(), func(t *testing.T) {
			p := draw(sh)
			var one []check.Out[float32]
			for threads := 1; threads <= 3; threads++ {
				c := cpu.New(threads)
				a := backwardArgs[float32](p)
				unchanged := check.Unchanged(t, a.X, a.Kernel, a.Bias, a.Cache, a.DY)
				out := results(p, a)
				Backward(c, a)
				c.Close()
				unchanged()
				check.Written(t, "dx", out[0], p.dx, check.Kernel32)
				check.Written(t, "dkernel", out[1], p.dKernel, check.Kernel32)
				check.Written(t, "dbias", out[2], p.dBias, check.Kernel32)
				check.Written(t, "dcache", out[3], p.dCache, check.Kernel32)
				if one == nil {
					one = out
				}
				for i := range out {
					for j, v := range out[i].Data {
						if v != one[i].Data[j] {
							t.Fatalf("result %d differs at %d with %d threads", i, j, threads)
						}
					}
				}
			}
		})
	}
}

// Every gradient alone is what it is in company.
func TestBackwardOneResultAtATime(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, dynamic := range []bool{false, true} {
		p := draw(shape{f: Config{Dim: 19, Taps: 4, Dynamic: dynamic, SiLU: true}, lengths: []int{62, 5}, bias: !dynamic})
		for i, want := range [][]float64{p.dx, p.dKernel, p.dBias, p.dCache} {
			a := backwardArgs[float32](p)
			got := results(p, a)[i]
			for j, dst := range []*[]float32{&a.DX, &a.DKernel, &a.DBias, &a.DCache} {
				if j != i {
					*dst = nil
				}
			}
			Backward(c, a)
			check.Written(t, fmt.Sprint("result ", i), got, want, check.Kernel32)
		}
	}
}

// A sequence in pieces, the cache carried in place, gives the same bits as at once.
func TestPiecesEqualWhole(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, dynamic := range []bool{false, true} {
		p := draw(shape{f: Config{Dim: 21, Taps: 4, Dynamic: dynamic, SiLU: true}, lengths: []int{80}})
		whole := forwardArgs[float32](p)
		whole.Y = make([]float32, len(p.x))
		Forward(c, whole)
		pieces := forwardArgs[float32](p)
		at := 0
		for _, n := range []int{1, 1, 2, 70, 1, 5} {
			a := *pieces
			a.Seqs.Cu = []int32{0, int32(n)}
			a.X = pieces.X[at*p.f.Dim : (at+n)*p.f.Dim]
			if dynamic {
				width := p.f.Dim * p.f.Taps
				a.Kernel = pieces.Kernel[at*width : (at+n)*width]
			}
			a.Y = make([]float32, len(a.X))
			a.NewCache = a.Cache
			Forward(c, &a)
			for i, v := range a.Y {
				if want := whole.Y[at*p.f.Dim+i]; v != want {
					t.Fatalf("dynamic %v: y is %v at %d of the piece from token %d, want %v", dynamic, v, i, at, want)
				}
			}
			at += n
		}
	}
}

func TestFixtures(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, path := range fixtures.Glob(t, "ops/dynamic_conv_silu_*.safetensors") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := fixtures.Load(t, path)
			s := f.Shape("kernel")
			fw := &ForwardArgs[float32]{Config: Config{Dim: s[2], Taps: s[3], Dynamic: true, SiLU: true}, Seqs: packed.Batch(s[0], s[1]),
				X: f.Float32("x"), Kernel: f.Float32("kernel")}
			if f.Has("cache") {
				fw.Cache = f.Float32("cache")
			}
			y := check.Poisoned[float32](len(fw.X))
			fw.Y = y.Data
			Forward(c, fw)
			check.Written(t, "o", y, f.Float32("o"), check.Fixture32)

			dx, dKernel, dCache := check.Poisoned[float32](len(fw.X)), check.Poisoned[float32](len(fw.Kernel)), check.Poisoned[float32](len(fw.Cache))
			Backward(c, &BackwardArgs[float32]{Config: fw.Config, Seqs: fw.Seqs, X: fw.X, Kernel: fw.Kernel, Cache: fw.Cache,
				DY: f.Float32("do"), DX: dx.Data, DKernel: dKernel.Data, DCache: dCache.Data})
			check.Written(t, "dx", dx, f.Float32("dx"), check.Fixture32)
			check.Written(t, "dkernel", dKernel, f.Float32("dkernel"), check.Fixture32)
			if f.Has("dcache") {
				check.Written(t, "dcache", dCache, f.Float32("dcache"), check.Fixture32)
			}
		})
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	for _, test := range []struct {
		want  string
		spoil func(a *ForwardArgs[float32])
	}{
		{"conv: kernel has 12 values, want 24 ([N, D, W]; N 2, D 3, W 4, rows 2)", func(a *ForwardArgs[float32]) { a.Kernel = a.Kernel[12:] }},
		{"conv: new cache has 1 values, want 18 ([rows, D, W−1]; N 2, D 3, W 4, rows 2)", func(a *ForwardArgs[float32]) { a.NewCache = make([]float32, 1) }},
		{"conv: bias has 3 values, want 0 (a dynamic convolution has none; N 2, D 3, W 4, rows 2)", func(a *ForwardArgs[float32]) { a.Bias = make([]float32, 3) }},
		{"conv: 3 features and 0 taps, want both 1 or more", func(a *ForwardArgs[float32]) { a.Taps = 0 }},
		{"conv: packed: cu_seqlens ends at 3, beyond the 2 tokens", func(a *ForwardArgs[float32]) { a.Seqs.Cu = []int32{0, 3} }},
	} {
		a := forwardArgs[float32](draw(shape{f: Config{Dim: 3, Taps: 4, Dynamic: true}, lengths: []int{2}}))
		test.spoil(a)
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("panic %v, want %v", got, test.want)
				}
			}()
			Forward(c, a)
		}()
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	c := cpu.New(1)
	defer c.Close()
	for _, sh := range shapes() {
		p := draw(sh)
		fw, bw := forwardArgs[float32](p), backwardArgs[float32](p)
		fw.Y, fw.NewCache = make([]float32, len(p.x)), fw.Cache
		results(p, bw)
		if n := testing.AllocsPerRun(2, func() { Forward(c, fw); Backward(c, bw) }); n > 0 {
			t.Errorf("%v: %v allocations a call, want none", sh, n)
		}
	}
}

func BenchmarkConv(b *testing.B) {
	c := cpu.New(0)
	defer c.Close()
	for _, dynamic := range []bool{true, false} {
		const n, dim, taps = 1024, 3072, 4
		name := map[bool]string{true: "dynamic", false: "static"}[dynamic]
		f := Config{Dim: dim, Taps: taps, Dynamic: dynamic, SiLU: true}
		length, _ := f.kernelLen(n)
		fw := &ForwardArgs[float32]{Config: f, Seqs: packed.Batch(1, n), X: ones(n * dim), Kernel: ones(length), Y: ones(n * dim)}
		bw := &BackwardArgs[float32]{Config: f, Seqs: fw.Seqs, X: fw.X, Kernel: fw.Kernel, DY: fw.Y, DX: ones(n * dim), DKernel: ones(length)}
		b.Run(name+"/forward", func(b *testing.B) {
			for b.Loop() {
				Forward(c, fw)
			}
		})
		b.Run(name+"/backward", func(b *testing.B) {
			for b.Loop() {
				Backward(c, bw)
			}
		})
	}
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
