package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
)

// vector is what the tokenizers library makes of a text; dev/tokenizer_check.py writes them. The vectors of the
// fixtures have Text, IDs and Decoded only.
type vector struct {
	Text         string
	IDs          []int32
	Ordinary     []int32 // special tokens taken as plain text
	Decoded      string
	Skipped      *string // decoded without special tokens
	Noise        []int32 // any ids
	NoiseDecoded string  `json:"noise_decoded"`
}

func (v *vector) check(t *testing.T, b *BPE) {
	t.Helper()
	if got := b.Encode(v.Text); !slices.Equal(got, v.IDs) {
		t.Errorf("Encode(%q) = %v, want %v", v.Text, got, v.IDs)
	}
	if got := b.Decode(v.IDs); got != v.Decoded {
		t.Errorf("Decode(%v) = %q, want %q", v.IDs, got, v.Decoded)
	}
	if v.Skipped == nil {
		return
	}
	if got := b.EncodeOrdinary(v.Text); !slices.Equal(got, v.Ordinary) {
		t.Errorf("EncodeOrdinary(%q) = %v, want %v", v.Text, got, v.Ordinary)
	}
	if got := b.Decode(v.IDs, SkipSpecial); got != *v.Skipped {
		t.Errorf("Decode(%v, SkipSpecial) = %q, want %q", v.IDs, got, *v.Skipped)
	}
	if got := b.Decode(v.Noise); got != v.NoiseDecoded {
		t.Errorf("Decode(%v) = %q, want %q", v.Noise, got, v.NoiseDecoded)
	}
}

// checkVectors checks every line of a file of vectors and returns their number.
func checkVectors(t *testing.T, b *BPE, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Buffer(nil, 64<<20); lines.Scan() && !t.Failed(); n++ {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s:%d: %v", path, n+1, err)
		}
		v.check(t, b)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestVectors(t *testing.T) {
	t.Run("tiny", func(t *testing.T) {
		if n := checkVectors(t, tiny(t), "testdata/tiny_vectors.jsonl"); n != 120 {
			t.Errorf("%d vectors, want 120", n)
		}
	})
	t.Run("gpt2", func(t *testing.T) {
		if n := checkVectors(t, tiny(t, likeGPT2), "testdata/gpt2_vectors.jsonl"); n != 120 {
			t.Errorf("%d vectors, want 120", n)
		}
	})
	t.Run("qwen2.5", func(t *testing.T) {
		path := filepath.Join(fixtures.Dir(t), "tokenizer", "qwen2_5_vectors.jsonl")
		if n := checkVectors(t, qwen(t), path); n != 331 {
			t.Errorf("%d vectors, want 331", n)
		}
	})
	t.Run("extra", func(t *testing.T) {
		dir := os.Getenv("GOJET_TOKENIZER_VECTORS")
		if dir == "" {
			t.Skip("GOJET_TOKENIZER_VECTORS is not set (dev/tokenizer_check.py sets it)")
		}
		b, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d vectors agree", checkVectors(t, b, filepath.Join(dir, "vectors.jsonl")))
	})
}

// qwen loads the tokenizer of Qwen2.5, which lies beside the fixtures.
func qwen(t testing.TB) *BPE {
	t.Helper()
	dir := filepath.Join(fixtures.Dir(t), "..", "tokenizers", "qwen2.5")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no tokenizer beside the fixtures: %v", err)
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An edit changes a tokenizer file, decoded from JSON.
type edit func(file map[string]any)

// tinyFile returns the text of the tiny tokenizer's file after the edits.
func tinyFile(t testing.TB, edits ...edit) string {
	t.Helper()
	text, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(edits) == 0 {
		return string(text)
	}
	var file map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		e(file)
	}
	if text, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func tiny(t testing.TB, edits ...edit) *BPE {
	t.Helper()
	b, err := parse(tinyFile(t, edits...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// at returns the object reached by keys.
func at(file map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		file = file[k].(map[string]any)
	}
	return file
}

func likeGPT2(file map[string]any) {
	file["normalizer"] = nil
	file["pre_tokenizer"] = map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}
}
