//go:build !linux

package commit

import "errors"

// exchange swaps what two names stand for in one step, which only Linux offers.
func exchange(_, _ string) error { return errors.ErrUnsupported }
