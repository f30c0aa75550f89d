package datasets

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzOpenCache: whatever a file holds, it is an error or a cache that can be gone through.
func FuzzOpenCache(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "c.safetensors")
	d, err := newDraft(dir)
	if err != nil {
		f.Fatal(err)
	}
	d.facts.Key = "k"
	for _, doc := range []encoded{{[]int32{1, 2, 3}, []int{0, 2}}, {[]int32{4}, nil}} {
		if err := d.add(doc.tokens, doc.hidden); err != nil {
			f.Fatal(err)
		}
	}
	if err := d.write(path); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "c.safetensors")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := openCache(path, "k")
		if err != nil {
			return
		}
		defer c.close()
		through(t, &c.corpus)
	})
}

// FuzzCorpus: borders that pass the check lead nowhere outside.
func FuzzCorpus(f *testing.F) {
	f.Add(uint8(10), []byte{3, 4, 10}, []byte{0, 2, 5, 6})
	f.Add(uint8(5), []byte{5, 5}, []byte{1})
	f.Fuzz(func(t *testing.T, tokens uint8, ends, hidden []byte) {
		c := &corpus{tokens: make([]int32, tokens)}
		for _, b := range ends {
			c.ends = append(c.ends, uint64(b))
		}
		for _, b := range hidden {
			c.hidden = append(c.hidden, uint64(b))
		}
		if c.check() == nil {
			through(t, c)
		}
	})
}

// through makes an epoch of batches and counts the tokens.
func through(t *testing.T, c *corpus) {
	if c.documents() == 0 {
		return
	}
	l := train(t, memory(t, config(nil), c), Shape{Rows: 2, Length: 5})
	tokens := 0
	for step := range l.Steps() {
		b := batch(t, l, step)
		if b.Epoch == 0 {
			tokens += b.Tokens
		}
	}
	if tokens < len(c.tokens) {
		t.Errorf("%d tokens came in an epoch, want %d", tokens, len(c.tokens))
	}
}
