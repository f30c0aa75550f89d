// Package cpu runs the parts of a kernel on the machine's cores without allocating per call.
package cpu

import (
	"reflect"
	"runtime"
	"sync/atomic"
)

// Cores is a fixed team of worker goroutines. One kernel runs on it at a time; the goroutine that calls
// For takes part in the work. A Cores is not safe for concurrent use.
type Cores struct {
	workers []*Worker
	jobs    map[reflect.Type]any

	current task
	n, part int
	next    atomic.Int64
	pending atomic.Int64
	wake    []chan struct{}
	done    chan struct{}
	closed  bool
	failure atomic.Pointer[any]
}

// Worker is what one goroutine of the team owns: scratch memory that lives as long as the team.
type Worker struct {
	id      int
	scratch []float32
	spill   []float32 // what is left of a block for this part's values beyond the end of scratch
	used    int       // values handed out and not released, also beyond the end of scratch
	peak    int       // the most that used has been
}

type task interface{ run(w *Worker, lo, hi int) }

// New starts a team of n goroutines, the caller's included; n < 1 means one per processor.
func New(n int) *Cores {
	if n < 1 {
		n = runtime.GOMAXPROCS(0)
	}
	c := &Cores{jobs: map[reflect.Type]any{}, done: make(chan struct{}, 1)}
	for i := range n {
		c.workers = append(c.workers, &Worker{id: i})
		if i == 0 {
			continue
		}
		wake := make(chan struct{}, 1)
		c.wake = append(c.wake, wake)
		go c.serve(c.workers[i], wake)
	}
	return c
}

// Len returns the number of goroutines in the team.
func (c *Cores) Len() int { return len(c.workers) }

// Close ends the team's goroutines. It may be called twice.
func (c *Cores) Close() {
	if c.closed {
		return
	}
	c.closed = true
	for _, wake := range c.wake {
		close(wake)
	}
}

// ScratchBytes returns the memory that the team's workers hold for kernels' temporaries.
func (c *Cores) ScratchBytes() int64 {
	var n int64
	for _, w := range c.workers {
		n += int64(cap(w.scratch)) * 4
	}
	return n
}

func (c *Cores) serve(w *Worker, wake chan struct{}) {
	for range wake {
		c.drain(w)
		if c.pending.Add(-1) == 0 {
			c.done <- struct{}{}
		}
	}
}

// drain takes parts until none is left. Parts are numbered by position, so who runs one does not matter.
func (c *Cores) drain(w *Worker) {
	defer func() {
		if r := recover(); r != nil {
			c.fail(r)
		}
	}()
	for {
		lo := int(c.next.Add(int64(c.part))) - c.part
		if lo >= c.n {
			return
		}
		w.reset()
		c.current.run(w, lo, min(lo+c.part, c.n))
	}
}

func (c *Cores) fail(r any) { c.failure.CompareAndSwap(nil, &r) }

func (c *Cores) run(t task, n, part int) {
	if n <= 0 {
		return
	}
	part = max(part, 1)
	if len(c.wake) == 0 || n <= part {
		w := c.workers[0]
		for lo := 0; lo < n; lo += part {
			w.reset()
			t.run(w, lo, min(lo+part, n))
		}
		return
	}
	c.current, c.n, c.part = t, n, part
	c.next.Store(0)
	helpers := min(len(c.wake), (n+part-1)/part-1)
	c.pending.Store(int64(helpers))
	for _, wake := range c.wake[:helpers] {
		wake <- struct{}{}
	}
	c.drain(c.workers[0])
	<-c.done
	c.current = nil
	if f := c.failure.Swap(nil); f != nil {
		panic(*f)
	}
}

// Job holds the arguments of one kernel call while its parts run. Jobs are reused by type, so that a call
// allocates nothing once the first of its kind has run.
type Job[A any] struct {
	Args  A
	cores *Cores
	part  func(a *A, w *Worker, lo, hi int)
}

type freeList[A any] struct{ free []*Job[A] }

// Borrow takes a job for arguments of type A. Return it when the call is over.
func Borrow[A any](c *Cores, args A) *Job[A] {
	key := reflect.TypeFor[A]()
	list, ok := c.jobs[key].(*freeList[A])
	if !ok {
		list = &freeList[A]{}
		c.jobs[key] = list
	}
	var j *Job[A]
	if n := len(list.free); n > 0 {
		j, list.free = list.free[n-1], list.free[:n-1]
	} else {
		j = &Job[A]{cores: c}
	}
	j.Args = args
	return j
}

// Return gives the job back and forgets its arguments.
func (j *Job[A]) Return() {
	var zero A
	j.Args, j.part = zero, nil
	list := j.cores.jobs[reflect.TypeFor[A]()].(*freeList[A])
	list.free = append(list.free, j)
}

// For calls part for the ranges [0,size), [size,2·size), … that cover [0, n), on all cores, and returns when
// all are done. The ranges depend on n and size alone, so that sums made within one range come out the same
// on any machine. part must be a plain function: a closure would allocate. A panic in part is raised again
// in the caller.
func (j *Job[A]) For(n, size int, part func(a *A, w *Worker, lo, hi int)) {
	j.part = part
	j.cores.run(j, n, size)
}

func (j *Job[A]) run(w *Worker, lo, hi int) { j.part(&j.Args, w, lo, hi) }

// Floats returns n scratch values, not cleared, that stay valid until the current part ends.
func (w *Worker) Floats(n int) []float32 {
	at := w.used
	w.used += n
	w.peak = max(w.peak, w.used)
	if w.used > len(w.scratch) {
		// What was handed out before may still be in use by this part, so the block cannot grow now; the
		// next part finds one that holds everything.
		if n > len(w.spill) {
			w.spill = make([]float32, max(n, spillBlock))
		}
		s := w.spill[:n:n]
		w.spill = w.spill[n:]
		return s
	}
	return w.scratch[at:w.used:w.used]
}

// spillBlock is how many values a part gets at a time while its worker's scratch is too small.
const spillBlock = 1 << 16

// Mark and Release bracket scratch that a serial kernel inside a part needs for a while.
func (w *Worker) Mark() int { return w.used }

// Release gives back what Floats handed out since the Mark.
func (w *Worker) Release(mark int) { w.used = mark }

func (w *Worker) reset() {
	if w.peak > len(w.scratch) {
		w.scratch = make([]float32, w.peak)
	}
	w.used, w.spill = 0, nil
}
