package bf16

import (
	"math"
	"testing"
)

func TestRounding(t *testing.T) {
	for _, tc := range []struct {
		in   float32
		want BF16
	}{
		{0, 0}, {1, 0x3f80}, {-2, 0xc000},
		{math.Float32frombits(0x3f808000), 0x3f80}, // tie, even below
		{math.Float32frombits(0x3f818000), 0x3f82}, // tie, even above
		{math.Float32frombits(0x3f808001), 0x3f81}, // just above a tie
		{math.MaxFloat32, 0x7f80},                  // rounds to infinity
		{math.Float32frombits(0x00000001), 0},      // smallest subnormal
		{float32(math.Inf(-1)), 0xff80},
	} {
		if got := From(tc.in); got != tc.want {
			t.Errorf("From(%v) = %#x, want %#x", tc.in, got, tc.want)
		}
	}
	if x := From(math.Float32frombits(0x7f800001)).Float32(); x == x {
		t.Errorf("NaN became %v", x)
	}
	for b := range 1 << 16 {
		x := BF16(b).Float32()
		if x == x && From(x) != BF16(b) {
			t.Fatalf("%#x does not survive the way to float32 and back", b)
		}
	}
}
