package safetensors

import "fmt"

// DType is the type of a tensor's elements. The order is the format's own, by alignment: writers put
// the tensors of greater types first.
type DType uint8

// The element types that the format names. F4 is E2M1; the F6, F8_E8M0 and F4 types are those of the
// OCP microscaling formats (https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf),
// F8_E5M2 and F8_E4M3 those of https://arxiv.org/abs/2209.05433, FNUZ those of https://arxiv.org/abs/2206.02915.
const (
	BOOL DType = iota
	F4
	F6_E2M3
	F6_E3M2
	U8
	I8
	F8_E5M2
	F8_E4M3
	F8_E8M0
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	bits int
}{
	BOOL: {"BOOL", 8}, F4: {"F4", 4}, F6_E2M3: {"F6_E2M3", 6}, F6_E3M2: {"F6_E3M2", 6},
	U8: {"U8", 8}, I8: {"I8", 8}, F8_E5M2: {"F8_E5M2", 8}, F8_E4M3: {"F8_E4M3", 8}, F8_E8M0: {"F8_E8M0", 8},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 8}, F8_E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16: {"I16", 16}, U16: {"U16", 16}, F16: {"F16", 16}, BF16: {"BF16", 16},
	I32: {"I32", 32}, U32: {"U32", 32}, F32: {"F32", 32},
	C64: {"C64", 64}, F64: {"F64", 64}, I64: {"I64", 64}, U64: {"U64", 64},
}

// String is the name in the header.
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Bits is the size of one element.
func (d DType) Bits() int { return dtypes[d].bits }

// ParseDType is the type of that name.
func ParseDType(name string) (DType, error) {
	for d, t := range dtypes {
		if t.name == name {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q, want one of BOOL, U8 … F32, F64 as the format spells them", name)
}

// byteLen is the size of a tensor, where it can be had at all.
func byteLen(d DType, shape []int) (int, error) {
	const maxInt = int(^uint(0) >> 1)
	n := 1
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > maxInt/dim {
			return 0, fmt.Errorf("shape %v has more elements than can be counted", shape)
		}
		n *= dim
	}
	if n > maxInt/d.Bits() {
		return 0, fmt.Errorf("shape %v of %v has more bits than can be counted", shape, d)
	}
	if n*d.Bits()%8 != 0 {
		return 0, fmt.Errorf("shape %v of %v ends inside a byte: %d bits", shape, d, n*d.Bits())
	}
	return n * d.Bits() / 8, nil
}
