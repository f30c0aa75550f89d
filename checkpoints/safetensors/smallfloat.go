package safetensors

import (
	"math"

	"github.com/x448/float16"
)

// readSmallFloats decodes the types of at most eight bits. Elements smaller than a byte follow one
// another from the lowest bit of the first byte on.
func (t Tensor) readSmallFloats(dst []float32) {
	bits := t.DType.Bits()
	var table [256]float32
	for code := range 1 << bits {
		table[code] = smallFloat(t.DType, uint(code))
	}
	if bits == 8 {
		for i := range dst {
			dst[i] = table[t.Data[i]]
		}
		return
	}
	for i := range dst {
		at := i * bits
		word := uint(t.Data[at/8])
		if at/8+1 < len(t.Data) {
			word |= uint(t.Data[at/8+1]) << 8
		}
		dst[i] = table[word>>(at%8)&(1<<bits-1)]
	}
}

// smallFloat is the value of one code.
func smallFloat(d DType, code uint) float32 {
	nan := float32(math.NaN())
	switch d {
	case F4:
		return minifloat(code, 2, 1, 1)
	case F6_E2M3:
		return minifloat(code, 2, 3, 1)
	case F6_E3M2:
		return minifloat(code, 3, 2, 3)
	case F8_E4M3: // no infinity
		if code&0x7f == 0x7f {
			return nan
		}
		return minifloat(code, 4, 3, 7)
	case F8_E5M2: // the upper byte of a half
		return float16.Frombits(uint16(code) << 8).Float32()
	case F8_E4M3FNUZ, F8_E5M2FNUZ: // finite, no negative zero: its code is NaN
		if code == 0x80 {
			return nan
		}
		if d == F8_E4M3FNUZ {
			return minifloat(code, 4, 3, 8)
		}
		return minifloat(code, 5, 2, 16)
	case F8_E8M0: // an exponent alone
		if code == 0xff {
			return nan
		}
		return float32(math.Ldexp(1, int(code)-127))
	}
	panic("safetensors: " + d.String() + " is no small float")
}

// minifloat decodes sign, exponent and mantissa, where every exponent means a number.
func minifloat(code, exponent, mantissa uint, bias int) float32 {
	m := float64(code & (1<<mantissa - 1))
	e := int(code >> mantissa & (1<<exponent - 1))
	if e == 0 {
		e = 1 // subnormal
	} else {
		m += float64(uint(1) << mantissa)
	}
	v := math.Ldexp(m, e-bias-int(mantissa))
	if code>>(exponent+mantissa)&1 == 1 {
		v = -v
	}
	return float32(v)
}
