//go:build !gpu

package device

import "fmt"

// Rehearse opens a device that only compiles, which this build cannot.
func Rehearse(int, int) (*Device, error) {
	return nil, fmt.Errorf("%w: this gojet was built without CUDA's compiler", ErrNone)
}
