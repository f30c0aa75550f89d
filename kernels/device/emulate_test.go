//go:build emulate && !gpu && linux && cgo

package device

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// emulated opens an emulator with a seed.
func emulated(t *testing.T, seed uint64) *Device {
	t.Helper()
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	d.drv.(*emulator).seed = seed
	t.Cleanup(func() { d.Close() })
	return d
}

// once runs one kernel on floats, in place, and returns what it says.
func once(t *testing.T, seed uint64, text string, g Grid, data []float32) error {
	t.Helper()
	d := emulated(t, seed)
	x := d.New(Float32, len(data))
	Upload(d, x, data)
	k := d.Kernel(&Source{File: "test.cu", Text: "#include \"gojet.cuh\"\nextern \"C\" __global__ void test(float* x) {\n" + text + "\n}\n"}, "test")
	d.Launch(k, g, x)
	return Download(d, data, x)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q is not in: %v", p, err)
		}
	}
}

func TestEmulatorIndices(t *testing.T) {
	for seed := range uint64(3) {
		x := make([]float32, 4*96)
		err := once(t, seed, `x[blockIdx.x * blockDim.x + threadIdx.x] = gridDim.x * 1000 + warp_id() * 100 + lane_id();`, Grid{X: 4, Threads: 96}, x)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range x {
			if want := float32(4000 + i%96/32*100 + i%32); v != want {
				t.Fatalf("seed %d, element %d: %v, want %v", seed, i, v, want)
			}
		}
	}
}

// A race shows as a result that depends on the seed; with the barrier it does not.
func TestEmulatorRace(t *testing.T) {
	const racy = `__shared__ float s[64]; s[threadIdx.x] = threadIdx.x; /*sync*/ x[threadIdx.x] = s[63 - threadIdx.x];`
	for name, text := range map[string]string{"racy": racy, "synced": strings.Replace(racy, "/*sync*/", "sync_block();", 1)} {
		wrong := 0
		for seed := range uint64(4) {
			x := make([]float32, 64)
			if err := once(t, seed, text, Grid{X: 1, Threads: 64}, x); err != nil {
				t.Fatal(err)
			}
			for i, v := range x {
				if v != float32(63-i) {
					wrong++
				}
			}
		}
		if (wrong > 0) != (name == "racy") {
			t.Errorf("%s: %d wrong elements", name, wrong)
		}
	}
}

func TestEmulatorCopiesLandWhenWaitedFor(t *testing.T) {
	const waits = `SHARED(s); float* f = (float*)s;
		cp_async16(f + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x < 31); cp_async_commit();
		cp_async4(f + 128 + threadIdx.x, x + threadIdx.x); cp_async_commit();
		cp_async_wait<WAIT>(); sync_block();
		for (int i = 0; i < 4; i++) x[32 * i + threadIdx.x] = 1 + f[32 * i + threadIdx.x];`
	for waited, text := range map[bool]string{true: strings.Replace(waits, "WAIT", "1", 1), false: strings.Replace(waits, "WAIT", "2", 1)} {
		x := make([]float32, 128)
		for i := range x {
			x[i] = float32(i)
		}
		if err := once(t, 1, text, Grid{X: 1, Threads: 32, Shared: 1024}, x); err != nil {
			t.Fatal(err)
		}
		for i, v := range x {
			want := float32(i + 1)
			if i >= 124 {
				want = 1 // not valid: zeros
			}
			if landed := v == want; landed != waited {
				t.Fatalf("waited %t: element %d is %v", waited, i, v)
			}
		}
	}
}

func TestEmulatorSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		parts      []string
	}{
		{"deadlock", `if (threadIdx.x < 32) named_barrier(3, 64); else sync_warp();`, []string{"test", "block (0, 0, 0)", "deadlock", "32 threads (0 to 31) wait at barrier 3", "32 threads (32 to 63) have returned"}},
		{"half a warp", `if (threadIdx.x < 16) x[0] = shfl(1.f, 0);`, []string{"16 threads (0 to 15) wait at shfl"}},
		{"a warp in two places", `if (threadIdx.x % 2) sync_warp(); else x[0] = shfl_xor(1.f, 1);`, []string{"other threads of its warp are at"}},
		{"alignment", `loadv<4>(x + 1);`, []string{"not aligned to 16 bytes", "thread"}},
		{"beyond the tensor", `if (threadIdx.x == 5) x[64 + 1000] = 1;`, []string{"thread 5", "not mapped"}},
		{"beyond shared memory", `SHARED(s); s[100] = 1;`, []string{"wrote byte 100 of 64 bytes"}},
		{"far beyond shared memory", `SHARED(s); s[9000] = 1;`, []string{"9000 bytes from the start of dynamic shared memory"}},
		{"division by zero", `x[0] = 7 / (int)x[1];`, []string{"division by zero"}},
		{"endless recursion", `struct R { static float go(float v) { volatile char c[512]; c[0] = v; return v > -1 ? go(v + 1) + c[0] : 0; } }; x[0] = R::go(x[0]);`, []string{"stack"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := make([]float32, 64)
			wantError(t, once(t, 1, tc.text, Grid{X: 1, Threads: 64, Shared: 64}, x), tc.parts...)
			if err := once(t, 1, `x[threadIdx.x] = 7;`, Grid{X: 1, Threads: 64}, x); err != nil || x[63] != 7 {
				t.Errorf("afterwards: %v, %v", x[63], err)
			}
		})
	}
}

func TestEmulatorArguments(t *testing.T) {
	d := emulated(t, 1)
	k := d.Kernel(&Source{File: "args.cu", Text: `#include "gojet.cuh"
extern "C" __global__ void args(float* y, int a, long long b, float c, const __grid_constant__ TensorMap m, int d) {
  y[0] = a; y[1] = (float)(b >> 32); y[2] = c; y[3] = d; y[4] = ((const int*)m.bytes)[8];
}`}, "args")
	y := d.New(Float32, 5)
	m := d.Describe(TensorMap{T: d.New(BF16, 64*32), Rows: 32, Cols: 64, BoxRows: 8, BoxCols: 64, Swizzle: 128})
	d.Launch(k, Grid{X: 1, Threads: 32}, y, 3, int64(5)<<32, 1.5, m, int32(-4))
	got := make([]float32, 5)
	if err := Download(d, got, y); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{3, 5, 1.5, -4, 64} {
		if got[i] != want {
			t.Errorf("argument %d: %v, want %v", i, got[i], want)
		}
	}
	d.Launch(k, Grid{X: 1, Threads: 32}, y, 3)
	wantError(t, d.Wait(), "args takes 6 arguments, 2 given")
}

// The layouts of fragments, as gojet.cuh describes them, against plain sums.
func TestEmulatorFragments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float32, 16*16), make([]float32, 16*8)
	for i := range a {
		a[i] = float32(r.IntN(17) - 8)
	}
	for i := range b {
		b[i] = float32(r.IntN(17) - 8)
	}
	product := func(k int) []float32 {
		c := make([]float32, 16*8)
		for i := range 16 {
			for j := range 8 {
				for l := range k {
					c[8*i+j] += a[k*i+l] * b[8*l+j]
				}
			}
		}
		return c
	}
	const head = `__shared__ __align__(16) bf16 A[256], B[128], BT[128], C[128], CT[128];
		for (int i = threadIdx.x; i < 256; i += 32) A[i] = bf16(x[i]);
		for (int i = threadIdx.x; i < 128; i += 32) B[i] = BT[i % 8 * 16 + i / 8] = bf16(x[256 + i]);
		sync_warp();
		int l = lane_id(), g = l / 4, t = l % 4;
		unsigned fa[4], fb[2]; float d[4] = {};
	`
	const tail = `x[g * 8 + 2 * t] = d[0]; x[g * 8 + 2 * t + 1] = d[1]; x[(g + 8) * 8 + 2 * t] = d[2]; x[(g + 8) * 8 + 2 * t + 1] = d[3];`
	for _, tc := range []struct {
		name, text string
		k          int
	}{
		{"by hand", `for (int r = 0; r < 4; r++) fa[r] = *(unsigned*)&A[(g + r % 2 * 8) * 16 + r / 2 * 8 + 2 * t];
			for (int r = 0; r < 2; r++) fb[r] = *(unsigned*)&BT[g * 16 + 2 * t + 8 * r];
			mma_bf16(d, fa, fb);`, 16},
		{"ldmatrix, B transposed in memory", `ldmatrix_x4(fa, &A[l % 16 * 16 + l / 16 * 8]); ldmatrix_x2(fb, &BT[l % 8 * 16 + l / 8 % 2 * 8]); mma_bf16(d, fa, fb);`, 16},
		{"ldmatrix_trans", `ldmatrix_x4(fa, &A[l % 16 * 16 + l / 16 * 8]); ldmatrix_x2_trans(fb, &B[l % 16 * 8]); mma_bf16(d, fa, fb);`, 16},
		{"stmatrix", `ldmatrix_x4(fa, &A[l % 16 * 16 + l / 16 * 8]); ldmatrix_x2_trans(fb, &B[l % 16 * 8]); mma_bf16(d, fa, fb);
			unsigned p[2] = {pack2(d[0], d[1]), pack2(d[2], d[3])};
			stmatrix_x2(&C[l % 16 * 8], p); stmatrix_x2_trans(&CT[l % 8 * 16 + l / 8 % 2 * 8], p);
			sync_warp();
			for (int i = 0; i < 4; i++) { int row = g + i / 2 * 8, col = 2 * t + i % 2; d[i] = (float(C[row * 8 + col]) + float(CT[col * 16 + row])) / 2; }`, 16},
		{"tf32", `float* y = x + 256; for (int r = 0; r < 4; r++) fa[r] = __float_as_uint(x[(g + r % 2 * 8) * 8 + r / 2 * 4 + t]);
			for (int r = 0; r < 2; r++) fb[r] = __float_as_uint(y[(t + 4 * r) * 8 + g]);
			mma_tf32(d, fa, fb); sync_warp();`, 8},
	} {
		for seed := range uint64(3) {
			x := append(append([]float32{}, a...), b...)
			if err := once(t, seed, head+tc.text+tail, Grid{X: 1, Threads: 32}, x); err != nil {
				t.Fatal(tc.name, err)
			}
			for i, want := range product(tc.k) {
				// Sums of C go through bfloat16 in the case of stmatrix.
				if math.Abs(float64(x[i]-want)) > math.Abs(float64(want))/128 {
					t.Fatalf("%s, seed %d, element %d: %v, want %v", tc.name, seed, i, x[i], want)
				}
			}
		}
	}
}

