package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/gojet/gojet/bf16"
	"github.com/x448/float16"
)

// Tensor is an array in the format's own bytes: row-major, little-endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar
	Data  []byte
}

// Len is the number of elements.
func (t Tensor) Len() int { return len(t.Data) * 8 / t.DType.Bits() }

func (t Tensor) cannot(what string) error {
	return fmt.Errorf("safetensors: tensor %q is %v, which has no exact %s values", t.Name, t.DType, what)
}

// Float32s returns the elements as float32, rounded to nearest where they have more digits. Booleans
// are 0 and 1. Complex elements are an error.
func (t Tensor) Float32s() ([]float32, error) {
	dst := make([]float32, t.Len())
	return dst, t.ReadFloat32s(dst)
}

// ReadFloat32s is Float32s into dst, which has Len elements.
func (t Tensor) ReadFloat32s(dst []float32) error {
	if len(dst) != t.Len() {
		panic(fmt.Sprintf("safetensors: tensor %q: dst has %d elements, want %d", t.Name, len(dst), t.Len()))
	}
	if x, ok := t.F32View(); ok {
		copy(dst, x)
		return nil
	}
	d, le := t.Data, binary.LittleEndian
	switch t.DType {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(d[4*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = bf16.BF16(le.Uint16(d[2*i:])).Float32()
		}
	case F16:
		for i := range dst {
			dst[i] = float16.Frombits(le.Uint16(d[2*i:])).Float32()
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(d[8*i:])))
		}
	case U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(d[8*i:]))
		}
	case C64:
		return t.cannot("float32")
	case F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ, F6_E2M3, F6_E3M2, F4:
		t.readSmallFloats(dst)
	default:
		for i := range dst {
			dst[i] = float32(t.integer(i))
		}
	}
	return nil
}

// Float64s returns the elements as float64, exactly, save 64-bit integers beyond 2⁵³, which are rounded.
func (t Tensor) Float64s() ([]float64, error) {
	dst, le := make([]float64, t.Len()), binary.LittleEndian
	switch t.DType {
	case F64:
		for i := range dst {
			dst[i] = math.Float64frombits(le.Uint64(t.Data[8*i:]))
		}
	case U64:
		for i := range dst {
			dst[i] = float64(le.Uint64(t.Data[8*i:]))
		}
	case I32, U32, I64:
		for i := range dst {
			dst[i] = float64(t.integer(i))
		}
	default: // what float32 holds exactly
		x, err := t.Float32s()
		if err != nil {
			return nil, t.cannot("float64")
		}
		for i, v := range x {
			dst[i] = float64(v)
		}
	}
	return dst, nil
}

// Complex64s returns the elements of a C64 tensor, real part first.
func (t Tensor) Complex64s() ([]complex64, error) {
	if t.DType != C64 {
		return nil, fmt.Errorf("safetensors: tensor %q is %v, want C64", t.Name, t.DType)
	}
	parts := Tensor{Name: t.Name, DType: F32, Data: t.Data}
	x, err := parts.Float32s()
	dst := make([]complex64, t.Len())
	for i := range dst {
		dst[i] = complex(x[2*i], x[2*i+1])
	}
	return dst, err
}

// integer is element i of a boolean or integer tensor other than U64.
func (t Tensor) integer(i int) int64 {
	d, le := t.Data, binary.LittleEndian
	switch t.DType {
	case BOOL:
		if d[i] != 0 {
			return 1
		}
		return 0
	case U8:
		return int64(d[i])
	case I8:
		return int64(int8(d[i]))
	case U16:
		return int64(le.Uint16(d[2*i:]))
	case I16:
		return int64(int16(le.Uint16(d[2*i:])))
	case U32:
		return int64(le.Uint32(d[4*i:]))
	case I32:
		return int64(int32(le.Uint32(d[4*i:])))
	case I64:
		return int64(le.Uint64(d[8*i:]))
	}
	panic("safetensors: " + t.DType.String() + " is no integer")
}

// Int64s returns the elements of a boolean or integer tensor; an element that int64 cannot hold, or
// another type of tensor, is an error.
func (t Tensor) Int64s() ([]int64, error) {
	switch t.DType {
	case BOOL, U8, I8, U16, I16, U32, I32, I64:
		dst := make([]int64, t.Len())
		for i := range dst {
			dst[i] = t.integer(i)
		}
		return dst, nil
	case U64:
		dst := make([]int64, t.Len())
		for i := range dst {
			v := binary.LittleEndian.Uint64(t.Data[8*i:])
			if v > math.MaxInt64 {
				return nil, fmt.Errorf("safetensors: tensor %q: element %d is %d, more than int64 holds", t.Name, i, v)
			}
			dst[i] = int64(v)
		}
		return dst, nil
	}
	return nil, t.cannot("int64")
}

// Int32s is Int64s for int32.
func (t Tensor) Int32s() ([]int32, error) {
	wide, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	dst := make([]int32, len(wide))
	for i, v := range wide {
		if int64(int32(v)) != v {
			return nil, fmt.Errorf("safetensors: tensor %q: element %d is %d, outside of int32", t.Name, i, v)
		}
		dst[i] = int32(v)
	}
	return dst, nil
}

// F32View returns the elements of an F32 tensor where they lie, to be read only, if the machine reads
// them as they are: aligned and little-endian.
func (t Tensor) F32View() ([]float32, bool) {
	if t.DType != F32 {
		return nil, false
	}
	return view[float32](t.Data)
}

// BF16View is F32View for BF16.
func (t Tensor) BF16View() ([]bf16.BF16, bool) {
	if t.DType != BF16 {
		return nil, false
	}
	return view[bf16.BF16](t.Data)
}

// isLittleEndian tells whether the machine has numbers in the format's order of bytes.
func isLittleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

func view[E float32 | bf16.BF16](data []byte) ([]E, bool) {
	var e E
	first := unsafe.Pointer(unsafe.SliceData(data))
	if !isLittleEndian() || uintptr(first)%unsafe.Alignof(e) != 0 {
		return nil, false
	}
	return unsafe.Slice((*E)(first), len(data)/int(unsafe.Sizeof(e))), true
}
