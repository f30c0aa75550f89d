package tokenizer

import (
	"slices"
	"testing"
)

func TestBytes(t *testing.T) {
	b, err := NewBytes("<bos>", "<eos>")
	if err != nil {
		t.Fatal(err)
	}
	const text = "<bos>é\n<eos>"
	if got, want := b.Encode(text), []int32{256, 0xC3, 0xA9, '\n', 257}; !slices.Equal(got, want) {
		t.Errorf("Encode: %v, want %v", got, want)
	}
	if got := b.EncodeOrdinary(text); len(got) != len(text) || b.Decode(got) != text {
		t.Errorf("EncodeOrdinary: %v", got)
	}
	if got := b.Decode(b.Encode(text)); got != text {
		t.Errorf("Decode: %q", got)
	}
	if got := b.Decode(b.Encode(text), SkipSpecial); got != "é\n" {
		t.Errorf("Decode without special tokens: %q", got)
	}
	if b.VocabSize() != 258 || len(b.Specials()) != 2 {
		t.Errorf("%d tokens, specials %v", b.VocabSize(), b.Specials())
	}
	for id := range int32(b.VocabSize()) {
		name, ok := b.Token(id)
		if back, found := b.ID(name); !ok || !found || back != id {
			t.Errorf("token %d is %q, %t, which is token %d, %t", id, name, ok, back, found)
		}
	}
	for _, id := range []int32{-1, 258} {
		if name, ok := b.Token(id); ok {
			t.Errorf("token %d is %q", id, name)
		}
	}
	for _, name := range []string{"", "ab", "中"} {
		if id, ok := b.ID(name); ok {
			t.Errorf("%q is token %d", name, id)
		}
	}
	if name, _ := b.Token(' '); name != "Ġ" {
		t.Errorf("the space is %q", name)
	}
}

func TestBytesRefuses(t *testing.T) {
	for _, specials := range [][]string{{""}, {"<a>", "<a>"}} {
		if _, err := NewBytes(specials...); err == nil {
			t.Errorf("%q: no error", specials)
		}
	}
}
