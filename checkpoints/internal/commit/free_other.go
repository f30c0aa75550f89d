//go:build !linux && !darwin

package commit

import "errors"

func free(string) (int64, error) { return 0, errors.ErrUnsupported }
