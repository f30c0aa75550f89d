package device

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestFirstFailureSticks(t *testing.T) {
	broken := errors.New("broken")
	f := &fake{limit: 1 << 30, failures: map[string]error{"launch": broken}}
	d, err := newDevice(f)
	if err != nil {
		t.Fatal(err)
	}
	k := d.Kernel(&Source{File: "noun.cu"}, "kernel", Define{"D", 64}, Define{"T", BF16}, Define{"EPS", 1e-6}, Define{"LAST", true})
	x := d.New(Float32, 10)
	before := len(f.calls)
	d.Launch(k, Grid{X: 3, Threads: 64, Shared: 5}, x)
	d.Zero(x)
	Upload(d, x, make([]float32, 10))
	d.Product(Product{M: 1, N: 1, K: 1, A: x, B: x, C: x})
	if got := f.calls[before:]; !slices.Equal(got, []string{"launch"}) {
		t.Errorf("after a failure the driver was called: %v", got)
	}
	if err := d.Wait(); !errors.Is(err, broken) {
		t.Errorf("Wait: %v", err)
	}
	for _, want := range []string{"kernel -DD=64 -DT=bf16 -DEPS=1.000000000e-06f -DLAST=1", "[3 1 1] blocks of 64 threads", "5 bytes"} {
		if !strings.Contains(d.Err().Error(), want) {
			t.Errorf("%v\ndoes not say %q", d.Err(), want)
		}
	}
}

func TestKernelsAreCompiledOnce(t *testing.T) {
	f := &fake{limit: 1 << 30}
	d, _ := newDevice(f)
	src := &Source{File: "noun.cu"}
	first, again, other := d.Kernel(src, "k", Define{"D", 1}), d.Kernel(src, "k", Define{"D", 1}), d.Kernel(src, "k", Define{"D", 2})
	if first != again || first == other {
		t.Error("kernels are not told apart by their constants")
	}
	if len(f.calls) != 2 || len(d.Kernels()) != 2 {
		t.Errorf("compiled %v", f.calls)
	}
}

// Parameters must stand where C puts them.
func TestArgumentsAreAligned(t *testing.T) {
	f := &fake{limit: 1 << 30}
	d, _ := newDevice(f)
	k := d.Kernel(&Source{File: "noun.cu"}, "k")
	x := Tensor{Ptr: 0x1234567890, Type: BF16, Len: 5}
	var map1 Descriptor
	map1.bytes[0], map1.bytes[127] = 7, 9
	d.Launch(k, Grid{X: 1, Threads: 1}, 7, x, float32(2), int64(-3), 0.5, Tensor{}, int32(-1), map1, -9)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	a := f.launched[0].args
	if want := []int{0, 8, 16, 24, 32, 40, 48, 64, 192, 196}; !slices.Equal(a.at, want) {
		t.Fatalf("parameters at %v, want %v", a.at, want)
	}
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(a.data[a.at[i]:]) }
	u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(a.data[a.at[i]:]) }
	if u32(0) != 7 || u64(1) != 0x1234567890 || math.Float32frombits(u32(2)) != 2 || int64(u64(3)) != -3 || math.Float32frombits(u32(4)) != 0.5 ||
		u64(5) != 0 || int32(u32(6)) != -1 || a.data[64] != 7 || a.data[191] != 9 || int32(u32(8)) != -9 {
		t.Errorf("parameters %x", a.data)
	}
	for _, bad := range []any{1 << 31, "text", uint(1), nil} {
		d, _ := newDevice(&fake{limit: 1})
		d.Launch(k, Grid{X: 1, Threads: 1}, bad)
		if d.Err() == nil {
			t.Errorf("a %T %v was passed", bad, bad)
		}
	}
}

func TestScratchIsCarved(t *testing.T) {
	s := Tensor{Ptr: 0x1000, Type: Float32, Len: 1024}
	a, rest := s.Carve(BF16, 3)
	b, rest := rest.Carve(Int32, 64)
	c, rest := rest.Carve(Float32, 65)
	if a.Ptr != 0x1000 || b.Ptr != 0x1100 || c.Ptr != 0x1200 || rest.Ptr != 0x1400 || rest.Bytes() != 4096-0x400 || a.Type != BF16 || c.Len != 65 {
		t.Errorf("carved %+v %+v %+v %+v", a, b, c, rest)
	}
	defer func() {
		if recover() == nil {
			t.Error("carved more than there is")
		}
	}()
	rest.Carve(Float32, rest.Len+1)
}

func TestCaptureEndsAfterAFailure(t *testing.T) {
	f := &fake{limit: 1 << 30}
	d, _ := newDevice(f)
	if _, err := d.Capture(func() { d.New(Float32, 1) }); err == nil || !strings.Contains(err.Error(), "recorded") {
		t.Errorf("memory taken while recording: %v", err)
	}
	if f.recording {
		t.Error("still recording")
	}
}

func TestLimitsAreNamed(t *testing.T) {
	info, _ := (&fake{limit: 1}).info()
	base := call{kernel: &Kernel{Name: "k"}, grid: [3]int{4, 1, 1}, block: [3]int{128, 1, 1}}
	for want, change := range map[string]func(c *call){
		"":                      func(*call) {},
		"70000 bytes of shared": func(c *call) { c.shared = 70000 },
		"2048 threads":          func(c *call) { c.block[0] = 2048 },
		"65536 1]":              func(c *call) { c.grid[1] = 65536 },
		"4 blocks in clusters":  func(c *call) { c.cluster = 3 },
		"200 registers":         func(c *call) { c.block[0] = 512; c.kernel.Resources.Registers = 200 },
	} {
		k := *base.kernel
		c := base
		c.kernel = &k
		change(&c)
		err := c.within(&info)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRingNeverOverlaps(t *testing.T) {
	r := ring{size: 1000}
	for i := range 2000 {
		n := 1 + i*37%400
		at, ok := r.fit(n)
		for !ok {
			if len(r.held) == 0 {
				t.Fatalf("no room for %d of %d", n, r.size)
			}
			r.drop()
			at, ok = r.fit(n)
		}
		if at < 0 || at+n > r.size {
			t.Fatalf("piece %d to %d", at, at+n)
		}
		for _, p := range r.held {
			if at < p.to && p.from < at+n {
				t.Fatalf("piece %d to %d lies over %d to %d", at, at+n, p.from, p.to)
			}
		}
		r.take(at, n, handle(i))
	}
	if _, ok := (&ring{size: 10}).fit(11); ok {
		t.Error("more than there is")
	}
}
