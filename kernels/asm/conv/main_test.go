package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestCheckedInFilesAreCurrent(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../../conv", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes; run `go run ./conv -dir ../conv` in kernels/asm", name)
		}
	}
}

// A register that only AVX-512 has would be assembled without complaint and fail on older processors.
func TestStaysWithinItsRegisters(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	beyond := regexp.MustCompile(`\b(Z\d+|K[0-7]|[XY](1[6-9]|2\d|3[01]))\b`)
	if found := beyond.Find(files["avx2_amd64.s"]); found != nil {
		t.Errorf("AVX2 code uses register %s", found)
	}
}
