package tokenizer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxFile bounds what is read into memory. The largest vocabularies in use take some 35 MB.
const maxFile = 256 << 20

// Load reads a tokenizer.json, or the one in a directory.
func Load(path string) (*BPE, error) {
	path, text, err := readFile(path, "tokenizer.json")
	if err != nil {
		return nil, err
	}
	b, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return b, nil
}

// readFile returns the contents of path, or of the file called name if path is a directory.
func readFile(path, name string) (at, text string, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, name)
	}
	// Opening a pipe would wait for its writer, so look first.
	info, err := os.Stat(path)
	if err != nil {
		return path, "", fmt.Errorf("tokenizer: %w", err)
	}
	if !info.Mode().IsRegular() {
		return path, "", fmt.Errorf("tokenizer: %s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return path, "", fmt.Errorf("tokenizer: %w", err)
	}
	defer f.Close()
	var b strings.Builder
	b.Grow(int(min(info.Size(), maxFile)))
	if _, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil {
		return path, "", fmt.Errorf("tokenizer: %w", err)
	}
	if b.Len() > maxFile {
		return path, "", fmt.Errorf("tokenizer: %s has more than %d bytes", path, maxFile)
	}
	return path, b.String(), nil
}

// parse builds a tokenizer from the text of a tokenizer.json.
func parse(text string) (*BPE, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("not UTF-8")
	}
	j := newJSONText(text)
	var m model
	rest := map[string]any{}
	err := j.record(func(key string) (err error) {
		if key == "model" {
			return m.read(j)
		}
		rest[key], err = j.value()
		return err
	})
	if err == nil {
		err = j.end()
	}
	if err != nil {
		return nil, err
	}
	return build(&m, newSection("tokenizer", rest))
}

// build puts the parts of the file together; top has everything but the model.
func build(m *model, top *section) (*BPE, error) {
	b := &BPE{words: scanner{classes: newClasses()}}
	var err error
	if b.words.gpt2, err = preTokenizer(top); err != nil {
		return nil, err
	}
	if b.nfc, err = normalizer(top); err != nil {
		return nil, err
	}
	if err := around(top); err != nil {
		return nil, err
	}
	if b.added, err = addedTokens(top.list("added_tokens")); err != nil {
		return nil, err
	}
	if err := top.done(); err != nil {
		return nil, err
	}
	if err := m.settings(); err != nil {
		return nil, err
	}
	if err := b.vocabulary(m); err != nil {
		return nil, err
	}
	return b, b.matchers()
}

// matchers prepares the search for added tokens.
func (b *BPE) matchers() error {
	var raw, normal []AddedToken
	spelled := map[string]string{}
	b.special = map[int32]bool{}
	for _, t := range b.added {
		if t.Special {
			b.special[t.ID] = true
		}
		if !t.Normalized {
			raw = append(raw, t)
			continue
		}
		if b.nfc {
			content := t.Content
			t.Content = nfc(content)
			if twin, ok := spelled[t.Content]; ok {
				return fmt.Errorf("added_tokens: %q and %q are the same when normalised", clip(twin), clip(content))
			}
			spelled[t.Content] = content
		}
		normal = append(normal, t)
	}
	b.raw, b.normal = newMatcher(b.words.classes, raw), newMatcher(b.words.classes, normal)
	return nil
}
