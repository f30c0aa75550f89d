package main

import (
	"bytes"
	"math"
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
		got, err := os.ReadFile(filepath.Join("../../vec", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes; run `go run ./vec -dir ../vec` in kernels/asm", name)
		}
	}
}

// A register that only AVX-512 has would be assembled without complaint and fail on older processors.
func TestAVX2StaysWithinItsRegisters(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	beyond := regexp.MustCompile(`\b(Z\d+|K[0-7]|[XY](1[6-9]|2\d|3[01]))\b`)
	if found := beyond.Find(files["avx2_amd64.s"]); found != nil {
		t.Errorf("AVX2 code uses register %s", found)
	}
	if !beyond.Match(files["avx512_amd64.s"]) {
		t.Error("AVX-512 code seems to use no register of its own: the check above finds nothing")
	}
}

func TestPolynomials(t *testing.T) {
	at := func(c []uint32, x float64) (y float64) {
		for i := len(c) - 1; i >= 0; i-- {
			y = y*x + float64(math.Float32frombits(c[i]))
		}
		return y
	}
	for i := range 1001 {
		r := (float64(i)/500 - 1) * math.Ln2 / 2
		if e := (1+r+r*r*at(expTail, r))/math.Exp(r) - 1; math.Abs(e) > 1e-8 {
			t.Errorf("exp(%v): error %.2g", r, e)
		}
		e := float64(i+1) / 1001
		u := 2 * e / (2 + e)
		if d := u*(1+u*u*at(logTail, u*u))/math.Log1p(e) - 1; math.Abs(d) > 2e-9 {
			t.Errorf("log1p(%v): error %.2g", e, d)
		}
	}
}
