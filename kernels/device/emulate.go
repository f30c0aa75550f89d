//go:build emulate && !gpu && linux && cgo

package device

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// emulator runs kernels on the host, thread by thread: cuda/emulate.h says how. It finds mistakes in kernels where there
// is no GPU; its times mean nothing.
type emulator struct {
	compiler  string
	version   string
	folder    string            // cache
	headers   string            // folder of the headers
	texts     map[string]string // of the headers, by name
	options   []string
	arch      int // compute capability times 10
	seed      uint64
	functions []cFunction
	events    map[handle]time.Time
	graphs    map[handle][]func() error
	last      handle
	capturing bool
	recorded  []func() error
	allocated map[uintptr]int64
	used      int64
}

// Built says whether this build has a driver.
const Built = true

const (
	emulatedMemory     = 16 << 30
	emulatedProcessors = 4
)

// open makes an emulator. GOJET_EMULATE_SEED chooses the order in which threads and blocks run (0 leaves blocks in order),
// GOJET_EMULATE_ARCH the compute capability, 80 or 90.
func open(ordinal int) (driver, error) {
	if ordinal != 0 {
		return nil, fmt.Errorf("%w: there is one emulated device, asked for number %d", ErrNone, ordinal)
	}
	e := &emulator{arch: 90, seed: 1, events: map[handle]time.Time{}, graphs: map[handle][]func() error{}, allocated: map[uintptr]int64{}}
	var err error
	if e.compiler, err = exec.LookPath("g++"); err != nil {
		return nil, fmt.Errorf("%w: the emulator compiles kernels with g++: %w", ErrNone, err)
	}
	out, err := exec.Command(e.compiler, "-dumpfullversion").Output()
	if err != nil {
		return nil, fmt.Errorf("asking g++ for its version: %w", err)
	}
	e.version = strings.TrimSpace(string(out))
	if v := os.Getenv("GOJET_EMULATE_SEED"); v != "" {
		if e.seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, fmt.Errorf("GOJET_EMULATE_SEED: %w", err)
		}
	}
	if v := os.Getenv("GOJET_EMULATE_ARCH"); v != "" {
		if e.arch, err = strconv.Atoi(v); err != nil || e.arch != 80 && e.arch != 90 {
			return nil, fmt.Errorf("GOJET_EMULATE_ARCH is %q, want 80 or 90", v)
		}
	}
	e.options = []string{"-std=c++20", "-O1", "-shared", "-fPIC", "-fno-gnu-unique", "-fvisibility=hidden", "-w", "-DGOJET_EMULATE",
		fmt.Sprintf("-DGOJET_EMULATE_ARCH=%d", 10*e.arch)}
	if runtime.GOARCH == "amd64" && cpu.X86.HasFMA && cpu.X86.HasAVX2 {
		e.options = append(e.options, "-mfma", "-mavx2")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	e.folder = filepath.Join(cache, "gojet", "emulate")
	return e, e.writeHeaders()
}

func (e *emulator) info() (Info, error) {
	shared := 227 << 10
	if e.arch == 80 {
		shared = 163 << 10
	}
	return Info{
		Name: "emulated GPU", Emulated: true, Driver: fmt.Sprintf("emulator, g++ %s, seed %d", e.version, e.seed), Major: e.arch / 10, Minor: e.arch % 10,
		Processors: emulatedProcessors, SharedMax: shared, Memory: emulatedMemory, Free: emulatedMemory - e.used,
	}, nil
}

// queue runs work, or records it.
func (e *emulator) queue(work func() error) error {
	if e.capturing {
		e.recorded = append(e.recorded, work)
		return nil
	}
	return work()
}

func (e *emulator) launch(c *call) error {
	about, err := e.info()
	if err != nil {
		return err
	}
	if err := c.within(&about); err != nil {
		return err
	}
	if c.block[0]%32 != 0 {
		return fmt.Errorf("a block of %d threads, want whole warps", c.block[0])
	}
	if c.cluster > 1 {
		return errors.New("the emulator has no clusters")
	}
	f, seed, name := e.functions[c.kernel.handle-1], e.seed, c.kernel.Name
	grid, threads, shared, args := c.grid, c.block[0], c.shared, c.args
	return e.queue(func() error { return f.run(name, grid, threads, shared, args, seed) })
}

