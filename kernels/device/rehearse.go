//go:build gpu

package device

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// Rehearse opens a device that is not there, of a compute capability: kernels are compiled for it, launches are held to its
// limits, and nothing runs; what is downloaded is zero. It needs the compiler, which needs no GPU. What it compiles is kept on
// disk like any other kernel, with what the compiler said of it.
func Rehearse(major, minor int) (*Device, error) {
	if _, _, err := loadCompiler(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	c, err := newCompiler(major, minor)
	if err != nil {
		return nil, err
	}
	c.verbose = true
	shared := map[[2]int]int{{8, 6}: 99, {8, 7}: 163, {8, 9}: 99, {8, 0}: 163, {9, 0}: 227, {10, 0}: 227, {12, 0}: 99}[[2]int{major, minor}]
	if shared == 0 {
		return nil, fmt.Errorf("device: compute capability %d.%d is not known here", major, minor)
	}
	return newDevice(&rehearsal{compiler: c, about: Info{
		Name: c.arch, Driver: c.version, Major: major, Minor: minor, Processors: 132, SharedMax: shared << 10, Memory: 80 << 30, Free: 80 << 30,
	}})
}

// rehearsal is the driver of a device that is not there.
type rehearsal struct {
	compiler *compiler
	about    Info
	next     uintptr
}

func (r *rehearsal) info() (Info, error) { return r.about, nil }

func (r *rehearsal) alloc(bytes int64) (uintptr, error) {
	const base = 1 << 40
	ptr := base + r.next
	r.next += uintptr(Aligned(bytes))
	return ptr, nil
}

var (
	entry     = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	registers = regexp.MustCompile(`Used (\d+) registers`)
	fixed     = regexp.MustCompile(`(\d+) bytes smem`)
	frame     = regexp.MustCompile(`(\d+) bytes stack frame`)
)

// taken reads what the assembler said of the kernel of that name.
func taken(log, name string) (Resources, error) {
	number := func(r *regexp.Regexp, s string) int {
		if m := r.FindStringSubmatch(s); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
		return 0
	}
	all := entry.FindAllStringSubmatchIndex(log, -1)
	for i, m := range all {
		if log[m[2]:m[3]] != name {
			continue
		}
		end := len(log)
		if i+1 < len(all) {
			end = all[i+1][0]
		}
		text := log[m[1]:end]
		return Resources{Registers: number(registers, text), Shared: number(fixed, text), Local: number(frame, text)}, nil
	}
	return Resources{}, fmt.Errorf("there is no kernel %s in what was compiled", name)
}

func (r *rehearsal) compile(p program) (handle, Resources, error) {
	_, log, _, err := r.compiler.compile(&p)
	if err != nil {
		return 0, Resources{}, err
	}
	took, err := taken(log, p.name)
	took.Seconds = 1 // the Device measures
	return 1, took, err
}

func (r *rehearsal) launch(l *call) error { return l.within(&r.about) }

func (r *rehearsal) product(p *Product) error { return p.valid() }

func (r *rehearsal) copyOut(dst []byte, _ uintptr) error { clear(dst); return nil }

func (r *rehearsal) tensorMap(m *TensorMap) (out [128]byte, err error) {
	if r.about.Major < 9 {
		err = errors.New(r.about.Name + " has no bulk copy engine")
	}
	return out, err
}

func (r *rehearsal) free(uintptr) error                     { return nil }
func (r *rehearsal) copyIn(uintptr, []byte) error           { return nil }
func (r *rehearsal) copyWithin(_, _ uintptr, _ int64) error { return nil }
func (r *rehearsal) fill(uintptr, uint32, int, int64) error { return nil }
func (r *rehearsal) wait() error                            { return nil }
func (r *rehearsal) newEvent() (handle, error)              { return 1, nil }
func (r *rehearsal) record(handle) error                    { return nil }
func (r *rehearsal) elapsed(_, _ handle) (float64, error)   { return 0, nil }
func (r *rehearsal) freeEvent(handle) error                 { return nil }
func (r *rehearsal) beginCapture() error                    { return nil }
func (r *rehearsal) endCapture() (handle, error)            { return 1, nil }
func (r *rehearsal) replay(handle) error                    { return nil }
func (r *rehearsal) freeGraph(handle) error                 { return nil }
func (r *rehearsal) close() error                           { return nil }
