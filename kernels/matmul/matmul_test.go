package matmul

import (
	"fmt"
	"math"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// engines are those that this machine can run.
func engines() []engine {
	var all []engine
	for e := portable; e <= best(); e++ {
		all = append(all, e)
	}
	return all
}

func (e engine) String() string { return [...]string{"portable", "AVX2", "AVX-512"}[e] }

func (tr Trans) String() string { return [...]string{"NN", "NT", "TN", "TT"}[tr] }

// problem is a product with random factors, in float64 and rounded to float32.
type problem struct {
	tr            Trans
	m, n, k       int
	alpha, beta   float64
	a, b, c       Matrix[float64]
	a32, b32, c32 Matrix[float32]
	want          []float64
}

// gap is what lies between the rows of C.
const gap = 777

func newProblem(seed uint64, tr Trans, m, n, k, pad int, alpha, beta float64) *problem {
	r := check.Rand(seed)
	p := &problem{tr: tr, m: m, n: n, k: k, alpha: alpha, beta: beta}
	am, ak, bk, bn := m, k, k, n
	if tr == TN || tr == TT {
		am, ak = k, m
	}
	if tr == NT || tr == TT {
		bk, bn = n, k
	}
	random := func(rows, cols int) (Matrix[float64], Matrix[float32]) {
		wide := Of(check.Normal(r, rows*(cols+pad), 1), cols+pad)
		wide.Data = wide.Data[:max(0, len(wide.Data)-pad)] // the last row ends with its columns
		narrow := Of(check.To[float32](wide.Data), cols+pad)
		wide.Data = check.To[float64](narrow.Data)
		return wide, narrow
	}
	p.a, p.a32 = random(am, ak)
	p.b, p.b32 = random(bk, bn)
	p.c, p.c32 = random(m, n)
	for i := range p.c.Data {
		if i%p.c.Stride >= n {
			p.c.Data[i], p.c32.Data[i] = gap, gap
		}
	}
	want := Matrix[float64]{append([]float64(nil), p.c.Data...), p.c.Stride}
	Reference(tr, m, n, k, alpha, p.a, p.b, beta, want)
	p.want = want.Data
	return p
}

// result is a copy of C between guard words, NaN wherever beta says that it is not read.
func (p *problem) result() (check.Out[float32], Matrix[float32]) {
	out := check.Poisoned[float32](len(p.c32.Data))
	for i, v := range p.c32.Data {
		if p.beta != 0 || v == gap {
			out.Data[i] = v
		}
	}
	return out, Matrix[float32]{out.Data, p.c32.Stride}
}

func (p *problem) name(what any) string {
	return fmt.Sprintf("%v %v %d×%d×%d strides %d %d %d alpha %v beta %v", what, p.tr, p.m, p.n, p.k,
		p.a.Stride, p.b.Stride, p.c.Stride, p.alpha, p.beta)
}

// judge compares C with the reference; the gaps between rows must be as they were.
func (p *problem) judge(t *testing.T, what any, out check.Out[float32]) {
	t.Helper()
	check.Written(t, p.name(what), out, p.want, check.Kernel32)
	for i, v := range out.Data {
		if i%p.c.Stride >= p.n && v != gap {
			t.Fatalf("%s: wrote between the rows of C, at %d", p.name(what), i)
		}
	}
}

// problems visits sizes that reach every micro-kernel, both ends of every strip and several blocks.
func problems(visit func(p *problem)) {
	var shapes [][3]int
	for m := 1; m <= 17; m++ {
		shapes = append(shapes, [3]int{m, 1 + m*7%37, 1 + m*5%41}, [3]int{m, 130, 33}, [3]int{130, m, 40}, [3]int{m, 2, 3})
	}
	shapes = append(shapes, [][3]int{{1, 1, 1}, {63, 65, 130}, {65, 63, 1}, {130, 17, 2}, {64, 64, 64}, {16, 32, 48},
		{67, 600, 40}, {70, 200, 401}, {1, 300, 800}, {300, 1, 800}, {7, 140, 33}, {29, 33, 770}}...)
	scales := [][2]float64{{1, 0}, {1, 1}, {-0.5, 0}, {0.75, -2}}
	seed := uint64(1)
	for i, s := range shapes {
		for tr := NN; tr <= TT; tr++ {
			seed++
			scale := scales[(i+int(tr))%len(scales)]
			visit(newProblem(seed, tr, s[0], s[1], s[2], int(seed%3)*5, scale[0], scale[1]))
		}
	}
}

func TestEveryEngineAndSize(t *testing.T) {
	cores := cpu.New(2)
	defer cores.Close()
	problems(func(p *problem) {
		for _, e := range engines() {
			unchanged := check.Unchanged(t, p.a32.Data, p.b32.Data)
			out, c := p.result()
			onWorker(cores, func(w *cpu.Worker) {
				q := newProduct(e, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, operand{full: p.b32.Data}, p.b32.Stride, float32(p.beta), c, nil)
				q.run(w, 0, q.m, 0, q.n)
			})
			p.judge(t, e, out)
			unchanged()
		}
	})
}

// onWorker calls f on a worker of the team.
func onWorker(cores *cpu.Cores, f func(w *cpu.Worker)) {
	j := cpu.Borrow(cores, f)
	j.For(1, 1, func(f *func(*cpu.Worker), w *cpu.Worker, _, _ int) { (*f)(w) })
	j.Return()
}

func TestMulIsTheSameForAnyTeam(t *testing.T) {
	var teams []*cpu.Cores
	for _, threads := range []int{1, 2, 3} {
		cores := cpu.New(threads)
		defer cores.Close()
		teams = append(teams, cores)
	}
	problems(func(p *problem) {
		serial, c := p.result()
		onWorker(teams[0], func(w *cpu.Worker) {
			Serial(w, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, p.b32, float32(p.beta), c)
		})
		for _, cores := range teams {
			out, c := p.result()
			Mul(cores, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, p.b32, float32(p.beta), c)
			p.judge(t, "Mul", out)
			same(t, p.name("Mul against Serial"), out.Data, serial.Data)
		}
	})
}

// Shapes that are cut into several parts.
func TestParts(t *testing.T) {
	one, three := cpu.New(1), cpu.New(3)
	defer one.Close()
	defer three.Close()
	for i, s := range [][3]int{{300, 400, 150}, {1000, 40, 90}, {50, 900, 130}, {1, 3000, 200}, {2, 3000, 200}, {3000, 3, 200}, {1, 5000, 90}} {
		for tr := NN; tr <= TT; tr++ {
			p := newProblem(uint64(i), tr, s[0], s[1], s[2], 3, 1, 0)
			a, c := p.result()
			Mul(one, tr, p.m, p.n, p.k, 1, p.a32, p.b32, 0, c)
			p.judge(t, "Mul", a)
			b, c := p.result()
			Mul(three, tr, p.m, p.n, p.k, 1, p.a32, p.b32, 0, c)
			same(t, p.name("1 thread against 3"), a.Data, b.Data)
		}
	}
}

func same(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: %v at %d, want the same bits as %v", name, got[i], i, want[i])
		}
	}
}

