package device

import (
	"fmt"
	"unsafe"
)

// New takes memory for n elements. Its contents are undefined.
func (d *Device) New(t Type, n int) Tensor {
	var out Tensor
	d.do(func() error {
		ptr, err := d.memory.take(int64(n) * int64(t.Size()))
		if err != nil {
			return err
		}
		out = Tensor{Ptr: ptr, Type: t, Len: n}
		return nil
	})
	return out
}

// Free gives memory back that New returned. Queued work may still use it: it is reused in order.
func (d *Device) Free(t Tensor) {
	if t.Ptr == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory.give(t.Ptr)
}

// Element is a Go type whose slices can be copied to and from a device.
type Element interface {
	~float32 | ~float64 | ~int32 | ~uint32 | ~uint16 | ~uint8
}

// Upload queues copying src over dst. src may be changed when Upload returns.
func Upload[E Element](d *Device, dst Tensor, src []E) {
	b := bytesOf(src)
	if int64(len(b)) != dst.Bytes() {
		d.Fail(fmt.Errorf("device: upload of %d bytes over %d", len(b), dst.Bytes()))
		return
	}
	if len(b) > 0 {
		d.do(func() error { return d.drv.copyIn(dst.Ptr, b) })
	}
}

// Download waits for the queue and copies src into dst.
func Download[E Element](d *Device, dst []E, src Tensor) error {
	b := bytesOf(dst)
	if int64(len(b)) != src.Bytes() {
		d.Fail(fmt.Errorf("device: download of %d bytes into %d", src.Bytes(), len(b)))
	} else if len(b) > 0 {
		d.do(func() error { return d.drv.copyOut(b, src.Ptr) })
	}
	return d.Err()
}

func bytesOf[E Element](s []E) []byte {
	var e E
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(e)))
}

// Usage is the memory that a device's tensors take, in bytes.
type Usage struct {
	Live int64 // in tensors now
	Peak int64 // the most there was since ResetPeak
	Held int64 // taken from the driver, in tensors or kept for reuse
}

// Usage returns the memory in use.
func (d *Device) Usage() Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.memory.usage
}

// ResetPeak starts measuring the peak anew.
func (d *Device) ResetPeak() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory.usage.Peak = d.memory.usage.Live
}

// allocator keeps freed memory for reuse, because a driver's own calls wait for the device.
type allocator struct {
	drv   driver
	live  map[uintptr]int64
	spare map[int64][]uintptr
	usage Usage
}

func (a *allocator) init(drv driver) {
	a.drv, a.live, a.spare = drv, map[uintptr]int64{}, map[int64][]uintptr{}
}

func (a *allocator) take(bytes int64) (uintptr, error) {
	bytes = max(Aligned(bytes), 256)
	ptr := uintptr(0)
	if s := a.spare[bytes]; len(s) > 0 {
		ptr, a.spare[bytes] = s[len(s)-1], s[:len(s)-1]
	} else {
		p, err := a.drv.alloc(bytes)
		if err != nil {
			if err = a.release(); err == nil {
				p, err = a.drv.alloc(bytes)
			}
			if err != nil {
				return 0, fmt.Errorf("device: %d bytes asked for, %d in use: %w", bytes, a.usage.Live, err)
			}
		}
		ptr = p
		a.usage.Held += bytes
	}
	a.live[ptr] = bytes
	a.usage.Live += bytes
	a.usage.Peak = max(a.usage.Peak, a.usage.Live)
	return ptr, nil
}

func (a *allocator) give(ptr uintptr) {
	bytes, ok := a.live[ptr]
	if !ok {
		panic(fmt.Sprintf("device: freed %#x, which is not the start of a tensor in use", ptr))
	}
	delete(a.live, ptr)
	a.usage.Live -= bytes
	a.spare[bytes] = append(a.spare[bytes], ptr)
}

// release returns memory kept for reuse to the driver.
func (a *allocator) release() error {
	for bytes, ptrs := range a.spare {
		for _, p := range ptrs {
			if err := a.drv.free(p); err != nil {
				return err
			}
			a.usage.Held -= bytes
		}
		delete(a.spare, bytes)
	}
	return nil
}
