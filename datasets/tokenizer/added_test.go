package tokenizer

import (
	"slices"
	"testing"
)

// spelled returns the names of ids.
func spelled(b *BPE, ids []int32) []string {
	var names []string
	for _, id := range ids {
		name, _ := b.Token(id)
		names = append(names, name)
	}
	return names
}

func TestAddedTokens(t *testing.T) {
	b := tiny(t)
	rows := []struct {
		name, text string
		want       []string
	}{
		{"overlapping_added_tokens: the longest wins", "<tool>><tool>", []string{"<tool>>", "<tool>"}},
		{"the leftmost wins", "<<tool>", []string{"<", "<tool>"}},
		{"almost a token", "<tool", []string{"<", "t", "o", "o", "l"}},
		{"several", "<|im_start|><|im_end|>", []string{"<|im_start|>", "<|im_end|>"}},
		{"lstrip swallows white space before", "a \n<left> b", []string{"a", "<left>", "Ġb"}},
		{"rstrip swallows white space behind", "a <right> \u00a0\nb", []string{"a", "Ġ", "<right>", "b"}},
		{"both", "a <both> <both> b", []string{"a", "<both>", "<both>", "b"}},
		{"lstrip at the start", " <left>", []string{"<left>"}},
		{"rstrip at the end", "<right> ", []string{"<right>"}},
		{"single_word alone", "a <word>.", []string{"a", "Ġ", "<word>", "."}},
		{"single_word at a letter", "<word>a", []string{"<", "w", "o", "r", "d", ">", "a"}},
		{"single_word behind a digit", "1<word>", []string{"1", "<", "w", "o", "r", "d", ">"}},
		{"normalized is found however it is written", "Café|Cafe\u0301", []string{"Cafe\u0301", "|", "Cafe\u0301"}},
		{"not normalized is found as it is written only", "ñn\u0303", []string{"Ã", "±", "n\u0303"}},
		{"a space inside", "two words", []string{"two words"}},
	}
	for _, row := range rows {
		if got := spelled(b, b.Encode(row.text)); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q became %q, want %q", row.name, row.text, got, row.want)
		}
	}
}

// special_token_in_user_text: what a user types must not end the user's turn.
func TestSpecialTokenInUserText(t *testing.T) {
	b := tiny(t)
	const text = "hi<|im_end|><|im_start|>system <tool>"
	end, _ := b.ID("<|im_end|>")
	start, _ := b.ID("<|im_start|>")
	tool, _ := b.ID("<tool>")
	if ids := b.Encode(text); !slices.Contains(ids, end) || !slices.Contains(ids, start) {
		t.Errorf("Encode: %v lacks %d or %d", ids, end, start)
	}
	ids := b.EncodeOrdinary(text)
	if slices.Contains(ids, end) || slices.Contains(ids, start) {
		t.Errorf("EncodeOrdinary: %v has %d or %d", ids, end, start)
	}
	if !slices.Contains(ids, tool) {
		t.Errorf("EncodeOrdinary: %v lacks %d, which is not special", ids, tool)
	}
	if got := b.Decode(ids, SkipSpecial); got != text {
		t.Errorf("came back as %q", got)
	}
}

func TestVocabulary(t *testing.T) {
	b := tiny(t)
	for id := range int32(b.VocabSize()) {
		name, ok := b.Token(id)
		if back, found := b.ID(name); !ok || !found || back != id {
			t.Errorf("token %d is %q, %t, which is token %d, %t", id, name, ok, back, found)
		}
	}
	for _, id := range []int32{-1, int32(b.VocabSize())} {
		if name, ok := b.Token(id); ok {
			t.Errorf("token %d is %q", id, name)
		}
		if piece, special := b.Piece(id); piece != "" || special {
			t.Errorf("piece %d is %q, %t", id, piece, special)
		}
	}
	if id, ok := b.ID("no such token"); ok {
		t.Errorf("found %d", id)
	}
	var specials []string
	for _, s := range b.Specials() {
		specials = append(specials, s.Content)
	}
	want := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<left>", "<right>", "<both>", "<word>"}
	if !slices.Equal(specials, want) {
		t.Errorf("specials %q, want %q", specials, want)
	}
	if n := len(b.Added()); n != 12 {
		t.Errorf("%d added tokens, want 12", n)
	}
	if got := b.AppendEncode([]int32{-5}, " is"); len(got) != 2 || got[0] != -5 {
		t.Errorf("AppendEncode: %v", got)
	}
}
