package linearloss

import (
	"testing"

	"github.com/gojet/gojet/kernels/device"
)

// The logits that are held stay within their room, in pieces of like size that make whole tiles.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		n, vocab         int
		t                device.Type
		gradient, logits int
		wide             bool
	}{
		{8192, 151936, device.BF16, 8192, 1024, false},
		{8192, 151936, device.Float32, 4096, 512, false},
		{16384, 151936, device.BF16, 8192, 1024, true},
		{20000, 151936, device.BF16, 6784, 1024, true},
		{100, 151936, device.BF16, 100, 100, false},
		{1 << 20, 1000, device.BF16, 1 << 20, 149888, false},
		{0, 1000, device.BF16, 0, 0, false},
	} {
		w := workspace(usual(), c.n, c.vocab, 8, true, c.t)
		if w.gradient != c.gradient || w.logits != c.logits || (w.wide > 0) != c.wide {
			t.Errorf("%d tokens of %d %s: pieces of %d and %d, float32 sums %v, want %d, %d, %v", c.n, c.vocab, c.t, w.gradient, w.logits, w.wide > 0, c.gradient, c.logits, c.wide)
		}
		if most := int64(5<<29 + 5<<26 + 4*8*c.vocab + 16*c.n + 4096); w.bytes > most {
			t.Errorf("%d tokens of %d %s: %d bytes, want %d at most", c.n, c.vocab, c.t, w.bytes, most)
		}
	}
}
