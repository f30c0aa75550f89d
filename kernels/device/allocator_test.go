package device

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// held checks that tensors do not overlap and that the books agree with the driver's.
func (a *allocator) sound(t *testing.T, f *fake) {
	t.Helper()
	var live, all int64
	for b := a.first; b != nil; b = b.next {
		all += b.bytes
		if b.used {
			live += b.bytes
		}
		if n := b.next; n != nil && n.segment == 0 && (n.ptr != b.ptr+uintptr(b.bytes) || !n.used && !b.used) {
			t.Fatalf("block %#x of %d bytes is followed by %#x", b.ptr, b.bytes, n.ptr)
		}
		if b.ptr%smallest != 0 {
			t.Fatalf("block at %#x", b.ptr)
		}
	}
	if live != a.usage.Live || all != a.usage.Held || all != f.held() {
		t.Fatalf("blocks %d of %d bytes, books %+v, the driver gave %d", live, all, a.usage, f.held())
	}
}

func TestAllocatorKeepsBooks(t *testing.T) {
	f := &fake{limit: 1 << 40}
	var a allocator
	a.init(f)
	r := rand.New(rand.NewPCG(1, 2))
	var live []uintptr
	for range 3000 {
		if len(live) == 0 || r.IntN(5) < 3 && len(live) < 200 {
			bytes := int64(1) << r.IntN(25)
			bytes += r.Int64N(bytes)
			ptr, err := a.take(bytes)
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, ptr)
		} else {
			i := r.IntN(len(live))
			a.give(live[i])
			live = slices.Delete(live, i, i+1)
		}
		a.sound(t, f)
	}
	for _, ptr := range live {
		a.give(ptr)
	}
	if n, err := a.release(); err != nil || n == 0 || f.held() != 0 || a.first != nil {
		t.Fatalf("released %d, %v; the driver still has %d out", n, err, f.held())
	}
}

// Plans of changing sizes must live off the memory of the largest.
func TestAllocatorDoesNotFragment(t *testing.T) {
	f := &fake{limit: 1 << 40}
	var a allocator
	a.init(f)
	plan := func(scale int64) {
		var live []uintptr
		for _, mib := range []int64{64, 8, 8, 3, 120, 16, 64} {
			for range 4 {
				ptr, err := a.take(mib * scale << 20 / 16)
				if err != nil {
					t.Fatal(err)
				}
				live = append(live, ptr)
			}
		}
		for _, ptr := range live {
			a.give(ptr)
		}
	}
	plan(16)
	held := a.usage.Held
	for scale := int64(1); scale <= 16; scale++ {
		plan(scale)
	}
	if a.usage.Held > held*5/4 {
		t.Errorf("%d bytes held after plans of all sizes, %d after the largest", a.usage.Held, held)
	}
	if a.usage.Live != 0 || a.usage.Peak < 1000<<20 {
		t.Errorf("usage %+v", a.usage)
	}
}

func TestOutOfMemorySaysWhatWouldHelp(t *testing.T) {
	f := &fake{limit: 100 << 20}
	d, err := newDevice(f)
	if err != nil {
		t.Fatal(err)
	}
	a := d.New(Float32, 10<<20)
	b := d.New(Float32, 10<<20)
	d.Free(a)
	// 40 MiB are kept and of no use to a request of 50: they go back to the driver.
	c := d.New(BF16, 25<<20)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if got := (Usage{Live: 90 << 20, Peak: 90 << 20, Held: 90 << 20}); d.Usage() != got {
		t.Errorf("usage %+v, want %+v", d.Usage(), got)
	}
	if none := d.New(Float32, 5<<20); !none.None() {
		t.Error("memory that is not there")
	}
	err = d.Err()
	if !errors.Is(err, ErrMemory) {
		t.Fatalf("got %v, want ErrMemory", err)
	}
	for _, want := range []string{"20.0 MiB asked for", "90.0 MiB in tensors", "10.0 MiB free of the device's 100.0 MiB", "recompute: true"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	d.Free(b)
	d.Free(c)
	if err := d.Close(); err != nil || f.held() != 0 {
		t.Errorf("close: %v, %d bytes kept", err, f.held())
	}
}
