//go:build gpu

package device

/*
#include "cuda_calls.h"
*/
import "C"

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"gorgonia.org/cu/nvrtc"
)

// compiler turns kernel text into machine code for one architecture, or finds it on disk.
type compiler struct {
	arch    string // "sm_90a"
	version string // of NVRTC
	include []nvrtc.Include
	digest  [sha256.Size]byte // of the headers
	cache   *cache
	verbose bool // have the assembler say what a kernel takes
}

func newCompiler(major, minor int) (*compiler, error) {
	a, b, err := loadCompiler()
	if err != nil {
		return nil, err
	}
	c := &compiler{arch: architecture(major, minor), version: fmt.Sprintf("NVRTC %d.%d", a, b), cache: openCache()}
	list, err := headers()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, h := range list {
		c.include = append(c.include, nvrtc.Include{Name: h.File, Source: h.Text})
		fmt.Fprintf(sum, "%q %q\n", h.File, h.Text)
	}
	copy(c.digest[:], sum.Sum(nil))
	return c, nil
}

// openCache is the user's cache: gojet/kernels where the system keeps such things.
func openCache() *cache {
	dir, err := os.UserCacheDir()
	if err != nil {
		return &cache{}
	}
	return &cache{dir: filepath.Join(dir, "gojet", "kernels")}
}

// architecture names what to compile for: from 9.0 on with the features of that chip alone.
func architecture(major, minor int) string {
	if major >= 9 {
		return fmt.Sprintf("sm_%d%da", major, minor)
	}
	return fmt.Sprintf("sm_%d%d", major, minor)
}

// options are the compiler's beside the kernel's own. Functions without a word on where they run, lambdas above all, run on
// the device. Subnormal numbers are flushed to zero, and quotients and roots may be off by two units in the last place, which
// is far inside what kernels are held to.
func (c *compiler) options(p *program) []string {
	o := []string{"--gpu-architecture=" + c.arch, "-std=c++17", "-default-device", "-lineinfo", "-ftz=true", "-prec-div=false", "-prec-sqrt=false"}
	return append(o, p.options...)
}

// compile returns machine code and, where it was not in the cache, what the compiler said. A verbose compiler says it in
// any case.
func (c *compiler) compile(p *program) (cubin []byte, log string, cached bool, err error) {
	options := c.options(p)
	key := sha256.Sum256(fmt.Appendf(nil, "%q %x %q %q %q", c.version, c.digest, p.file, p.text, options))
	words := sha256.Sum256(fmt.Appendf(nil, "said of %x", key))
	if cubin, ok := c.cache.get(key); ok {
		if !c.verbose {
			return cubin, "", true, nil
		}
		if said, ok := c.cache.get(words); ok {
			return cubin, string(said), true, nil
		}
	}
	if c.verbose {
		options = append(options, "--ptxas-options=-v")
	}
	made, err := nvrtc.CreateProgram(p.text, p.file, c.include...)
	if err != nil {
		return nil, "", false, fmt.Errorf("nvrtcCreateProgram: %w", err)
	}
	defer made.Destroy()
	err = made.Compile(options...)
	log, _ = made.GetLog()
	log = strings.TrimRight(log, "\x00\n ")
	if err != nil {
		if log == "" {
			log = err.Error()
		}
		return nil, log, false, fmt.Errorf("for %s:\n%s", c.arch, log)
	}
	// cu does not give out the program's handle, which is all that its Program holds.
	handle := *(*unsafe.Pointer)(unsafe.Pointer(&made))
	var size C.size_t
	if r := C.gojet_cubin_size(handle, &size); r != 0 || size == 0 {
		return nil, log, false, errors.New("nvrtcGetCUBINSize failed")
	}
	cubin = make([]byte, size)
	if r := C.gojet_cubin(handle, (*C.char)(unsafe.Pointer(&cubin[0]))); r != 0 {
		return nil, log, false, errors.New("nvrtcGetCUBIN failed")
	}
	c.cache.put(key, cubin)
	if c.verbose {
		c.cache.put(words, []byte(log))
	}
	return cubin, log, false, nil
}