func TestEmulatorWords(t *testing.T) {
	x := make([]float32, 128)
	err := once(t, 1, `__shared__ float scratch[4];
		float v = threadIdx.x;
		float sum = block_sum<128>(v, scratch), most = block_max<128>(-v, scratch);
		float up = shfl_up(v, 1), part = warp_sum<4>(v);
		unsigned odd = ballot(threadIdx.x & 1);
		x[threadIdx.x] = sum == 8128 && most == 0 && up == v - (lane_id() > 0) && part == 4 * (threadIdx.x / 4 * 4) + 6 && odd == 0xaaaaaaaau
			&& float(bf16(1.00390625f)) == 1.f && fabsf(sigmoid(-200.f)) == 0.f && fabsf(softplus(1.f) - 1.3132617f) < 1e-6f;`, Grid{X: 1, Threads: 128}, x)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		if v != 1 {
			t.Fatalf("thread %d finds something wrong", i)
		}
	}
}

func TestEmulatorChunks(t *testing.T) {
	d := emulated(t, 1)
	k := d.Kernel(&Source{File: "chunks.cu", Text: `#include "gojet.cuh"
extern "C" __global__ void chunks(int* y, const int* buf, int S) {
  int seq, first, count;
  find_chunk(sequences(buf, S).cu, S, 64, blockIdx.x, seq, first, count);
  if (threadIdx.x == 0) { y[4 * blockIdx.x] = seq; y[4 * blockIdx.x + 1] = first; y[4 * blockIdx.x + 2] = count; y[4 * blockIdx.x + 3] = find_sequence(buf, S, first); }
}`}, "chunks")
	const s = 70
	cu := make([]int32, 3*(s+1))
	lengths := []int32{0, 1, 63, 64, 65, 0, 130}
	cu[0] = 3
	for i := range s {
		cu[i+1] = cu[i] + lengths[i%len(lengths)]
	}
	var want []int32
	for i := range s {
		for lo := cu[i]; lo < cu[i+1]; lo += 64 {
			want = append(want, int32(i), lo, min(64, cu[i+1]-lo), int32(i))
		}
	}
	want = append(want, -1, 0, 0, -1)
	buf, y := d.New(Int32, len(cu)), d.New(Int32, len(want))
	Upload(d, buf, cu)
	d.Launch(k, Grid{X: len(want) / 4, Threads: 64}, y, buf, s)
	got := make([]int32, len(want))
	if err := Download(d, got, y); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("chunk %d, number %d: %d, want %d", i/4, i%4, got[i], want[i])
		}
	}
}
