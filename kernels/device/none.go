//go:build !gpu && !(emulate && linux && cgo)

package device

import "fmt"

// Built says whether this build has a driver.
const Built = false

// open reports how to get a build with a driver.
func open(int) (driver, error) {
	return nil, fmt.Errorf("%w: this gojet was built without GPU support; build it with 'make gpu' (needs Go, a C compiler and the CUDA toolkit)", ErrNone)
}