func TestBF16(t *testing.T) {
	one, three := cpu.New(1), cpu.New(3)
	defer one.Close()
	defer three.Close()
	problems(func(p *problem) {
		half := Matrix[bf16.BF16]{make([]bf16.BF16, len(p.b.Data)), p.b.Stride}
		b := Matrix[float64]{make([]float64, len(p.b.Data)), p.b.Stride}
		for i, v := range p.b32.Data {
			half.Data[i] = bf16.From(v)
			b.Data[i] = float64(half.Data[i].Float32())
		}
		copy(p.want, p.c.Data)
		Reference(p.tr, p.m, p.n, p.k, p.alpha, p.a, b, p.beta, Matrix[float64]{p.want, p.c.Stride})
		for _, e := range engines() {
			out, c := p.result()
			q := newProduct(e, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, operand{half: half.Data}, half.Stride, float32(p.beta), c, nil)
			q.mul(one)
			p.judge(t, e, out)
		}
		a, c := p.result()
		Mul(one, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, half, float32(p.beta), c)
		out, c := p.result()
		Mul(three, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, half, float32(p.beta), c)
		same(t, p.name("1 thread against 3"), out.Data, a.Data)
	})
}

// A row of C is the same to the bit whatever rows are computed beside it and wherever it stands among them, on either side
// of every border between ways, so that a sequence has the same future in any batch.
func TestRowsInAnyCompany(t *testing.T) {
	cores := cpu.New(2)
	defer cores.Close()
	const most = 40
	for i, s := range [][2]int{{5, 64}, {8, 40}, {12, 32}, {16, 64}, {37, 96}, {130, 1056}, {50, 33}, {20, 8}} {
		n, k := s[0], s[1]
		p := newProblem(uint64(i), NT, most, n, k, 3, 0.5, 0)
		half := Matrix[bf16.BF16]{bf16.Rounded(p.b32.Data), p.b32.Stride}
		bias := check.To[float32](check.Normal(check.Rand(9), n, 1))
		for _, e := range engines() {
			for name, b := range map[string]operand{"float32": {full: p.b32.Data}, "bfloat16": {half: half.Data}} {
				product := func(lo, hi int) []float32 {
					out := check.Poisoned[float32]((hi - lo) * n)
					a := Matrix[float32]{p.a32.Data[lo*p.a32.Stride:], p.a32.Stride}
					q := newProduct(e, NT, hi-lo, n, k, 0.5, a, b, p.b32.Stride, 0, Of(out.Data, n), bias)
					q.mul(cores)
					return out.Data
				}
				all := product(0, most)
				for _, m := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33} {
					for _, lo := range []int{0, 6, most - m} {
						same(t, fmt.Sprintf("%v %s %d×%d: rows %d to %d of %d", e, name, n, k, lo, lo+m, most), product(lo, lo+m), all[lo*n:(lo+m)*n])
					}
				}
			}
		}
	}
}

