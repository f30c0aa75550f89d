package device_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/kernels/device"
)

// These tests run on whatever device the build and the machine have: a GPU, or the emulator.

func open(t *testing.T) *device.Device {
	t.Helper()
	d, err := device.Open(0)
	if errors.Is(err, device.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func source() *device.Source {
	return &device.Source{File: "device_test.cu", Text: `#include "gojet.cuh"

extern "C" __global__ void arguments(float* y, int a, long long b, float c, const ELEMENT* x, const int* none, int d)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < d) y[i] = a + float(b) + c + load(x + i) + SHIFT + (none ? 1000.0f : 0.0f);
}

extern "C" __global__ void reversed(float* y, const float* x, int n)
{
	SHARED(raw);
	float* s = (float*)raw;
	for (int i = threadIdx.x; i < n; i += blockDim.x) s[n - 1 - i] = x[i];
	sync_block();
	for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = s[i];
}
`}
}

func TestLaunch(t *testing.T) {
	d := open(t)
	info := d.Info()
	t.Logf("%s, %s, compute capability %d.%d, %d processors, %d bytes of shared memory, %d MiB", info.Name, info.Driver, info.Major, info.Minor, info.Processors, info.SharedMax, info.Memory>>20)
	const n = 1000
	x, y := d.New(device.Float32, n), d.New(device.Float32, n)
	device.Upload(d, x, ramp(n))
	k := d.Kernel(source(), "arguments", device.Define{Name: "ELEMENT", Value: device.Float32}, device.Define{Name: "SHIFT", Value: 0.25})
	d.Poison(y)
	d.Launch(k, device.Grid{X: (n + 127) / 128, Threads: 128}, y, 3, int64(1)<<33, 0.5, x, device.Tensor{}, n)
	d.Launch(k, device.Grid{X: 0, Threads: 128}, y, 0, int64(0), 0.0, x, x, n) // no blocks, no work
	got := fetch(t, d, y)
	for i, v := range got {
		if want := 3 + float32(int64(1)<<33) + 0.5 + float32(i) + 0.25; v != want {
			t.Fatalf("element %d is %g, want %g", i, v, want)
		}
	}
	if r := k.Resources; r.Registers == 0 && !info.Emulated {
		t.Errorf("resources %+v", r)
	}
}

func TestSharedMemory(t *testing.T) {
	d := open(t)
	most := d.Info().SharedMax / 4
	k := d.Kernel(source(), "reversed", device.Define{Name: "ELEMENT", Value: device.Float32}, device.Define{Name: "SHIFT", Value: 0.0})
	x, y := d.New(device.Float32, most), d.New(device.Float32, most)
	device.Upload(d, x, ramp(most))
	for _, n := range []int{100, 12288, most, 50} { // up to 48 KiB, above, all there is, and less again
		d.Poison(y)
		d.Launch(k, device.Grid{X: 1, Threads: 256, Shared: 4 * n}, y, x, n)
		got := fetch(t, d, y)[:n]
		slices.Reverse(got)
		if !slices.Equal(got, ramp(n)) {
			t.Fatalf("%d bytes of shared memory: reversed wrongly", 4*n)
		}
	}
	d.Launch(k, device.Grid{X: 1, Threads: 256, Shared: 4*most + 1024}, y, x, most)
	wantError(t, d.Wait(), "reversed", "shared memory", fmt.Sprint(4*most))
}

func TestCopies(t *testing.T) {
	d := open(t)
	for _, n := range []int{1, 3, 1<<20 + 7, 10 << 20} {
		x, y := d.New(device.Float32, n), d.New(device.Float32, n)
		want := ramp(n)
		h := slices.Clone(want)
		device.Upload(d, x, h)
		clear(h) // the copy may be under way still
		d.Copy(y, x)
		if got := fetch(t, d, y); !slices.Equal(got, want) {
			t.Fatalf("%d elements came back changed", n)
		}
		d.Free(x)
		d.Free(y)
	}
	// More small uploads than there is staging for, each of a piece.
	const pieces, n = 3000, 5000
	x := d.New(device.Int32, pieces*n)
	h := make([]int32, n)
	for i := range pieces {
		for k := range h {
			h[k] = int32(i*n + k)
		}
		device.Upload(d, x.Slice(i*n, n), h)
	}
	all := make([]int32, pieces*n)
	if err := device.Download(d, all, x); err != nil {
		t.Fatal(err)
	}
	for i, v := range all {
		if v != int32(i) {
			t.Fatalf("element %d is %d", i, v)
		}
	}
}

func TestFill(t *testing.T) {
	d := open(t)
	for _, kind := range []device.Type{device.Float32, device.BF16, device.Int32} {
		x := d.New(kind, 99)
		d.Poison(x)
		d.Zero(x.Slice(1, 50))
		d.Poison(x.Slice(10, 1))
		raw := make([]uint8, x.Bytes())
		if err := device.Download(d, raw, x); err != nil {
			t.Fatal(err)
		}
		size := kind.Size()
		for i := range 99 {
			zero := true
			for _, b := range raw[i*size : (i+1)*size] {
				zero = zero && b == 0
			}
			if want := i >= 1 && i < 51 && i != 10; zero != want {
				t.Errorf("%s: element %d is % x", kind, i, raw[i*size:(i+1)*size])
			}
		}
		if kind == device.Float32 && raw[3] != 0x7f {
			t.Errorf("poison is % x, want NaN", raw[:4])
		}
	}
}

func TestEvents(t *testing.T) {
	d := open(t)
	a, b, c := d.NewEvent(), d.NewEvent(), d.NewEvent()
	x := d.New(device.Float32, 8<<20)
	a.Record()
	d.Zero(x)
	b.Record()
	for range 4 {
		d.Zero(x)
	}
	c.Record()
	short, all := a.Milliseconds(b), a.Milliseconds(c)
	if err := d.Err(); err != nil || short < 0 || all < short {
		t.Errorf("%g ms, then %g ms, %v", short, all, err)
	}
	a.Close()
	b.Close()
	c.Close()
}

func TestCapture(t *testing.T) {
	d := open(t)
	const n = 64
	x, w, y := d.New(device.BF16, n*n), d.New(device.BF16, n*n), d.New(device.BF16, n*n)
	bias, z, sum := d.New(device.Float32, n), d.New(device.Float32, n), d.New(device.Float32, n)
	k := d.Kernel(source(), "arguments", device.Define{Name: "ELEMENT", Value: device.BF16}, device.Define{Name: "SHIFT", Value: 1.0})
	r := rand.New(rand.NewPCG(1, 2))
	load := func() {
		for _, v := range []device.Tensor{x, w, bias} {
			put(d, v, random(r, v.Len))
		}
	}
	work := func() {
		d.Zero(y)
		d.Product(device.Product{M: n, N: n, K: n, A: x, B: w, C: y, TransB: true, Bias: bias})
		d.Launch(k, device.Grid{X: 1, Threads: n}, z, 1, int64(2), 3.0, y.Slice(n, n), device.Tensor{}, n)
		d.Copy(sum, z)
	}
	load()
	work()
	first := fetch(t, d, sum)
	g, err := d.Capture(work)
	if err != nil {
		t.Fatal(err)
	}
	d.Poison(sum)
	g.Launch()
	if again := fetch(t, d, sum); !slices.Equal(again, first) {
		t.Error("the recorded work computes something else")
	}
	for range 3 {
		load()
		d.Poison(y)
		d.Poison(sum)
		g.Launch()
		recorded := fetch(t, d, sum)
		d.Poison(sum)
		work()
		if direct := fetch(t, d, sum); !slices.Equal(recorded, direct) || slices.Equal(direct, first) {
			t.Error("with new inputs the recorded work computes something else")
		}
	}
	g.Close()
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Capture(func() { device.Upload(d, bias, make([]float32, n)) }); err == nil {
		t.Error("an upload was recorded")
	}
}

func TestMemoryIsReused(t *testing.T) {
	d := open(t)
	a := d.New(device.Float32, 5<<20)
	b := d.New(device.Float32, 5)
	device.Upload(d, b, []float32{1, 2, 3, 4, 5})
	held := d.Usage().Held
	for n := 5 << 20; n > 0; n /= 3 {
		d.Free(a)
		a = d.New(device.Float32, n)
		d.Zero(a)
	}
	if got := fetch(t, d, b); !slices.Equal(got, []float32{1, 2, 3, 4, 5}) {
		t.Errorf("another tensor became %v", got)
	}
	if u := d.Usage(); u.Held > held+10<<20 || u.Peak < 20<<20 || u.Live > 1<<20 {
		t.Errorf("usage %+v, held %d before", u, held)
	}
	d.ResetPeak()
	if u := d.Usage(); u.Peak != u.Live {
		t.Errorf("after ResetPeak: %+v", u)
	}
}

func TestCompileErrorNamesTheLine(t *testing.T) {
	d := open(t)
	d.Kernel(&device.Source{File: "broken.cu", Text: "#include \"gojet.cuh\"\n\nextern \"C\" __global__ void broken(float* y) { y[0] = nonsense; }\n"}, "broken", device.Define{Name: "D", Value: 5})
	wantError(t, d.Err(), "broken.cu", "3", "nonsense", "-DD=5")
}

func TestOutOfMemory(t *testing.T) {
	d := open(t)
	x := d.New(device.Float32, 1<<20)
	if y := d.New(device.BF16, int(d.Info().Memory)); !y.None() {
		t.Fatal("twice the device's memory was given")
	}
	err := d.Wait()
	if !errors.Is(err, device.ErrMemory) {
		t.Errorf("got %v, want ErrMemory", err)
	}
	wantError(t, err, "asked for", "4.0 MiB in tensors", "recompute")
	d.Free(x)
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\ndoes not say %q", err, w)
		}
	}
}
