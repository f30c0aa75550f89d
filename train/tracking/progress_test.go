package tracking

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestPlainProgress(t *testing.T) {
	var b strings.Builder
	now := time.Unix(0, 0)
	p := &plain{out: &b, every: 10 * time.Second, state: state{now: func() time.Time { return now }}}
	p.Start("warm", 120)
	for i := 1; i <= 120; i++ {
		now = now.Add(500 * time.Millisecond)
		p.Step(i, 4/float64(i), 1000)
		if i == 30 {
			if _, err := io.WriteString(p, "saved\n"); err != nil {
				t.Error(err)
			}
		}
	}
	p.Done()
	p.Start("", 1000) // resumed at step 900, and stopped early
	now = now.Add(time.Hour)
	p.Step(901, 2, 7)
	now = now.Add(time.Second)
	p.Step(902, 1.5, 7)
	p.Done()
	p.Done()
	p.Start("nothing", 3)
	p.Done()
	const want = `warm   1/120  loss 4.0000  2.00k tokens/s  1m00s left
warm  21/120  loss 0.19048  2.00k tokens/s  50s left
saved
warm  41/120  loss 0.097561  2.00k tokens/s  40s left
warm  61/120  loss 0.065574  2.00k tokens/s  30s left
warm  81/120  loss 0.049383  2.00k tokens/s  20s left
warm 101/120  loss 0.039604  2.00k tokens/s  10s left
warm 120/120  loss 0.033333  2.00k tokens/s  0s left
901/1000  loss 2.0000  0.00 tokens/s  4d03h left
902/1000  loss 1.5000  0.00 tokens/s  2d00h left
`
	if b.String() != want {
		t.Errorf("lines:\n%swant:\n%s", b.String(), want)
	}
}

// TestElsewhere: what is no terminal gets plain lines.
func TestElsewhere(t *testing.T) {
	var b strings.Builder
	p := NewProgress(&b, time.Hour)
	p.Start("warm", 2)
	p.Step(1, 3, 10)
	p.Step(2, 2, 10)
	p.Done()
	if got := b.String(); strings.Count(got, "\n") != 2 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\n' }) {
		t.Errorf("output %q, want two lines without control characters", got)
	}
}

func TestTexts(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 9.996: "10.0", 99.96: "100", 512: "512", 999.4: "999", 999.6: "1.00k", 1234: "1.23k",
		45678: "45.7k", 999999: "1.00M", 7.1e9: "7.10G", 1e13: "10.0T", 1e16: "10000T"} {
		if got := count(v); got != want {
			t.Errorf("count of %v is %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0s", 59.4: "59s", 59.6: "1m00s", 185: "3m05s", 7620: "2h07m", 86400*3 + 4*3600: "3d04h", 1e300: "forever"} {
		if got := secondsText(v); got != want {
			t.Errorf("%v seconds are %s, want %s", v, got, want)
		}
	}
}
