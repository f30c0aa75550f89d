package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Any file either loads and then works or gives one error.
func FuzzLoad(f *testing.F) {
	whole := tinyFile(f)
	f.Add(whole)
	f.Add(tinyFile(f, likeGPT2))
	f.Add(whole[:len(whole)/2])
	f.Add(strings.Replace(whole, `"id":340`, `"id":1000000000`, 1))
	f.Add(strings.Replace(whole, `"Ġ"`, `"\u0120"`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parse(text)
		if err != nil {
			return
		}
		const sample = "This is <tool> größer, 这是一个词元<|im_end|> \n"
		for _, id := range b.Encode(sample) {
			if _, ok := b.Token(id); !ok {
				t.Errorf("Encode made %d of %d tokens", id, b.VocabSize())
			}
		}
		b.Decode(b.EncodeOrdinary(sample))
	})
}

// What is encoded comes back, normalised.
func FuzzRoundTrip(f *testing.F) {
	// The tiny tokenizer with one token changed: the one that is decoded as it is not written.
	b, err := parse(strings.Replace(tinyFile(f), "Cafe\u0301", "Caff", 1))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "this is", "größe e\u0301 \r\n<|im_end|><tool>>", "这是\u3000一个 \u00a0", "'ſ 'LL\t\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			b.Decode(b.Encode(text))
			return
		}
		want := nfc(text)
		if other := norm.NFC.String(text); other != want && !strings.Contains(other, graphemeJoiner) &&
			!strings.ContainsFunc(text, func(r rune) bool { return within(marksSince9, r) }) {
			t.Errorf("nfc(%q) = %q, want %q", text, want, other)
		}
		got := b.Decode(b.EncodeOrdinary(text))
		for _, token := range b.Added() {
			if !token.Special && !token.Normalized && strings.Contains(text, token.Content) {
				got = nfc(got) // these are taken out first: marks beside them join nothing
			}
		}
		if got != want {
			t.Errorf("%q came back as %q, want %q", text, got, want)
		}
	})
}

// Decoding token by token and all at once give the same.
func FuzzStream(f *testing.F) {
	b := tiny(f)
	f.Add([]byte("\x00\x60\xff\x9f"), false)
	f.Add([]byte("\x01\x55\x00\x9d\x01\x56\x00\xf0"), true)
	f.Fuzz(func(t *testing.T, raw []byte, skip bool) {
		var ids []int32
		for i := 0; i+1 < len(raw); i += 2 {
			ids = append(ids, int32(raw[i])<<8|int32(raw[i+1]))
		}
		var with []Option
		if skip {
			with = append(with, SkipSpecial)
		}
		if got, want := stream(t, b, ids, with...), b.Decode(ids, with...); got != want {
			t.Errorf("%v streams to %q, decodes to %q", ids, got, want)
		}
	})
}
