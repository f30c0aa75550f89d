package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

func open1(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	metadata := map[string]string{"format": "pt", "quote\"d\n\x01": "é\\\t\r\b\f"}
	x := []float32{1, -1.00390625, 3.0e-5, float32(math.Inf(1))}
	sources := []Source{
		Float32s("b", []int{4}, BF16, Values(x)),
		Float32s("h", []int{2, 2}, F16, Values(x)),
		Float32s("f", []int{4, 1}, F32, Values(x)),
		Int64s("i", nil, []int64{-5}),
		Float32s("empty", []int{0, 3}, F32, Values(nil)),
	}
	if err := Write(path, sources, metadata); err != nil {
		t.Fatal(err)
	}
	f := open1(t, path)
	if want := []string{"i", "empty", "f", "b", "h"}; !slices.Equal(f.Names(), want) {
		t.Errorf("order %q, want %q", f.Names(), want)
	}
	if !reflect.DeepEqual(f.Metadata(), metadata) {
		t.Errorf("metadata %q, want %q", f.Metadata(), metadata)
	}
	for name, want := range map[string][]float32{
		"f": x,
		"b": {1, -1, 3.0040740966796875e-05, inf},          // the tie goes to even
		"h": {1, -1.00390625, 2.9981136322021484e-05, inf}, // the last a subnormal half
		"i": {-5}, "empty": {},
	} {
		tensor, ok := f.Tensor(name)
		got, err := tensor.Float32s()
		if !ok || err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	h, _ := f.Tensor("h")
	if !slices.Equal(h.Shape, []int{2, 2}) || h.DType != F16 || h.Len() != 4 {
		t.Errorf("h: %v %v", h.DType, h.Shape)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := int(raw[0]) | int(raw[1])<<8
	if n%8 != 0 || !json.Valid(raw[8:8+n]) {
		t.Errorf("header of %d bytes: %s", n, raw[8:8+n])
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	one := func(name string) Source { return Int64s(name, []int{1}, []int64{1}) }
	for _, tc := range []struct {
		name     string
		sources  []Source
		metadata map[string]string
		err      string
	}{
		{"twice", []Source{one("a"), one("a")}, nil, `tensor "a" comes twice`},
		{"empty name", []Source{one("")}, nil, `empty name`},
		{"path", []Source{one("a/b")}, nil, `looks like a path`},
		{"metadata's name", []Source{one("__metadata__")}, nil, `no tensor can have`},
		{"bytes as name", []Source{one("a\xff")}, nil, `no tensor can have`},
		{"bytes as metadata", nil, map[string]string{"k": "\xff"}, `not UTF-8`},
		{"negative", []Source{Int64s("a", []int{-1}, nil)}, nil, `negative dimension`},
		{"rank", []Source{Int64s("a", make([]int, 256), nil)}, nil, `256 dimensions`},
		{"dtype", []Source{{Name: "a", DType: 99, Shape: []int{1}}}, nil, `unknown dtype`},
		{"too few", []Source{Int64s("a", []int{2}, []int64{1})}, nil, `wrote 8 bytes, want 16 for I64 [2]`},
		{"too many", []Source{Int64s("a", []int{1}, []int64{1, 2})}, nil, `wrote 16 bytes, want 8 for I64 [1]`},
		{"two empty", []Source{Int64s("a", []int{0}, nil), Int64s("b", []int{0}, nil)}, nil, `tensor "b": a second tensor without elements`},
		{"too great for F16", []Source{Float32s("a", []int{2}, F16, Values([]float32{1, 65520}))}, nil, `tensor "a": element 1: 65520 is too great for F16`},
		{"too great for BF16", []Source{Float32s("a", []int{1}, BF16, Values([]float32{math.MaxFloat32}))}, nil, `too great for BF16`},
		{"no values", []Source{Float32s("a", []int{1}, F32, func() ([]float32, error) { return nil, errors.New("device lost") })}, nil, `tensor "a": device lost`},
	} {
		path := filepath.Join(dir, "x.safetensors")
		err := Write(path, tc.sources, tc.metadata)
		if err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Fatalf("%s: left behind %v, %v", tc.name, entries, err)
		}
	}
	if err := Write(filepath.Join(dir, "absent", "x"), nil, nil); err == nil {
		t.Error("wrote into a folder that is not there")
	}
}

// A header of a million tensors is read in memory that is a small multiple of its size.
func TestMillionTensors(t *testing.T) {
	if testing.Short() {
		t.Skip("80 MB of header")
	}
	n := 1_000_000
	if raceSlows {
		n = 50_000
	}
	path := filepath.Join(t.TempDir(), "million.safetensors")
	var header bytes.Buffer
	header.WriteByte('{')
	for i := range n {
		if i > 0 {
			header.WriteByte(',')
		}
		fmt.Fprintf(&header, `"layers.%d.weight":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, i, i, i+1)
	}
	header.WriteByte('}')
	size := header.Len() + n
	err := commit.File(path, func(w io.Writer) error {
		_, err := w.Write(file(header.String(), n))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	header = bytes.Buffer{}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	f := open1(t, path)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MB opened in %v, allocating %d MB", size>>20, took, allocated>>20)
	if f.Len() != n || allocated > 4*uint64(size) {
		t.Errorf("%d tensors, %d bytes allocated for a file of %d", f.Len(), allocated, size)
	}
	if x, ok := f.Tensor(fmt.Sprintf("layers.%d.weight", n-1)); !ok || x.Len() != 1 {
		t.Errorf("last tensor: %v, %v", x, ok)
	}
}
