package matmul

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

// values returns n random values.
func values(n int) []float32 { return check.To[float32](check.Normal(check.Rand(1), n, 1)) }

func gflops(b *testing.B, flops int) {
	b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkMul(b *testing.B) {
	for _, s := range []struct {
		tr      Trans
		m, n, k int
	}{{NN, 1024, 1024, 1024}, {NT, 1024, 1024, 1024}, {TN, 1024, 1024, 1024}, {NT, 4096, 1536, 8960}, {NT, 4096, 8960, 1536}} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%v/%d×%d×%d/threads=%d", s.tr, s.m, s.n, s.k, threads), func(b *testing.B) {
				cores := cpu.New(threads)
				defer cores.Close()
				ac, bc := s.k, s.n
				if s.tr == TN {
					ac = s.m
				}
				if s.tr == NT {
					bc = s.k
				}
				x, y, z := Of(values(s.m*s.k), ac), Of(values(s.n*s.k), bc), Of(make([]float32, s.m*s.n), s.n)
				Mul(cores, s.tr, s.m, s.n, s.k, 1, x, y, 0, z)
				for b.Loop() {
					Mul(cores, s.tr, s.m, s.n, s.k, 1, x, y, 0, z)
				}
				gflops(b, 2*s.m*s.n*s.k)
			})
		}
	}
}

// The sizes inside chunked kernels.
func BenchmarkSerial(b *testing.B) {
	cores := cpu.New(1)
	defer cores.Close()
	for _, size := range []int{16, 32, 64, 96, 128} {
		for tr := NN; tr <= TN; tr++ {
			b.Run(fmt.Sprintf("%v/%d", tr, size), func(b *testing.B) {
				x, y, z := Of(values(size*size), size), Of(values(size*size), size), Of(make([]float32, size*size), size)
				onWorker(cores, func(w *cpu.Worker) {
					for b.Loop() {
						Serial(w, tr, size, size, size, 1, x, y, 0, z)
					}
				})
				gflops(b, 2*size*size*size)
			})
		}
	}
}

// Decoding: weights [out, in] times few vectors, beside the speed at which the same bytes can be read at all.
func BenchmarkVector(b *testing.B) {
	for _, threads := range []int{1, 2} {
		cores := cpu.New(threads)
		defer cores.Close()
		for _, s := range [][2]int{{4864, 896}, {151936, 896}} {
			out, in := s[0], s[1]
			x, y := Of(values(8*in), in), Of(make([]float32, 8*out), out)
			full := make([]float32, out*in)
			for i := range full {
				full[i] = float32(i%17) - 8
			}
			half := make([]bf16.BF16, out*in)
			for i, v := range full {
				half[i] = bf16.From(v)
			}
			run := func(name string, size int, f func()) {
				b.Run(fmt.Sprintf("%d×%d/threads=%d/%s", out, in, threads, name), func(b *testing.B) {
					f()
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(size*out*in)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
				})
			}
			raw := make([]byte, 4*out*in)
			for i := range raw {
				raw[i] = 1
			}
			for _, size := range []int{4, 2} {
				run(fmt.Sprintf("read%d", size), size, func() {
					j := cpu.Borrow(cores, raw[:size*out*in])
					j.For(size*out*in, leastBytes, func(a *[]byte, _ *cpu.Worker, lo, hi int) {
						if bytes.IndexByte((*a)[lo:hi], 2) >= 0 {
							panic("not there")
						}
					})
					j.Return()
				})
				for _, n := range []int{1, 2, 4, 8} {
					run(fmt.Sprintf("bytes=%d/vectors=%d", size, n), size, func() {
						if size == 4 {
							Mul(cores, NT, n, out, in, 1, x, Of(full, in), 0, y)
						} else {
							Mul(cores, NT, n, out, in, 1, x, Of(half, in), 0, y)
						}
					})
				}
			}
		}
	}
}