func TestBias(t *testing.T) {
	cores := cpu.New(2)
	defer cores.Close()
	problems(func(p *problem) {
		bias := check.To[float32](check.Normal(check.Rand(9), p.n, 1))
		for i := range p.m {
			for j := range p.n {
				p.c.Data[i*p.c.Stride+j] = float64(bias[j])
			}
		}
		p.beta = 0 // C is not read, so that result poisons it
		copy(p.want, p.c.Data)
		Reference(p.tr, p.m, p.n, p.k, p.alpha, p.a, p.b, 1, Matrix[float64]{p.want, p.c.Stride})
		out, c := p.result()
		MulBias(cores, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, p.b32, bias, c)
		p.judge(t, "MulBias", out)
		out, c = p.result()
		MulBias(cores, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, p.b32, nil, c)
		plain, c := p.result()
		Mul(cores, p.tr, p.m, p.n, p.k, float32(p.alpha), p.a32, p.b32, 0, c)
		same(t, p.name("MulBias without bias"), out.Data, plain.Data)
	})
}

func TestBatched(t *testing.T) {
	for _, count := range []int{0, 1, 2, 7} {
		for _, s := range [][3]int{{1, 5, 3}, {5, 1, 40}, {17, 33, 20}, {64, 64, 64}, {200, 150, 100}} {
			for tr := NN; tr <= TT; tr++ {
				m, n, k := s[0], s[1], s[2]
				r := check.Rand(uint64(count))
				am, bn := k, n
				if tr == TN || tr == TT {
					am = m
				}
				if tr == NT || tr == TT {
					bn = k
				}
				a, b := check.Normal(r, count*(m*k+3), 1), check.Normal(r, k*n, 1)
				start := check.Normal(r, count*m*n, 1)
				want := check.To[float64](start)
				for i := range count {
					Reference(tr, m, n, k, 0.5, Of(a[i*(m*k+3):], am), Of(b, bn), 2, Of(want[i*m*n:], n))
				}
				a32, b32 := check.To[float32](a), check.To[float32](b)
				var first []float32
				for _, threads := range []int{1, 2, 3} {
					cores := cpu.New(threads)
					out := check.Poisoned[float32](count * m * n)
					copy(out.Data, check.To[float32](start))
					Batched(cores, tr, count, m, n, k, 0.5, Batch[float32]{Of(a32, am), m*k + 3},
						Batch[float32]{Of(b32, bn), 0}, 2, Batch[float32]{Of(out.Data, n), m * n})
					cores.Close()
					name := fmt.Sprintf("%d × %v %v", count, tr, s)
					check.Written(t, name, out, want, check.Kernel32)
					if first == nil {
						first = out.Data
					}
					same(t, name, out.Data, first)
				}
			}
		}
	}
}

