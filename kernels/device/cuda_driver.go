//go:build gpu

package device

/*
#include "cuda_calls.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"gorgonia.org/cu"
)

// cuda is the driver for NVIDIA's GPUs. Contexts belong to threads and goroutines do not, so every call makes the context
// current on whatever thread it is on: that costs tens of nanoseconds, a thread of its own would cost two switches.
type cuda struct {
	device    cu.Device
	context   cu.CUContext
	stream    cu.Stream
	about     Info
	compiler  *compiler
	modules   []cu.Module
	shared    map[handle]int // bytes of dynamic shared memory that a function was told of, where it was
	staging   staging
	blas      *blas
	capturing bool
	last      *Kernel // launched last, named where the device reports a failure afterwards
}

// Built says whether this build has a driver.
const Built = true

// open opens device number ordinal.
func open(ordinal int) (driver, error) {
	if err := loadDriver(); err != nil {
		return nil, fmt.Errorf("%w: NVIDIA's driver is not there: %w", ErrNone, err)
	}
	const noDevice = 100 // CUDA_ERROR_NO_DEVICE
	if err := check("cuInit", C.gojet_init()); errors.Is(err, cudaError(noDevice)) {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	} else if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	count, err := cu.NumDevices()
	if err != nil {
		return nil, failed("cuDeviceGetCount", err)
	}
	if count == 0 {
		return nil, fmt.Errorf("%w: NVIDIA's driver sees no device", ErrNone)
	}
	if ordinal < 0 || ordinal >= count {
		return nil, fmt.Errorf("device: there is no device %d: this machine has %d, from 0 (CUDA_VISIBLE_DEVICES may hide some)", ordinal, count)
	}
	c := &cuda{shared: map[handle]int{}}
	if err := c.open(ordinal); err != nil {
		return nil, errors.Join(fmt.Errorf("device: opening device %d: %w", ordinal, err), c.close())
	}
	return c, nil
}

func (c *cuda) open(ordinal int) error {
	var err error
	if c.device, err = cu.GetDevice(ordinal); err != nil {
		return failed("cuDeviceGet", err)
	}
	const sharedOptin cu.DeviceAttribute = 97 // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, which cu lacks
	for _, a := range []struct {
		value *int
		of    cu.DeviceAttribute
	}{
		{&c.about.Major, cu.ComputeCapabilityMajor}, {&c.about.Minor, cu.ComputeCapabilityMinor},
		{&c.about.Processors, cu.MultiprocessorCount}, {&c.about.SharedMax, sharedOptin},
	} {
		if *a.value, err = c.device.Attribute(a.of); err != nil {
			return failed("cuDeviceGetAttribute", err)
		}
	}
	if c.about.Name, err = c.device.Name(); err != nil {
		return failed("cuDeviceGetName", err)
	}
	c.about.Driver = driverVersion()
	if c.about.Major < 8 {
		return fmt.Errorf("%s has compute capability %d.%d; gojet needs 8.0 or newer", c.about.Name, c.about.Major, c.about.Minor)
	}
	if c.compiler, err = newCompiler(c.about.Major, c.about.Minor); err != nil {
		return err
	}
	if c.context, err = c.device.RetainPrimaryCtx(); err != nil {
		return failed("cuDevicePrimaryCtxRetain", err)
	}
	return c.do(func() error {
		if c.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return failed("cuStreamCreate", err)
		}
		return nil
	})
}

// driverVersion is "CUDA 13.0, driver 580.159.04"; what the kernel's module does not tell is left out.
func driverVersion() string {
	v := cu.Version()
	text := fmt.Sprintf("CUDA %d.%d", v/1000, v%1000/10)
	if b, err := os.ReadFile("/sys/module/nvidia/version"); err == nil {
		text += ", driver " + strings.TrimSpace(string(b))
	} else if b, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
		if _, after, ok := strings.Cut(string(b), "x86_64  "); ok {
			text += ", driver " + strings.Fields(after)[0]
		}
	}
	return text
}

// handleOf is the pointer that one of cu's types wraps.
func handleOf[T cu.CUContext | cu.Stream | cu.Event | cu.Function](v T) handle {
	return *(*handle)(unsafe.Pointer(&v))
}

// do calls f on a thread where the context is current.
func (c *cuda) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := check("cuCtxSetCurrent", C.gojet_make_current(C.uintptr_t(handleOf(c.context)))); err != nil {
		return err
	}
	return f()
}

// call is do for one call of cu's.
func (c *cuda) call(name string, f func() error) error {
	return c.do(func() error { return failed(name, f()) })
}

// settled is call for what waits for the device, and so reports the failures of kernels queued before.
func (c *cuda) settled(name string, f func() error) error {
	if c.capturing {
		return fmt.Errorf("%s: work that is being recorded cannot be waited for", name)
	}
	err := c.call(name, f)
	if err != nil && c.last != nil {
		err = fmt.Errorf("%w (the last kernel launched was %v; CUDA_LAUNCH_BLOCKING=1 in the environment shows which one failed)", err, c.last)
	}
	return err
}

func (c *cuda) info() (Info, error) {
	about := c.about
	err := c.call("cuMemGetInfo", func() (err error) { about.Free, about.Memory, err = cu.MemInfo(); return err })
	return about, err
}

func (c *cuda) alloc(bytes int64) (uintptr, error) {
	var ptr cu.DevicePtr
	err := c.call("cuMemAlloc", func() (err error) { ptr, err = cu.MemAlloc(bytes); return err })
	return uintptr(ptr), err
}

func (c *cuda) free(ptr uintptr) error {
	return c.call("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(ptr)) })
}

func (c *cuda) compile(p program) (handle, Resources, error) {
	cubin, _, cached, err := c.compiler.compile(&p)
	if err != nil {
		return 0, Resources{}, err
	}
	var function cu.Function
	var took Resources
	err = c.do(func() error {
		module, err := cu.LoadData(string(cubin))
		if err != nil {
			return failed("cuModuleLoadData", err)
		}
		c.modules = append(c.modules, module)
		if function, err = module.Function(p.name); err != nil {
			return failed("cuModuleGetFunction", err)
		}
		for _, a := range []struct {
			value *int
			of    cu.FunctionAttribute
		}{{&took.Registers, cu.NumRegs}, {&took.Shared, cu.SharedSizeBytes}, {&took.Local, cu.LocalSizeBytes}} {
			if *a.value, err = function.Attribute(a.of); err != nil {
				return failed("cuFuncGetAttribute", err)
			}
		}
		return nil
	})
	if err == nil && !cached {
		took.Seconds = 1 // the Device measures
	}
	return handleOf(function), took, err
}

func (c *cuda) launch(l *call) error {
	if err := l.within(&c.about); err != nil {
		return err
	}
	function := C.uintptr_t(l.kernel.handle)
	const plain = 48 << 10 // more has to be asked for
	if l.shared > c.shared[l.kernel.handle] && l.shared+l.kernel.Resources.Shared > plain {
		err := c.do(func() error { return check("cuFuncSetAttribute", C.gojet_max_shared(function, C.int(l.shared))) })
		if err != nil {
			return err
		}
		c.shared[l.kernel.handle] = l.shared
	}
	if l.cluster > 8 {
		if err := c.do(func() error { return check("cuFuncSetAttribute", C.gojet_wide_clusters(function)) }); err != nil {
			return err
		}
	}
	dims := [6]C.uint{C.uint(l.grid[0]), C.uint(l.grid[1]), C.uint(l.grid[2]), C.uint(l.block[0]), C.uint(l.block[1]), C.uint(l.block[2])}
	var data unsafe.Pointer
	if len(l.args.data) > 0 {
		data = unsafe.Pointer(&l.args.data[0])
	}
	c.last = l.kernel
	return check("cuLaunchKernel", C.gojet_launch(C.uintptr_t(handleOf(c.context)), C.uintptr_t(handleOf(c.stream)), function, &dims[0],
		C.uint(l.cluster), C.uint(l.shared), data, (*C.int64_t)(unsafe.Pointer(&l.args.at[0])), C.int(len(l.args.at)-1)))
}

func (c *cuda) copyWithin(dst, src uintptr, bytes int64) error {
	return c.call("cuMemcpyDtoDAsync", func() error {
		return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, c.stream)
	})
}

func (c *cuda) fill(dst uintptr, word uint32, width int, count int64) error {
	return c.call(fmt.Sprintf("cuMemsetD%dAsync", 8*width), func() error {
		switch at := cu.DevicePtr(dst); width {
		case 1:
			return cu.MemsetD8Async(at, byte(word), count, c.stream)
		case 2:
			return cu.MemsetD16Async(at, uint16(word), count, c.stream)
		default:
			return cu.MemsetD32Async(at, uint(word), count, c.stream)
		}
	})
}

func (c *cuda) wait() error { return c.settled("cuStreamSynchronize", c.stream.Synchronize) }

func (c *cuda) newEvent() (handle, error) {
	var e cu.Event
	err := c.call("cuEventCreate", func() (err error) { e, err = cu.MakeEvent(cu.DefaultEvent); return err })
	return handleOf(e), err
}

// eventOf is the inverse of handleOf.
func eventOf(h handle) cu.Event { return *(*cu.Event)(unsafe.Pointer(&h)) }

func (c *cuda) record(h handle) error {
	return c.call("cuEventRecord", func() error { return eventOf(h).Record(c.stream) })
}

func (c *cuda) elapsed(from, to handle) (float64, error) {
	var ms float64
	err := c.settled("cuEventElapsedTime", func() (err error) {
		if err := eventOf(to).Synchronize(); err != nil {
			return err
		}
		ms, err = eventOf(from).Elapsed(eventOf(to))
		return err
	})
	return ms, err
}

func (c *cuda) freeEvent(h handle) error {
	e := eventOf(h)
	return c.call("cuEventDestroy", func() error { return cu.DestroyEvent(&e) })
}

// close gives back everything but the device's primary context: libraries keep state in it that outlives their handles, so it
// stays until the process ends, and the next Open has it ready.
func (c *cuda) close() error {
	if handleOf(c.stream) == 0 {
		return nil
	}
	return c.do(func() error {
		errs := []error{failed("cuStreamSynchronize", c.stream.Synchronize()), c.blas.close(), c.staging.close()}
		for _, m := range c.modules {
			errs = append(errs, failed("cuModuleUnload", m.Unload()))
		}
		return errors.Join(append(errs, failed("cuStreamDestroy", c.stream.Destroy()))...)
	})
}
