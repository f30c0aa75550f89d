// Package tokenizer turns text into token ids and back: the byte-level byte-pair encodings of Hugging Face's
// tokenizer.json as Qwen2, Qwen2.5 and Qwen3 use them, and plain bytes.
//
// The ids and texts are exactly those of the tokenizers library (https://github.com/huggingface/tokenizers).
// A setting that would make them differ is refused when the file is loaded.
package tokenizer

// Tokenizer is what the rest of gojet knows of a tokenizer. Any number of goroutines may use one at once.
type Tokenizer interface {
	// Encode returns the tokens of text, special ones included where it spells them out.
	Encode(text string) []int32
	// AppendEncode appends Encode(text) to dst.
	AppendEncode(dst []int32, text string) []int32
	// EncodeOrdinary is Encode with special tokens taken as the characters they are spelled with.
	EncodeOrdinary(text string) []int32
	// Decode returns the text of ids, U+FFFD in place of invalid UTF-8.
	Decode(ids []int32, with ...Option) string
	Vocabulary
}

// Vocabulary knows the tokens one by one.
type Vocabulary interface {
	// Token returns the spelling of a token, ID the token of a spelling.
	Token(id int32) (token string, ok bool)
	ID(token string) (id int32, ok bool)
	// Piece returns the bytes a token stands for, "" for an unknown id.
	Piece(id int32) (bytes string, special bool)
	// VocabSize is the highest id plus one.
	VocabSize() int
	// Specials returns the special tokens by id.
	Specials() []AddedToken
}

// Option changes how ids are decoded.
type Option uint8

// SkipSpecial leaves special tokens out of the text.
const SkipSpecial Option = 1