// A sum of nothing is beta·C, whatever C held where beta is 0.
func TestNoDepth(t *testing.T) {
	cores := cpu.New(1)
	defer cores.Close()
	out := check.Poisoned[float32](6)
	Mul(cores, NN, 2, 3, 0, 1, Of([]float32{}, 0), Of([]float32{}, 3), 0, Of(out.Data, 3))
	check.Written(t, "beta 0", out, make([]float64, 6), 0)
	Mul(cores, NN, 2, 3, 0, 1, Of([]float32{}, 0), Of([]float32{}, 3), 1, Of(out.Data, 3))
	check.Written(t, "beta 1", out, make([]float64, 6), 0)
	c := []float32{2}
	Mul(cores, NT, 1, 1, 0, 1, Of([]float32{}, 0), Of([]float32{}, 0), -3, Of(c, 1))
	if c[0] != -6 {
		t.Errorf("-3 · 2 is %v, want -6", c[0])
	}
	for tr := NN; tr <= TT; tr++ {
		Mul(cores, tr, 0, 3, 2, 1, Of([]float32{}, 2), Of(make([]float32, 6), 2), 0, Of([]float32{}, 3))
		Mul(cores, tr, 3, 0, 2, 1, Of(make([]float32, 9), 3), Of([]float32{}, 0), 0, Of([]float32{}, 0))
	}
}

// A NaN in a factor reaches every element of C that it is part of, and no other.
func TestNaNSpreads(t *testing.T) {
	cores := cpu.New(1)
	defer cores.Close()
	for tr := NN; tr <= TT; tr++ {
		for _, e := range engines() {
			p := newProblem(3, tr, 20, 37, 18, 0, 1, 0)
			p.b32.Data[0] = float32(math.NaN())
			_, c := p.result()
			q := newProduct(e, tr, p.m, p.n, p.k, 1, p.a32, operand{full: p.b32.Data}, p.b32.Stride, 0, c, nil)
			q.mul(cores)
			for i, v := range c.Data {
				if bad := v != v; bad != (i%p.n == 0) {
					t.Fatalf("%v %v: C[%d, %d] is %v", e, tr, i/p.n, i%p.n, v)
				}
			}
		}
	}
}

func TestWrongLengthsPanic(t *testing.T) {
	cores := cpu.New(1)
	defer cores.Close()
	good := Of(make([]float32, 12), 4)
	for _, tc := range []struct {
		want string
		call func()
	}{
		{"matmul: A has 12 values, want at least 16 (4 rows of 4, stride 4)", func() { Mul(cores, NN, 4, 3, 4, 1, good, good, 0, good) }},
		{"matmul: B has 12 values, want at least 20 (5 rows of 4, stride 4)", func() { Mul(cores, NT, 3, 5, 4, 1, good, good, 0, good) }},
		{"matmul: C has 11 values, want at least 12 (3 rows of 4, stride 4)", func() { Mul(cores, NN, 3, 4, 3, 1, good, good, 0, Of(good.Data[:11], 4)) }},
		{"matmul: rows of C are 2 apart, want at least their 3 columns", func() { Mul(cores, NT, 3, 3, 4, 1, good, good, 0, Of(good.Data, 2)) }},
		{"matmul: bias has 3 values, want 4, the columns of C", func() { MulBias(cores, NT, 3, 4, 3, 1, good, Of(make([]float32, 15), 4), make([]float32, 3), good) }},
		{"matmul: steps of the batches A, B and C are 0, 0 and 8, want none negative and C's at least 12", func() {
			Batched(cores, NN, 2, 3, 4, 3, 1, Batch[float32]{good, 0}, Batch[float32]{good, 0}, 0, Batch[float32]{good, 8})
		}},
	} {
		func() {
			defer func() {
				if got := recover(); got != tc.want {
					t.Errorf("panic %v, want %q", got, tc.want)
				}
			}()
			tc.call()
		}()
	}
}

func TestNoAllocations(t *testing.T) {
	cores := cpu.New(1)
	defer cores.Close()
	for i, s := range [][3]int{{64, 64, 64}, {1, 500, 100}, {100, 1, 50}, {200, 300, 400}} {
		for tr := NN; tr <= TT; tr++ {
			p := newProblem(uint64(i), tr, s[0], s[1], s[2], 0, 1, 0)
			half := Of(make([]bf16.BF16, len(p.b32.Data)), p.b32.Stride)
			call := func() {
				Mul(cores, tr, p.m, p.n, p.k, 1, p.a32, p.b32, 0, p.c32)
				Mul(cores, tr, p.m, p.n, p.k, 1, p.a32, half, 0, p.c32)
				Batched(cores, tr, 1, p.m, p.n, p.k, 1, Batch[float32]{p.a32, 0}, Batch[float32]{p.b32, 0}, 0, Batch[float32]{p.c32, 0})
			}
			call()
			call()
			if n := testing.AllocsPerRun(3, call); n > 0 {
				t.Errorf("%v: %v allocations, want none", p.name("Mul"), n)
			}
		}
	}
}
