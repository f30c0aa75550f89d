//go:build !unix

package safetensors

import (
	"io"
	"os"
)

// mapFile reads the n > 0 bytes of f into memory, where files cannot be mapped.
func mapFile(f *os.File, n int) (data []byte, release func() error, err error) {
	data = make([]byte, n)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, err
	}
	return data, func() error { return nil }, nil
}
