package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckedInFilesAreCurrent(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../../matmul", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes; run `go run ./gemm -dir ../matmul` in kernels/asm", name)
		}
	}
}
