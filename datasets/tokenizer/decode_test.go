package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// byteDecoder returns a tokenizer whose ids are bytes, with one special token, 256.
func byteDecoder(t testing.TB) *Bytes {
	t.Helper()
	b, err := NewBytes("<eos>")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInvalidBytes(t *testing.T) {
	b := byteDecoder(t)
	// The examples of the Unicode Standard, tables 3-8 to 3-11, and the ends of the text.
	rows := map[string]string{
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A": strings.Repeat("\ufffd", 8) + "A",
		"\xed\xa0\x80\xed\xbf\xbf\xed\xafA": strings.Repeat("\ufffd", 8) + "A",
		"\xf4\x91\x92\x93\xffA\x80\xbfB":    strings.Repeat("\ufffd", 5) + "A\ufffd\ufffdB",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA": strings.Repeat("\ufffd", 4) + "A",
		"\xf0\x9f\x99":                      "\ufffd",
		"é\xe4\xb8":                         "é\ufffd",
		"\xe4\xb8\xe4\xb8\xad":              "\ufffd中",
		"\ufffd\x80":                        "\ufffd\ufffd",
	}
	for text, want := range rows {
		ids := b.EncodeOrdinary(text)
		if got := b.Decode(ids); got != want {
			t.Errorf("%q decodes to %q, want %q", text, got, want)
		}
		if got := stream(t, b, ids); got != want {
			t.Errorf("%q streams to %q, want %q", text, got, want)
		}
	}
}

// stream decodes ids one by one; every part must be valid UTF-8.
func stream(t *testing.T, v Vocabulary, ids []int32, with ...Option) string {
	t.Helper()
	d := NewDecoder(v, with...)
	var text strings.Builder
	for _, id := range ids {
		part := d.Push(id)
		if !utf8.ValidString(part) {
			t.Errorf("Push(%d) = %q", id, part)
		}
		text.WriteString(part)
	}
	text.WriteString(d.Flush())
	if again := d.Flush(); again != "" {
		t.Errorf("the second Flush gave %q", again)
	}
	return text.String()
}

func TestDecoderHoldsBack(t *testing.T) {
	b := byteDecoder(t)
	d := NewDecoder(b, SkipSpecial)
	rows := []struct {
		id   int32
		want string
	}{
		{'a', "a"}, {0xF0, ""}, {0x9F, ""}, {256, ""}, {0x99, ""}, {9999, ""}, {0x82, "🙂"},
		{0xE4, ""}, {'b', "\ufffdb"}, {0xC3, ""}, {0xC3, "\ufffd"}, {0xA9, "é"}, {0xE4, ""}, {0xB8, ""},
	}
	for _, row := range rows {
		if got := d.Push(row.id); got != row.want {
			t.Errorf("Push(%#x) = %q, want %q", row.id, got, row.want)
		}
	}
	if got := d.Flush(); got != "\ufffd" {
		t.Errorf("Flush() = %q", got)
	}
	if got := d.Push('c'); got != "c" {
		t.Errorf("after Flush, Push('c') = %q", got)
	}
}

func TestStreamEqualsDecode(t *testing.T) {
	b := tiny(t)
	rng := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		ids := make([]int32, rng.IntN(20))
		for i := range ids {
			ids[i] = rng.Int32N(int32(b.VocabSize())+2) - 1
		}
		for _, with := range [][]Option{nil, {SkipSpecial}} {
			want := b.Decode(ids, with...)
			if got := stream(t, b, ids, with...); got != want {
				t.Fatalf("%v streams to %q, decodes to %q", ids, got, want)
			}
			if !utf8.ValidString(want) {
				t.Fatalf("%v decodes to %q", ids, want)
			}
		}
	}
}
