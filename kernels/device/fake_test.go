package device

import (
	"errors"
	"fmt"
)

// fake is a driver that keeps books and computes nothing.
type fake struct {
	limit     int64 // bytes of memory
	taken     map[uintptr]int64
	next      uintptr
	calls     []string
	failures  map[string]error // by call
	launched  []call
	recording bool
}

func (f *fake) did(name string) error {
	f.calls = append(f.calls, name)
	return f.failures[name]
}

func (f *fake) held() (n int64) {
	for _, b := range f.taken {
		n += b
	}
	return n
}

func (f *fake) info() (Info, error) {
	return Info{Name: "fake", Major: 9, Memory: f.limit, Free: f.limit - f.held(), SharedMax: 64 << 10}, nil
}

func (f *fake) alloc(bytes int64) (uintptr, error) {
	if err := f.did("alloc"); err != nil {
		return 0, err
	}
	if f.held()+bytes > f.limit {
		return 0, errors.New("full")
	}
	if f.taken == nil {
		f.taken, f.next = map[uintptr]int64{}, 1<<20
	}
	ptr := f.next
	f.next += uintptr(bytes) + 1<<20
	f.taken[ptr] = bytes
	return ptr, nil
}

func (f *fake) free(ptr uintptr) error {
	if f.taken[ptr] == 0 {
		return fmt.Errorf("%#x is not a segment", ptr)
	}
	delete(f.taken, ptr)
	return f.did("free")
}

func (f *fake) compile(program) (handle, Resources, error) { return 1, Resources{}, f.did("compile") }

func (f *fake) launch(c *call) error {
	f.launched = append(f.launched, *c)
	return f.did("launch")
}

func (f *fake) product(p *Product) error {
	if err := p.valid(); err != nil {
		return err
	}
	return f.did("product")
}

func (f *fake) copyIn(uintptr, []byte) error                    { return f.did("copyIn") }
func (f *fake) copyOut([]byte, uintptr) error                   { return f.did("copyOut") }
func (f *fake) copyWithin(_, _ uintptr, _ int64) error          { return f.did("copyWithin") }
func (f *fake) fill(uintptr, uint32, int, int64) error          { return f.did("fill") }
func (f *fake) wait() error                                     { return f.did("wait") }
func (f *fake) newEvent() (handle, error)                       { return 1, f.did("newEvent") }
func (f *fake) record(handle) error                             { return f.did("record") }
func (f *fake) elapsed(_, _ handle) (float64, error)            { return 1, f.did("elapsed") }
func (f *fake) freeEvent(handle) error                          { return f.did("freeEvent") }
func (f *fake) replay(handle) error                             { return f.did("replay") }
func (f *fake) freeGraph(handle) error                          { return f.did("freeGraph") }
func (f *fake) tensorMap(*TensorMap) (out [128]byte, err error) { return out, f.did("tensorMap") }
func (f *fake) close() error                                    { return f.did("close") }

func (f *fake) beginCapture() error {
	f.recording = true
	return f.did("beginCapture")
}

func (f *fake) endCapture() (handle, error) {
	f.recording = false
	return 1, f.did("endCapture")
}
