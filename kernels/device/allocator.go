package device

import (
	"errors"
	"fmt"
)

const (
	smallest = 256     // bytes; every block is a multiple
	small    = 1 << 20 // requests up to here share segments
	shared   = 8 << 20 // bytes of a segment that small requests share
	rounding = 2 << 20 // larger segments are multiples of this
)

// allocator takes memory from the driver in segments and divides them into blocks, because a driver's own calls wait for
// the device. A request gets the smallest free block that holds it, the first of those in memory, and gives back what it
// does not need of it; neighbouring free blocks become one. So plans of different sizes use the same memory one after
// the other. Small and large requests have segments of their own, for a small tensor must not keep a large hole from closing.
type allocator struct {
	drv   driver
	live  map[uintptr]*block
	first *block // the list of all blocks, in which blocks of a segment are neighbours
	usage Usage
	exact bool // every tensor has a segment to itself, which goes back when the tensor does
}

// block is a piece of a segment, in use or free.
type block struct {
	ptr        uintptr
	bytes      int64
	used       bool
	small      bool  // of a segment for small requests
	segment    int64 // bytes of the segment that starts here; 0 where none does
	prev, next *block
}

func (a *allocator) init(drv driver) {
	a.drv, a.live = drv, map[uintptr]*block{}
	_, a.exact = drv.(interface{ exactMemory() })
}

func (a *allocator) take(bytes int64) (uintptr, error) {
	bytes = max(Aligned(bytes), smallest)
	b := a.fit(bytes)
	if b == nil {
		var err error
		if b, err = a.grow(bytes); err != nil {
			return 0, err
		}
	}
	if rest := b.bytes - bytes; rest > 0 {
		b.next = &block{ptr: b.ptr + uintptr(bytes), bytes: rest, small: b.small, prev: b, next: b.next}
		if b.next.next != nil {
			b.next.next.prev = b.next
		}
		b.bytes = bytes
	}
	b.used = true
	a.live[b.ptr] = b
	a.usage.Live += bytes
	a.usage.Peak = max(a.usage.Peak, a.usage.Live)
	return b.ptr, nil
}

// fit finds the best free block.
func (a *allocator) fit(bytes int64) *block {
	var best *block
	for b := a.first; b != nil; b = b.next {
		if !b.used && b.small == (bytes <= small) && b.bytes >= bytes &&
			(best == nil || b.bytes < best.bytes || b.bytes == best.bytes && b.ptr < best.ptr) {
			best = b
		}
	}
	return best
}

// grow takes a segment from the driver, in exchange for those that are free where there is no more.
func (a *allocator) grow(bytes int64) (*block, error) {
	size := int64(shared)
	if bytes > small {
		size = (bytes + rounding - 1) / rounding * rounding
	}
	if a.exact {
		size = bytes
	}
	ptr, err := a.drv.alloc(size)
	if err != nil {
		if freed, e := a.release(); e != nil || freed == 0 {
			return nil, a.exhausted(bytes, errors.Join(err, e))
		}
		if ptr, err = a.drv.alloc(size); err != nil {
			return nil, a.exhausted(bytes, err)
		}
	}
	a.usage.Held += size
	b := &block{ptr: ptr, bytes: size, small: bytes <= small, segment: size, next: a.first}
	if b.next != nil {
		b.next.prev = b
	}
	a.first = b
	return b, nil
}

// ErrMemory is a device out of memory.
var ErrMemory = errors.New("out of memory")

// exhausted says what there is and what would help.
func (a *allocator) exhausted(bytes int64, err error) error {
	text := fmt.Sprintf("%s asked for, %s in tensors, %s kept for reuse in other pieces", mebibytes(bytes), mebibytes(a.usage.Live), mebibytes(a.usage.Held-a.usage.Live))
	if about, e := a.drv.info(); e == nil && about.Memory > 0 {
		text += fmt.Sprintf(", %s free of the device's %s", mebibytes(about.Free), mebibytes(about.Memory))
	}
	return fmt.Errorf("device: %w: %s. Fewer rows in a batch, shorter sequences, or recompute: true need less (%w)", ErrMemory, text, err)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (a *allocator) give(ptr uintptr) {
	b := a.live[ptr]
	if b == nil {
		panic(fmt.Sprintf("device: freed %#x, which is not the start of a tensor in use", ptr))
	}
	delete(a.live, ptr)
	a.usage.Live -= b.bytes
	b.used = false
	if n := b.next; n != nil && !n.used && n.segment == 0 {
		b.absorb(n)
	}
	if p := b.prev; p != nil && !p.used && b.segment == 0 {
		p.absorb(b)
	}
	if a.exact {
		if _, err := a.release(); err != nil {
			panic(err)
		}
	}
}

// absorb joins the block behind b, of the same segment, to it.
func (b *block) absorb(n *block) {
	b.bytes += n.bytes
	b.next = n.next
	if n.next != nil {
		n.next.prev = b
	}
}

// release returns segments without tensors to the driver.
func (a *allocator) release() (freed int64, err error) {
	for b := a.first; b != nil; b = b.next {
		if b.used || b.segment != b.bytes {
			continue
		}
		if err := a.drv.free(b.ptr); err != nil {
			return freed, err
		}
		freed += b.bytes
		a.usage.Held -= b.bytes
		if b.prev == nil {
			a.first = b.next
		} else {
			b.prev.next = b.next
		}
		if b.next != nil {
			b.next.prev = b.prev
		}
	}
	return freed, nil
}

// close returns everything.
func (a *allocator) close() error {
	for ptr := range a.live {
		a.give(ptr)
	}
	_, err := a.release()
	return err
}
