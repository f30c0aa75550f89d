package sampling

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// run pushes the text in pieces of size bytes and returns all that was shown.
func run(t *testing.T, stops *Stops, text string, size int) (shown string, stopped bool) {
	t.Helper()
	s := stops.Stream()
	var out []byte
	for len(text) > 0 && !stopped {
		n := min(size, len(text))
		out, stopped = s.Push(out, text[:n])
		text = text[n:]
	}
	if _, matched := s.Matched(); matched != stopped {
		t.Errorf("Matched says %v, Push %v", matched, stopped)
	}
	return string(s.Flush(out)), stopped
}

// cut is what the streams should show: the text before the stop string that ends first, the longest of those.
func cut(text string, stops []string) (string, bool) {
	for end := 1; end <= len(text); end++ {
		longest := 0
		for _, s := range stops {
			if strings.HasSuffix(text[:end], s) {
				longest = max(longest, len(s))
			}
		}
		if longest > 0 {
			return text[:end-longest], true
		}
	}
	return text, false
}

func TestStops(t *testing.T) {
	for _, tc := range []struct {
		text  string
		stops []string
		want  string
	}{
		{"nothing to find", nil, "nothing to find"},
		{"one\n\ntwo", []string{"\n\n"}, "one"},
		{"a<|im_end|>b", []string{"<|im_end|>"}, "a"},
		{"a<|im_en", []string{"<|im_end|>"}, "a<|im_en"},
		{"aabaac", []string{"aac"}, "aab"},
		{"abcd", []string{"abcd", "bc"}, "a"},
		{"xabc", []string{"c", "abc", "bc"}, "x"},
		{"abab", []string{"abab", "ab"}, ""},
		{"mississippi", []string{"issip"}, "miss"},
		{"Gruß, 世界!", []string{"界"}, "Gruß, 世"},
		{"same twice", []string{"twice", "twice"}, "same "},
		{"stop", []string{"stop"}, ""},
	} {
		stops, err := NewStops(tc.stops)
		if err != nil {
			t.Fatal(err)
		}
		for size := 1; size <= len(tc.text); size++ {
			got, stopped := run(t, stops, tc.text, size)
			if got != tc.want || stopped != (tc.want != tc.text) {
				t.Errorf("%q, stops %q, pieces of %d: %q (stopped %v), want %q", tc.text, tc.stops, size, got, stopped, tc.want)
			}
		}
	}
}

func TestStopsHoldBack(t *testing.T) {
	stops, err := NewStops([]string{"END", "NDX"})
	if err != nil {
		t.Fatal(err)
	}
	s := stops.Stream()
	for _, step := range []struct{ piece, shown string }{
		{"a", "a"}, {"E", ""}, {"N", ""}, {"N", "EN"}, {"Db", "NDb"}, {"E", ""}, {"END", "E"}, {"more", ""},
	} {
		if got, _ := s.Push(nil, step.piece); string(got) != step.shown {
			t.Errorf("after %q: shown %q, want %q", step.piece, got, step.shown)
		}
	}
	if m, ok := s.Matched(); m != "END" || !ok {
		t.Errorf("matched %q, %v", m, ok)
	}
	if rest := s.Flush(nil); len(rest) > 0 {
		t.Errorf("after the stop string %q came out", rest)
	}
}

func TestStopsRefused(t *testing.T) {
	for want, stops := range map[string][]string{
		"stop string 1 is empty": {"a", ""},
		"not valid UTF-8":        {"\xff"},
		"more than":              {strings.Repeat("a", MaxStopBytes), "b"},
	} {
		if _, err := NewStops(stops); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestStopsWhole holds back only what may begin a stop string, and cuts no character in two.
func TestStopsWhole(t *testing.T) {
	stops, err := NewStops([]string{"é!", "世界"})
	if err != nil {
		t.Fatal(err)
	}
	s := stops.Stream()
	var all []byte
	for _, r := range "éé世é世世é!" {
		out, _ := s.Push(nil, string(r))
		if !utf8.Valid(out) {
			t.Errorf("%q is not whole characters", out)
		}
		all = append(all, out...)
	}
	if string(all) != "éé世é世世" {
		t.Errorf("shown %q", all)
	}
}

func TestStopsSteadyMemory(t *testing.T) {
	stops, err := NewStops([]string{strings.Repeat("a", 500) + "b", "abc"})
	if err != nil {
		t.Fatal(err)
	}
	s := stops.Stream()
	piece, dst := strings.Repeat("a", 100), make([]byte, 0, 1000)
	for range 20 {
		s.Push(dst, piece)
	}
	if n := testing.AllocsPerRun(100, func() { s.Push(dst, piece) }); n != 0 {
		t.Errorf("%v allocations a piece", n)
	}
	if cap(s.text) > 4096 {
		t.Errorf("%d bytes held for 500 of stop string", cap(s.text))
	}
}

func FuzzStops(f *testing.F) {
	f.Add("a\x00ab\x00bab", "aabab", 2)
	f.Add("issi\x00ssip", "mississippi", 1)
	f.Fuzz(func(t *testing.T, joined, text string, size int) {
		if len(joined) > 200 || len(text) > 200 {
			return
		}
		list := strings.Split(joined, "\x00")
		stops, err := NewStops(list)
		if err != nil {
			return
		}
		want, wantStop := cut(text, list)
		if got, stopped := run(t, stops, text, 1+abs(size)%7); got != want || stopped != wantStop {
			t.Errorf("%q, stops %q: %q (stopped %v), want %q (%v)", text, list, got, stopped, want, wantStop)
		}
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

func TestStopsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	word := func(most int) string {
		b := make([]byte, 1+r.IntN(most))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 2000 {
		list := make([]string, 1+r.IntN(6))
		for i := range list {
			list[i] = word(8)
		}
		stops, err := NewStops(list)
		if err != nil {
			t.Fatal(err)
		}
		text := word(60)
		want, wantStop := cut(text, list)
		if got, stopped := run(t, stops, text, 1+r.IntN(5)); got != want || stopped != wantStop {
			t.Fatalf("%q, stops %q: %q (stopped %v), want %q (%v)", text, list, got, stopped, want, wantStop)
		}
	}
}

func BenchmarkStops(b *testing.B) {
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(9, 10))
			list := make([]string, n)
			for i := range list {
				w := make([]byte, 12)
				for j := range w {
					w[j] = byte('a' + r.IntN(26))
				}
				list[i] = string(w) + "!"
			}
			stops, err := NewStops(list)
			if err != nil {
				b.Fatal(err)
			}
			text := strings.Repeat("the quick brown fox jumps over a lazy dog; ", 25)
			s := stops.Stream()
			var dst []byte
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dst, _ = s.Push(dst[:0], text)
			}
		})
	}
}
