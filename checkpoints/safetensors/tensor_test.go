package safetensors

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/bf16"
)

var inf = float32(math.Inf(1))

func TestFloat32s(t *testing.T) {
	le := binary.LittleEndian
	nan := float32(math.NaN())
	for _, tc := range []struct {
		dtype DType
		data  []byte
		want  []float32
	}{
		{BOOL, []byte{0, 1, 2}, []float32{0, 1, 1}},
		{U8, []byte{0, 255}, []float32{0, 255}},
		{I8, []byte{127, 128}, []float32{127, -128}},
		{U16, []byte{255, 255}, []float32{65535}},
		{I16, []byte{255, 255, 0, 128}, []float32{-1, -32768}},
		{U32, le.AppendUint32(nil, 1<<31), []float32{1 << 31}},
		{I32, le.AppendUint32(nil, 1<<31), []float32{-1 << 31}},
		{U64, le.AppendUint64(nil, 1<<63), []float32{1 << 63}},
		{I64, le.AppendUint64(nil, 1<<63), []float32{-1 << 63}},
		{F32, le.AppendUint32(nil, math.Float32bits(-1.5)), []float32{-1.5}},
		{F64, le.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
		{BF16, []byte{0x80, 0x3f, 0x80, 0xff}, []float32{1, -inf}},
		{F16, []byte{0x00, 0x3c, 0x01, 0x00, 0xff, 0x7b}, []float32{1, 0x1p-24, 65504}},
		{F8_E4M3, []byte{0x00, 0x80, 0x01, 0x38, 0x7e, 0xfe, 0x7f, 0xff}, []float32{0, 0, 0x1p-9, 1, 448, -448, nan, nan}},
		{F8_E5M2, []byte{0x01, 0x3c, 0x7b, 0xfb, 0x7c, 0xfc, 0x7d}, []float32{0x1p-16, 1, 57344, -57344, inf, -inf, nan}},
		{F8_E4M3FNUZ, []byte{0x01, 0x40, 0x7f, 0xff, 0x80}, []float32{0x1p-10, 1, 240, -240, nan}},
		{F8_E5M2FNUZ, []byte{0x01, 0x40, 0x7f, 0xff, 0x80}, []float32{0x1p-17, 1, 57344, -57344, nan}},
		{F8_E8M0, []byte{0, 127, 254, 255}, []float32{0x1p-127, 1, 0x1p127, nan}},
		{F4, []byte{0x10, 0x32, 0x54, 0x76, 0x9f}, []float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, -6, -0.5}},
		{F6_E2M3, []byte{0x01, 0xf2, 0x7d}, []float32{0.125, 1, 7.5, 7.5}}, // codes 1, 8, 31, 31
		{F6_E3M2, []byte{0x01, 0xf3, 0xfd}, []float32{0.0625, 1, 28, -28}}, // codes 1, 12, 31, 63
	} {
		x := Tensor{Name: "x", DType: tc.dtype, Data: tc.data}
		got, err := x.Float32s()
		if err != nil {
			t.Errorf("%v: %v", tc.dtype, err)
			continue
		}
		same := func(a, b float32) bool { return a == b || a != a && b != b }
		if !slices.EqualFunc(got, tc.want, same) {
			t.Errorf("%v: % x is %v, want %v", tc.dtype, tc.data, got, tc.want)
		}
		wide, err := x.Float64s()
		if err != nil {
			t.Errorf("%v: %v", tc.dtype, err)
		}
		for i, v := range wide {
			if !same(float32(v), tc.want[i]) {
				t.Errorf("%v as float64: element %d is %v, want %v", tc.dtype, i, v, tc.want[i])
			}
		}
	}
}

func TestComplex(t *testing.T) {
	x := Tensor{Name: "x", DType: C64, Data: binary.LittleEndian.AppendUint64(nil, uint64(math.Float32bits(-2))<<32|uint64(math.Float32bits(1)))}
	if got, err := x.Complex64s(); err != nil || !slices.Equal(got, []complex64{1 - 2i}) {
		t.Errorf("%v, %v", got, err)
	}
	for what, err := range map[string]error{
		"Float32s": second(x.Float32s()), "Float64s": second(x.Float64s()), "Int64s": second(x.Int64s()),
		"Complex64s of F32": second(Tensor{DType: F32}.Complex64s()),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestIntegers(t *testing.T) {
	le := binary.LittleEndian
	for _, tc := range []struct {
		dtype DType
		data  []byte
		want  []int64
		fits  bool // into int32
	}{
		{BOOL, []byte{0, 7}, []int64{0, 1}, true},
		{U8, []byte{255}, []int64{255}, true},
		{I8, []byte{255}, []int64{-1}, true},
		{U16, []byte{255, 255}, []int64{65535}, true},
		{I16, []byte{255, 255}, []int64{-1}, true},
		{U32, []byte{255, 255, 255, 255}, []int64{1<<32 - 1}, false},
		{I32, []byte{255, 255, 255, 255}, []int64{-1}, true},
		{I64, le.AppendUint64(nil, 1<<63), []int64{math.MinInt64}, false},
		{U64, le.AppendUint64(nil, 1<<63-1), []int64{math.MaxInt64}, false},
	} {
		x := Tensor{Name: "x", DType: tc.dtype, Data: tc.data}
		got, err := x.Int64s()
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, %v, want %v", tc.dtype, got, err, tc.want)
		}
		narrow, err := x.Int32s()
		if (err == nil) != tc.fits || err == nil && int64(narrow[0]) != tc.want[0] {
			t.Errorf("%v as int32: %v, %v", tc.dtype, narrow, err)
		}
	}
	if _, err := (Tensor{Name: "x", DType: U64, Data: le.AppendUint64(nil, 1<<63)}).Int64s(); err == nil || !strings.Contains(err.Error(), "9223372036854775808") {
		t.Errorf("2⁶³ as int64: %v", err)
	}
	if _, err := (Tensor{Name: "x", DType: F32, Data: make([]byte, 4)}).Int64s(); err == nil || !strings.Contains(err.Error(), "F32") {
		t.Errorf("F32 as int64: %v", err)
	}
}

func TestViews(t *testing.T) {
	buf := make([]byte, 17)
	for i := range buf {
		buf[i] = byte(i)
	}
	for shift := range 2 {
		data := buf[shift : shift+16]
		x := Tensor{Name: "x", DType: F32, Data: data}
		read, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if seen, ok := x.F32View(); ok && !slices.Equal(seen, read) || shift == 1 && ok {
			t.Errorf("shift %d: F32View %v, %v, want %v", shift, seen, ok, read)
		}
		for i := range read {
			if bits := binary.LittleEndian.Uint32(data[4*i:]); math.Float32bits(read[i]) != bits {
				t.Errorf("shift %d: element %d is %#x, want %#x", shift, i, math.Float32bits(read[i]), bits)
			}
		}
		x.DType = BF16
		if seen, ok := x.BF16View(); ok && seen[1] != bf16.BF16(binary.LittleEndian.Uint16(data[2:])) || shift == 1 && ok {
			t.Errorf("shift %d: BF16View %v, %v", shift, seen, ok)
		}
		if _, ok := x.F32View(); ok {
			t.Error("F32View of BF16")
		}
	}
	if x, ok := (Tensor{DType: F32}).F32View(); !ok || len(x) != 0 {
		t.Errorf("view of nothing: %v, %v", x, ok)
	}
}
