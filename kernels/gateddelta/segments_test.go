package gateddelta

import "testing"

// TestSegment names the batches that are cut, and into how many segments.
func TestSegment(t *testing.T) {
	two := Config{Heads: 12, KeyDim: 96, ValueDim: 256}
	four := Config{Heads: 16, KeyDim: 128, ValueDim: 256}
	plain := Uncorrected(12, 96, 256, 1, 0)
	for _, c := range []struct {
		f          Config
		s, t, want int
	}{
		{two, 1, 65536, 5}, {two, 1, 32768, 5}, {two, 1, 4096, 5}, {two, 1, 1024, 1}, {two, 1, 1, 1},
		{two, 2, 4096, 1}, {two, 4, 4096, 1}, {two, 128, 2048, 1}, {two, 128, 1, 1},
		{four, 1, 32768, 4}, {four, 4, 4096, 1}, {plain, 1, 32768, 11}, {plain, 4, 4096, 1},
	} {
		n, got := c.s*c.t, 1
		if every := c.f.segment(n, c.s); every > 0 {
			if every%Chunk != 0 {
				t.Errorf("segments of %d tokens", every)
			}
			got = ceil(c.t, every)
		}
		if got != c.want {
			t.Errorf("H %d, %d sequences of %d tokens: %d segments, want %d", c.f.Heads, c.s, c.t, got, c.want)
		}
	}
}
