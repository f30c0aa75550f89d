package device

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"
)

func TestCache(t *testing.T) {
	c := &cache{dir: t.TempDir() + "/kernels"}
	key := sha256.Sum256([]byte("source"))
	if _, ok := c.get(key); ok {
		t.Fatal("found what was never put")
	}
	c.put(key, []byte("machine code"))
	if b, ok := c.get(key); !ok || !bytes.Equal(b, []byte("machine code")) {
		t.Fatalf("got %q, %t", b, ok)
	}
	whole, err := os.ReadFile(c.path(key))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		damaged := bytes.Clone(whole)
		damaged[cut] ^= 1
		for _, b := range [][]byte{whole[:cut], damaged} {
			if err := os.WriteFile(c.path(key), b, 0o666); err != nil {
				t.Fatal(err)
			}
			if got, ok := c.get(key); ok {
				t.Fatalf("a damaged entry was taken: %q", got)
			}
		}
	}
	c.put(key, []byte("new code"))
	if b, ok := c.get(key); !ok || string(b) != "new code" {
		t.Errorf("got %q, %t", b, ok)
	}
	if list, _ := os.ReadDir(c.dir); len(list) != 1 {
		t.Errorf("files left: %v", list)
	}
	(&cache{}).put(key, nil)
	if _, ok := (&cache{}).get(key); ok {
		t.Error("found in no cache")
	}
}
