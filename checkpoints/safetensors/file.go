// Package safetensors reads and writes files of tensors (https://github.com/huggingface/safetensors):
// eight bytes of length, a header of JSON, the data of all tensors without gaps.
//
// Reading is strict: whatever the format leaves to the reader's goodwill (keys that come twice, tensors
// that share bytes, bytes of no tensor) is an error that names file, tensor, want and found.
package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
)

// File is an open file of tensors. Its methods may be called from several goroutines at once, except
// Close. The data is mapped, not read: it comes from the disk as it is touched, and no other program
// may truncate the file meanwhile.
type File struct {
	path    string
	header  *header
	data    []byte
	release func() error
}

// Open reads the header of the file at path and checks that it and the size of the file agree.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return nil, fmt.Errorf("safetensors: %w", err)
		}
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return f, nil
}

func open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is a %s, want a regular file", kind(info.Mode()))
	}
	if info.Size() == 0 || info.Size() > math.MaxInt {
		return nil, fmt.Errorf("file of %d bytes, want at least 8 and at most %d", info.Size(), math.MaxInt)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	whole, release, err := mapFile(file, int(info.Size()))
	if err != nil {
		return nil, err
	}
	h, err := readHeader(whole)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &File{path: path, header: h, data: whole[h.size:], release: release}, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	}
	return "device or socket"
}

// Path is what the file was opened by.
func (f *File) Path() string { return f.path }

// Len is the number of tensors.
func (f *File) Len() int { return len(f.header.tensors) }

// Names lists the tensors in the order of their data.
func (f *File) Names() []string {
	names := make([]string, f.Len())
	for i, e := range f.header.tensors {
		names[i] = e.name
	}
	return names
}

// Tensor finds a tensor by name. Its data is valid until Close.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.header.index[name]
	if !ok || f.release == nil {
		return Tensor{}, false
	}
	e := f.header.tensors[i]
	return Tensor{Name: e.name, DType: e.dtype, Shape: f.header.shape(e), Data: f.data[e.begin:e.end:e.end]}, true
}

// Metadata returns a copy of the header's free text; it is empty where there is none.
func (f *File) Metadata() map[string]string {
	m := make(map[string]string, len(f.header.metadata))
	maps.Copy(m, f.header.metadata)
	return m
}

// Close gives the data back; no tensor of the file may be used after, and Tensor finds none. A second Close does nothing.
func (f *File) Close() error {
	release := f.release
	if release == nil {
		return nil
	}
	f.release, f.data = nil, nil
	return release()
}
