//go:build gpu

package device

/*
#include "cuda_calls.h"
#include <cuda.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"unsafe"

	"gorgonia.org/cu/nvrtc"
)

// CUDA's libraries are loaded when a device is opened. A GPU build is linked with stand-ins for them (dev/cuda), so that it
// starts where they are missing, and says what is. Loading one again changes nothing.

func loadDriver() error {
	_, err := load(C.GOJET_CUDA, "libcuda.so.1")
	return err
}

func loadBLAS() error {
	_, err := load(C.GOJET_CUBLASLT, toolkit("libcublasLt.so")...)
	return err
}

// loadCompiler returns NVRTC's version.
func loadCompiler() (major, minor int, err error) {
	path, err := load(C.GOJET_NVRTC, toolkit("libnvrtc.so")...)
	if err != nil {
		return 0, 0, err
	}
	if major, minor, err = nvrtc.Version(); err != nil {
		return 0, 0, fmt.Errorf("nvrtcVersion: %w", err)
	}
	// It finds the second half of itself where the system looks, or already loaded.
	if dir := filepath.Dir(path); dir != "." {
		file := C.CString(filepath.Join(dir, fmt.Sprintf("libnvrtc-builtins.so.%d.%d", major, minor)))
		defer C.free(unsafe.Pointer(file))
		var why *C.char
		C.gojet_open(file, &why)
	}
	return major, minor, nil
}

// toolkit lists where a library of the toolkit may be: where the system looks, where CUDA_HOME says, in the usual place.
func toolkit(name string) []string {
	name = fmt.Sprintf("%s.%d", name, C.CUDA_VERSION/1000)
	list := []string{name}
	for _, home := range []string{os.Getenv("CUDA_HOME"), "/usr/local/cuda"} {
		if home != "" {
			list = append(list, filepath.Join(home, "lib64", name), filepath.Join(home, "lib", name))
		}
	}
	return list
}

// load loads the first of these files that can be.
func load(library C.int, paths ...string) (string, error) {
	var first error
	for _, path := range paths {
		p := C.CString(path)
		var why *C.char
		h := C.gojet_open(p, &why)
		C.free(unsafe.Pointer(p))
		if h != nil {
			if C.gojet_bind(library, h) == 0 {
				return "", fmt.Errorf("%s has none of the functions of CUDA %d.%d", path, C.CUDA_VERSION/1000, C.CUDA_VERSION%1000/10)
			}
			return path, nil
		}
		if first == nil {
			first = fmt.Errorf("%s", C.GoString(why))
		}
	}
	if len(paths) > 1 {
		return "", fmt.Errorf("%w, nor is it where CUDA_HOME says or in /usr/local/cuda: gojet needs the CUDA %d toolkit that it was built with (or set LD_LIBRARY_PATH)", first, C.CUDA_VERSION/1000)
	}
	return "", first
}

// cudaError is a failure of the driver, by CUDA's own name and words.
type cudaError int

func (e cudaError) Error() string {
	name, text := C.gojet_error_name(C.int(e)), C.gojet_error_text(C.int(e))
	if name == nil {
		return fmt.Sprintf("CUDA error %d", int(e))
	}
	return C.GoString(name) + ": " + C.GoString(text)
}

// failed names the call that failed; it takes both our own results and the errors of gorgonia.org/cu, which are CUDA's
// numbers under shorter names.
func failed(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		err = cudaError(v.Int())
	}
	return fmt.Errorf("%s: %w", call, err)
}

// check is failed for a result of our own calls.
func check(call string, result C.int) error {
	if result == 0 {
		return nil
	}
	return failed(call, cudaError(result))
}
