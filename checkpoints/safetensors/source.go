package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/gojet/gojet/bf16"
	"github.com/x448/float16"
)

// Source is a tensor to be written. WriteTo is called once, when its place in the file is reached, and
// writes all its bytes.
type Source struct {
	Name    string
	DType   DType
	Shape   []int
	WriteTo func(w io.Writer) error
}

// Bytes is the size of the data, or what makes the tensor impossible.
func (s Source) Bytes() (int, error) {
	if err := checkName(s.Name); err != nil {
		return 0, err
	}
	if s.Name == metadataKey || !utf8.ValidString(s.Name) {
		return 0, fmt.Errorf("tensor %q: a name that no tensor can have", s.Name)
	}
	if int(s.DType) >= len(dtypes) {
		return 0, fmt.Errorf("tensor %q: unknown dtype %v", s.Name, s.DType)
	}
	if len(s.Shape) > maxRank {
		return 0, fmt.Errorf("tensor %q: %d dimensions, want at most %d", s.Name, len(s.Shape), maxRank)
	}
	n, err := byteLen(s.DType, s.Shape)
	if err != nil {
		return 0, fmt.Errorf("tensor %q: %w", s.Name, err)
	}
	return n, nil
}

// Source writes the tensor as it is.
func (t Tensor) Source() Source {
	return Source{t.Name, t.DType, t.Shape, func(w io.Writer) error {
		_, err := w.Write(t.Data)
		return err
	}}
}

// Int64s is the source of an I64 tensor.
func Int64s(name string, shape []int, x []int64) Source {
	return Source{name, I64, shape, func(w io.Writer) error {
		return encode(w, x, func(b []byte, v int64) ([]byte, error) {
			return binary.LittleEndian.AppendUint64(b, uint64(v)), nil
		})
	}}
}

// Float32s is the source of a tensor of type F32, BF16 or F16 (any other panics), rounded to nearest,
// ties to even. A finite element that is too great for the type is an error. Values is called once, as
// the tensor is written; its result is not kept, so it may return the same buffer for every tensor.
func Float32s(name string, shape []int, d DType, values func() ([]float32, error)) Source {
	appendValue, ok := map[DType]func([]byte, float32) ([]byte, error){F32: appendF32, BF16: appendBF16, F16: appendF16}[d]
	if !ok {
		panic(fmt.Sprintf("safetensors: tensor %q as %v, want F32, BF16 or F16", name, d))
	}
	return Source{name, d, shape, func(w io.Writer) error {
		x, err := values()
		if err != nil {
			return err
		}
		if raw, ok := bytesOf(x); ok && d == F32 {
			_, err = w.Write(raw)
			return err
		}
		return encode(w, x, appendValue)
	}}
}

// bytesOf is the memory of x, if that is how the format has it.
func bytesOf(x []float32) ([]byte, bool) {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x)), isLittleEndian()
}

// Values gives Float32s what is already there.
func Values(x []float32) func() ([]float32, error) {
	return func() ([]float32, error) { return x, nil }
}

func appendF32(b []byte, v float32) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v)), nil
}

func appendBF16(b []byte, v float32) ([]byte, error) {
	h := bf16.From(v)
	if h&0x7fff == 0x7f80 && !math.IsInf(float64(v), 0) {
		return b, fmt.Errorf("%v is too great for BF16", v)
	}
	return binary.LittleEndian.AppendUint16(b, uint16(h)), nil
}

func appendF16(b []byte, v float32) ([]byte, error) {
	h := float16.Fromfloat32(v)
	if h.IsInf(0) && !math.IsInf(float64(v), 0) {
		return b, fmt.Errorf("%v is too great for F16", v)
	}
	return binary.LittleEndian.AppendUint16(b, h.Bits()), nil
}

// encode writes x piece by piece.
func encode[E any](w io.Writer, x []E, appendValue func([]byte, E) ([]byte, error)) error {
	const piece = 1 << 13
	var buf []byte
	for start := 0; start < len(x); start += piece {
		buf = buf[:0]
		for i, v := range x[start:min(start+piece, len(x))] {
			var err error
			if buf, err = appendValue(buf, v); err != nil {
				return fmt.Errorf("element %d: %w", start+i, err)
			}
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