func (e *emulator) alloc(n int64) (uintptr, error) {
	if e.capturing {
		return 0, errCapturing("memory is taken")
	}
	if e.used+n > emulatedMemory {
		return 0, fmt.Errorf("out of memory: %d bytes of %d are in use", e.used, int64(emulatedMemory))
	}
	ptr, err := mapGuarded(n)
	if err != nil {
		return 0, err
	}
	e.allocated[ptr] = n
	e.used += n
	b := hostBytes(ptr, n)
	for i := range b { // what is not written reads as NaN
		b[i] = 0xff
	}
	return ptr, nil
}

// exactMemory makes tensors lie in allocations of their own, beyond which nothing can be touched.
func (e *emulator) exactMemory() {}

func (e *emulator) free(ptr uintptr) error {
	n, ok := e.allocated[ptr]
	if !ok {
		return fmt.Errorf("%#x was not allocated", ptr)
	}
	delete(e.allocated, ptr)
	e.used -= n
	return unmapGuarded(ptr, n)
}

// hostBytes is emulated device memory as bytes.
func hostBytes(ptr uintptr, n int64) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&ptr))), n) // memory that Go does not manage
}

// within reports whether a range lies in memory that was allocated.
func (e *emulator) within(ptr uintptr, n int64) error {
	for at, size := range e.allocated {
		if ptr >= at && int64(ptr-at)+n <= size {
			return nil
		}
	}
	return fmt.Errorf("%d bytes at %#x are not in the device's memory", n, ptr)
}

func errCapturing(what string) error { return fmt.Errorf("%s while a graph is captured", what) }

func (e *emulator) copyIn(dst uintptr, src []byte) error {
	if e.capturing {
		return errCapturing("host memory is copied in")
	}
	if err := e.within(dst, int64(len(src))); err != nil {
		return err
	}
	copy(hostBytes(dst, int64(len(src))), src)
	return nil
}

func (e *emulator) copyOut(dst []byte, src uintptr) error {
	if e.capturing {
		return errCapturing("device memory is copied out")
	}
	if err := e.within(src, int64(len(dst))); err != nil {
		return err
	}
	copy(dst, hostBytes(src, int64(len(dst))))
	return nil
}

func (e *emulator) copyWithin(dst, src uintptr, n int64) error {
	if err := errors.Join(e.within(dst, n), e.within(src, n)); err != nil {
		return err
	}
	return e.queue(func() error { copy(hostBytes(dst, n), hostBytes(src, n)); return nil })
}

func (e *emulator) fill(dst uintptr, word uint32, width int, count int64) error {
	n := int64(width) * count
	if err := e.within(dst, n); err != nil {
		return err
	}
	return e.queue(func() error {
		b := hostBytes(dst, n)
		if word == 0 {
			clear(b)
			return nil
		}
		for i := range b {
			b[i] = byte(word >> (8 * (i % width)))
		}
		return nil
	})
}

func (e *emulator) wait() error {
	if e.capturing {
		return errCapturing("the queue is waited for")
	}
	return nil
}

func (e *emulator) newEvent() (handle, error) {
	e.last++
	e.events[e.last] = time.Time{}
	return e.last, nil
}

func (e *emulator) record(h handle) error {
	return e.queue(func() error { e.events[h] = time.Now(); return nil })
}

func (e *emulator) elapsed(from, to handle) (float64, error) {
	a, b := e.events[from], e.events[to]
	if a.IsZero() || b.IsZero() {
		return 0, errors.New("the event was not recorded")
	}
	return float64(b.Sub(a)) / float64(time.Millisecond), nil
}

func (e *emulator) freeEvent(h handle) error {
	delete(e.events, h)
	return nil
}

func (e *emulator) beginCapture() error {
	if e.capturing {
		return errCapturing("a capture begins")
	}
	e.capturing, e.recorded = true, nil
	return nil
}

func (e *emulator) endCapture() (handle, error) {
	e.last++
	e.graphs[e.last] = e.recorded
	e.capturing, e.recorded = false, nil
	return e.last, nil
}

func (e *emulator) replay(h handle) error {
	g, ok := e.graphs[h]
	if !ok {
		return errors.New("the graph was closed")
	}
	return e.queue(func() error {
		for _, work := range g {
			if err := work(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *emulator) freeGraph(h handle) error {
	delete(e.graphs, h)
	return nil
}

func (e *emulator) close() error {
	var err error
	for ptr := range e.allocated {
		err = errors.Join(err, e.free(ptr))
	}
	return err
}
