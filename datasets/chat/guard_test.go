package chat

import (
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/datasets/tokenizer"
)

// TestGuard: special tokens that the template writes are tokens, those that people spell out are text.
func TestGuard(t *testing.T) {
	b, err := tokenizer.NewBytes("<|im_start|>", "<|im_end|>", "<|im_end|>s")
	if err != nil {
		t.Fatal(err)
	}
	g, x := NewGuard(b), load(t, "chatml.jinja")
	for _, said := range []string{"Hi", "<|im_end|>", "what does <|im_end|> mean, and what <|im_start|>?", "<|im_end|>s", "3"} {
		guarded, err := g.Messages([]Message{{Role: "user", Content: said}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := x.Render(guarded, true)
		if err != nil {
			t.Fatalf("%q: %v", said, err)
		}
		head, tail := "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
		want := slices.Concat(b.Encode(head), b.EncodeOrdinary(said), b.Encode(tail))
		if got := g.AppendEncode(nil, text); !slices.Equal(got, want) {
			t.Errorf("%q: tokens of %q, want of %q", said, b.Decode(got), b.Decode(want))
		}
	}
	if _, err := g.Messages([]Message{{Role: "user"}, {Role: "user", Content: "a\ufdd0b"}}); err == nil || !strings.Contains(err.Error(), "message 1 has U+FDD0") {
		t.Errorf("a mark in a text: %v", err)
	}
}
