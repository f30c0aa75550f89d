package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/datasets/tokenizer"
)

type tokenizeFlags struct {
	tokenizer   string
	decode      bool
	ordinary    bool
	idsOnly     bool
	skipSpecial bool
	vectors     string
}

func newTokenize() *cobra.Command {
	var f tokenizeFlags
	c := &cobra.Command{
		Use:   "tokenize --tokenizer PATH [TEXT | ID ...]",
		Short: "Turn text into token ids and back",
		Long: `Turn text into token ids and back.

Each argument is one text; without arguments the text is the whole standard input, its last newline included.
The output has one token a line, its id and its text in quotes.`,
		Example: `  gojet tokenize --tokenizer model/ "Hello, world"
  gojet tokenize --tokenizer bytes --ids-only < text | gojet tokenize --tokenizer bytes --decode
  gojet tokenize --tokenizer model/tokenizer.json --vectors vectors.jsonl`,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := openTokenizer(f.tokenizer)
			if err != nil {
				return err
			}
			if f.skipSpecial && !f.decode {
				return errors.New("--skip-special goes with --decode")
			}
			switch {
			case f.vectors != "":
				if len(args) > 0 {
					return errors.New("--vectors takes no arguments")
				}
				return checkVectors(c.Context(), c.OutOrStdout(), t, f.vectors)
			case f.decode:
				return decodeIDs(c, t, f, args)
			default:
				return encodeTexts(c, t, f, args)
			}
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.tokenizer, "tokenizer", "", "`PATH` of a tokenizer.json or of the folder that holds one; \"bytes\" is one token a byte")
	flags.BoolVar(&f.decode, "decode", false, "turn ids, with blanks or commas between, into text")
	flags.BoolVar(&f.ordinary, "ordinary", false, "read special tokens in the text, such as <|im_end|>, as plain text")
	flags.BoolVar(&f.idsOnly, "ids-only", false, "write the ids alone, one text a line")
	flags.BoolVar(&f.skipSpecial, "skip-special", false, "with --decode, leave special tokens out of the text")
	flags.StringVar(&f.vectors, "vectors", "", "check the text, ids and decoded text on every line of a JSONL `FILE`")
	if err := c.MarkFlagRequired("tokenizer"); err != nil {
		panic(err)
	}
	for _, other := range []string{"ordinary", "ids-only"} {
		c.MarkFlagsMutuallyExclusive("decode", "vectors", other)
	}
	return c
}

// openTokenizer loads a tokenizer.json, from its folder too, or makes the byte tokenizer.
func openTokenizer(path string) (tokenizer.Tokenizer, error) {
	if path == "bytes" {
		return tokenizer.NewBytes()
	}
	return tokenizer.Load(path)
}

// input is the arguments, or the standard input as the only one.
func input(c *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	all, err := io.ReadAll(c.InOrStdin())
	return []string{string(all)}, err
}

func encodeTexts(c *cobra.Command, t tokenizer.Tokenizer, f tokenizeFlags, args []string) error {
	texts, err := input(c, args)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.OutOrStdout())
	for _, text := range texts {
		encode := t.Encode
		if f.ordinary {
			encode = t.EncodeOrdinary
		}
		ids := encode(text)
		if f.idsOnly {
			fmt.Fprintln(out, strings.Trim(fmt.Sprint(ids), "[]"))
			continue
		}
		for _, id := range ids {
			piece, _ := t.Piece(id)
			fmt.Fprintf(out, "%d\t%q\n", id, piece)
		}
	}
	return out.Flush()
}

func decodeIDs(c *cobra.Command, t tokenizer.Tokenizer, f tokenizeFlags, args []string) error {
	texts, err := input(c, args)
	if err != nil {
		return err
	}
	var ids []int32
	for _, text := range texts {
		more, err := parseIDs(text)
		if err != nil {
			return err
		}
		ids = append(ids, more...)
	}
	for _, id := range ids {
		if _, ok := t.Token(id); !ok {
			return fmt.Errorf("token id %d is not in the vocabulary of %d", id, t.VocabSize())
		}
	}
	var options []tokenizer.Option
	if f.skipSpecial {
		options = append(options, tokenizer.SkipSpecial)
	}
	_, err = io.WriteString(c.OutOrStdout(), t.Decode(ids, options...))
	return err
}

// parseIDs reads token ids with blanks, commas or brackets between.
func parseIDs(text string) ([]int32, error) {
	var ids []int32
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,\t\r\n[]", r) }) {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("token id %q is no whole number below 2^31", word)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// longestLine of a file of vectors, in bytes.
const longestLine = 64 << 20

// vector is one line of a file of vectors: a text, its ids, and the text that these ids stand for.
type vector struct {
	Text    *string `json:"text"`
	IDs     []int32 `json:"ids"`
	Decoded *string `json:"decoded"`
}

func checkVectors(ctx context.Context, out io.Writer, t tokenizer.Tokenizer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	number, count, wrong := 0, 0, 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff")))
		if len(line) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var v vector
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if v.Text == nil || v.IDs == nil || v.Decoded == nil {
			return fmt.Errorf("%s:%d: want the fields text, ids and decoded", path, number)
		}
		count++
		if found := v.compare(t); len(found) > 0 {
			wrong++
			for _, f := range found {
				if _, err := fmt.Fprintf(out, "line %d: %s\n", number, f); err != nil {
					return err
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", path, number+1, err)
	}
	if _, err := fmt.Fprintf(out, "%d vectors, %d mismatches\n", count, wrong); err != nil {
		return err
	}
	switch {
	case count == 0:
		return fmt.Errorf("%s holds no vectors", path)
	case wrong > 0:
		return fmt.Errorf("%s: %d of %d vectors do not match", path, wrong, count)
	}
	return nil
}

// compare lists what differs: the ids, the ids' text, and their text when it streams one id at a time.
func (v vector) compare(t tokenizer.Tokenizer) (found []string) {
	ids := t.Encode(*v.Text)
	if !slices.Equal(ids, v.IDs) {
		at := 0
		for at < min(len(ids), len(v.IDs)) && ids[at] == v.IDs[at] {
			at++
		}
		found = append(found, fmt.Sprintf("ids %v, want %v, the first difference at %d", ids, v.IDs, at))
	}
	if text := t.Decode(v.IDs); text != *v.Decoded {
		found = append(found, fmt.Sprintf("decoded %q, want %q", text, *v.Decoded))
	}
	var streamed strings.Builder
	stream := tokenizer.NewDecoder(t)
	for _, id := range v.IDs {
		streamed.WriteString(stream.Push(id))
	}
	streamed.WriteString(stream.Flush())
	if streamed.String() != *v.Decoded {
		found = append(found, fmt.Sprintf("decoded token by token %q, want %q", streamed.String(), *v.Decoded))
	}
	return found
}
