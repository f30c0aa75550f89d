//go:build gpu

package device

/*
#include "cuda_calls.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

const (
	stagingBytes = 32 << 20
	stagingPiece = 4 << 20 // the most that one copy takes: several are under way at once
)

// staging is pinned memory, through which copies between host and device go: only from there do they run beside the
// host's work. It is made by the first copy.
type staging struct {
	base  unsafe.Pointer
	ring  ring
	spare []cu.Event
}

// reserve finds room for n bytes, waiting for older copies where there is none.
func (s *staging) reserve(n int) (at int, mem []byte, err error) {
	if s.base == nil {
		if err := check("cuMemHostAlloc", C.gojet_pinned(&s.base, stagingBytes)); err != nil {
			return 0, nil, fmt.Errorf("%d bytes of pinned host memory: %w", stagingBytes, err)
		}
		s.ring.size = stagingBytes
	}
	for {
		if at, ok := s.ring.fit(int(Aligned(int64(n)))); ok {
			return at, unsafe.Slice((*byte)(unsafe.Add(s.base, at)), n), nil
		}
		if err := s.drop(); err != nil {
			return 0, nil, err
		}
	}
}

// drop waits for the oldest copy.
func (s *staging) drop() error {
	e := eventOf(s.ring.drop())
	s.spare = append(s.spare, e)
	return failed("cuEventSynchronize", e.Synchronize())
}

// hold keeps the piece until what is queued now is done.
func (s *staging) hold(at, n int, stream cu.Stream) error {
	var e cu.Event
	if k := len(s.spare); k > 0 {
		e, s.spare = s.spare[k-1], s.spare[:k-1]
	} else {
		var err error
		if e, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return failed("cuEventCreate", err)
		}
	}
	s.ring.take(at, int(Aligned(int64(n))), handleOf(e))
	return failed("cuEventRecord", e.Record(stream))
}

func (s *staging) close() error {
	var errs []error
	for len(s.ring.held) > 0 {
		s.spare = append(s.spare, eventOf(s.ring.drop()))
	}
	for i := range s.spare {
		errs = append(errs, failed("cuEventDestroy", cu.DestroyEvent(&s.spare[i])))
	}
	if s.base != nil {
		errs = append(errs, failed("cuMemFreeHost", cu.MemFreeHost(s.base)))
	}
	*s = staging{}
	return errors.Join(errs...)
}

func (c *cuda) copyIn(dst uintptr, src []byte) error {
	if c.capturing {
		return errors.New("an upload cannot be recorded: its bytes would be those of now at every replay")
	}
	return c.do(func() error {
		for len(src) > 0 {
			n := min(len(src), stagingPiece)
			at, mem, err := c.staging.reserve(n)
			if err != nil {
				return err
			}
			copy(mem, src[:n])
			if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&mem[0]), int64(n), c.stream); err != nil {
				return failed(fmt.Sprintf("cuMemcpyHtoDAsync of %d bytes", n), err)
			}
			if err := c.staging.hold(at, n, c.stream); err != nil {
				return err
			}
			src, dst = src[n:], dst+uintptr(n)
		}
		return nil
	})
}

func (c *cuda) copyOut(dst []byte, src uintptr) error {
	return c.settled("cuMemcpyDtoHAsync", func() error {
		type arrival struct{ to, from []byte }
		var under []arrival // copies queued, oldest first
		land := func() error {
			// Everything older in the ring is done before the piece that is wanted.
			for keep := len(under) - 1; len(c.staging.ring.held) > keep; {
				if err := c.staging.drop(); err != nil {
					return err
				}
			}
			copy(under[0].to, under[0].from)
			under = under[1:]
			return nil
		}
		for len(dst) > 0 {
			n := min(len(dst), stagingPiece)
			if len(under) == stagingBytes/stagingPiece/2 {
				if err := land(); err != nil {
					return err
				}
			}
			at, mem, err := c.staging.reserve(n)
			if err != nil {
				return err
			}
			if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&mem[0]), cu.DevicePtr(src), int64(n), c.stream); err != nil {
				return err
			}
			if err := c.staging.hold(at, n, c.stream); err != nil {
				return err
			}
			under = append(under, arrival{to: dst[:n], from: mem})
			dst, src = dst[n:], src+uintptr(n)
		}
		for len(under) > 0 {
			if err := land(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cuda) beginCapture() error {
	if c.capturing {
		return errors.New("already recording")
	}
	err := c.do(func() error { return check("cuStreamBeginCapture", C.gojet_capture(C.uintptr_t(handleOf(c.stream)))) })
	c.capturing = err == nil
	return err
}

func (c *cuda) endCapture() (handle, error) {
	var graph C.uintptr_t
	c.capturing = false
	err := c.do(func() error {
		return check("cuStreamEndCapture", C.gojet_captured(C.uintptr_t(handleOf(c.stream)), &graph))
	})
	return handle(graph), err
}

func (c *cuda) replay(h handle) error {
	return c.do(func() error {
		return check("cuGraphLaunch", C.gojet_replay(C.uintptr_t(h), C.uintptr_t(handleOf(c.stream))))
	})
}

func (c *cuda) freeGraph(h handle) error {
	return c.do(func() error { return check("cuGraphExecDestroy", C.gojet_forget(C.uintptr_t(h))) })
}

func (c *cuda) tensorMap(m *TensorMap) ([128]byte, error) {
	var out [128]byte
	size := m.T.Type.Size()
	stride := m.Stride
	if stride == 0 {
		stride = m.Cols
	}
	if c.about.Major < 9 {
		return out, fmt.Errorf("%s has no bulk copy engine", c.about.Name)
	}
	if m.T.Type != BF16 && m.T.Type != Float32 {
		return out, fmt.Errorf("of %s", m.T.Type)
	}
	rank := 2
	dims := [3]C.uint64_t{C.uint64_t(m.Cols), C.uint64_t(m.Rows), C.uint64_t(m.Planes)}
	strides := [2]C.uint64_t{C.uint64_t(stride * size), C.uint64_t(m.PlaneStride * size)}
	box := [3]C.uint32_t{C.uint32_t(m.BoxCols), C.uint32_t(m.BoxRows), C.uint32_t(max(m.Boxes, 1))}
	if m.Planes > 0 {
		rank = 3
	}
	bf16 := C.int(0)
	if m.T.Type == BF16 {
		bf16 = 1
	}
	err := c.do(func() error {
		return check("cuTensorMapEncodeTiled", C.gojet_tensor_map(unsafe.Pointer(&out[0]), bf16, C.int(rank), C.uintptr_t(m.T.Ptr), &dims[0], &strides[0], &box[0], C.int(m.Swizzle)))
	})
	return out, err
}
