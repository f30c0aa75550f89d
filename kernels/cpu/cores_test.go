package cpu

import (
	"testing"
)

type fill struct {
	dst []int
}

func fillPart(a *fill, w *Worker, lo, hi int) {
	s := w.Floats(hi - lo)
	for i := range s {
		s[i] = float32(lo + i)
	}
	for i := lo; i < hi; i++ {
		a.dst[i] += int(s[i-lo]) + 1
	}
}

func TestForCoversEveryIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		c := New(threads)
		defer c.Close()
		for _, n := range []int{0, 1, 2, 63, 64, 65, 1000} {
			for _, size := range []int{0, 1, 7, 64, 2000} {
				dst := make([]int, n)
				j := Borrow(c, fill{dst})
				j.For(n, size, fillPart)
				j.Return()
				for i, v := range dst {
					if v != i+1 {
						t.Fatalf("threads %d n %d size %d: index %d holds %d, want %d", threads, n, size, i, v, i+1)
					}
				}
			}
		}
	}
}

func TestForDoesNotAllocate(t *testing.T) {
	c := New(2)
	defer c.Close()
	dst := make([]int, 1000)
	call := func() {
		j := Borrow(c, fill{dst})
		j.For(len(dst), 10, fillPart)
		j.Return()
	}
	for range 50 { // both workers must have grown their scratch
		call()
	}
	if n := testing.AllocsPerRun(100, call); n > 0 {
		t.Errorf("one call allocates %v times, want 0", n)
	}
}

func TestPanicInPartReachesCaller(t *testing.T) {
	c := New(2)
	defer c.Close()
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v, want boom", r)
		}
		dst := make([]int, 10) // the team still works
		j := Borrow(c, fill{dst})
		j.For(10, 1, fillPart)
		if dst[9] != 10 {
			t.Errorf("after a panic: got %d, want 10", dst[9])
		}
	}()
	j := Borrow(c, fill{})
	j.For(100, 1, func(*fill, *Worker, int, int) { panic("boom") })
}

func TestScratchGrowsOnce(t *testing.T) {
	c := New(1)
	defer c.Close()
	j := Borrow(c, fill{})
	grab := func(_ *fill, w *Worker, lo, hi int) {
		a, b := w.Floats(100), w.Floats(50)
		a[0], b[0] = 1, 2
		if a[0] != 1 {
			t.Error("two pieces of scratch overlap")
		}
	}
	j.For(3, 1, grab)
	if got := c.ScratchBytes(); got != 600 {
		t.Errorf("scratch holds %d bytes, want 600", got)
	}
}

func TestReleasedScratchIsReused(t *testing.T) {
	c := New(1)
	defer c.Close()
	j := Borrow(c, fill{})
	j.For(3, 1, func(_ *fill, w *Worker, lo, hi int) {
		for range 100 {
			mark := w.Mark()
			w.Floats(10)
			w.Release(mark)
		}
	})
	if got := c.ScratchBytes(); got != 40 {
		t.Errorf("scratch holds %d bytes, want 40", got)
	}
}
