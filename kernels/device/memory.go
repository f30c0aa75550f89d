package device

import (
	"errors"
	"fmt"
	"unsafe"
)

// New takes memory for n elements. Its contents are undefined.
func (d *Device) New(t Type, n int) Tensor {
	var out Tensor
	d.do(func() error {
		if d.capturing {
			return errors.New("device: memory cannot be taken while work is recorded")
		}
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
