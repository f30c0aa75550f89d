package datasets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gojet/gojet/datasets/source"
)

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// texts are n documents as JSON lines.
func texts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"text\": %q}\n", strings.Repeat(fmt.Sprint("word ", i, " "), 1+i%50))
	}
	return b.String()
}

type said struct {
	notices []string
	built   int
	last    Progress
}

func open(t *testing.T, c Config) (*Data, said, error) {
	t.Helper()
	var s said
	d, err := Open(t.Context(), c, Options{
		Progress: func(p Progress) { s.built++; s.last = p },
		Notice:   func(n string) { s.notices = append(s.notices, n) },
	})
	if err == nil {
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return d, s, err
}

func bytesOf(path, cache string) Config {
	return config(func(c *Config) { c.Path, c.Cache, c.Tokenizer = path, cache, "bytes" })
}

// content is the documents of a corpus as text, for the byte tokenizer.
func content(d *Data) (all []string) {
	for _, c := range d.caches {
		for i := range c.documents() {
			from, to := c.span(i)
			all = append(all, d.Tokenizer().Decode(c.tokens[from:to]))
		}
	}
	return all
}

// TestCache: documents come out as they went in, with one worker or more, and the second time from the cache.
func TestCache(t *testing.T) {
	path := filepath.Join(tree(t, map[string]string{"a.jsonl": texts(3000), "b.txt": "plain text", "c.txt": ""}), "*")
	var want []string
	for i := range 3000 {
		want = append(want, strings.Repeat(fmt.Sprint("word ", i, " "), 1+i%50))
	}
	want = append(want, "plain text")
	var first []byte
	for _, workers := range []int{1, 2, 4} {
		c := bytesOf(path, t.TempDir())
		c.Workers = workers
		d, s, err := open(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := content(d); !reflect.DeepEqual(got, want) {
			t.Errorf("%d workers: documents differ", workers)
		}
		if s.built < 2 || s.last.Documents != 3001 || s.last.Empty != 1 || s.last.Read != s.last.AllRead || s.last.Files != 3 {
			t.Errorf("%d workers: progress came %d times, the last %+v", workers, s.built, s.last)
		}
		data, err := os.ReadFile(d.caches[0].file.Path())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if string(data) != string(first) {
			t.Errorf("%d workers write another cache than one", workers)
		}
		again, s, err := open(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if s.built != 0 || len(s.notices) != 0 || again.Key() != d.Key() || !reflect.DeepEqual(content(again), want) {
			t.Errorf("%d workers: the second time: built %d, notices %q", workers, s.built, s.notices)
		}
		names, err := filepath.Glob(filepath.Join(c.Cache, "*"))
		if hidden, _ := filepath.Glob(filepath.Join(c.Cache, ".*")); err != nil || len(names) != 2 || len(hidden) != 0 {
			t.Errorf("cache has %q and %q, want the cache and its lock", names, hidden)
		}
	}
}

// TestCacheKey: whatever changes the tokens changes the cache.
func TestCacheKey(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "one", "b.txt": "two"})
	base := bytesOf(dir, t.TempDir())
	keys := map[string]string{}
	look := func(name string, c Config, rebuilt bool) {
		t.Helper()
		d, s, err := open(t, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (s.built > 0) != rebuilt {
			t.Errorf("%s: built %v, want %v", name, s.built > 0, rebuilt)
		}
		if other, ok := keys[d.Key()]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[d.Key()] = name
	}
	look("base", base, true)
	c := base
	c.Seed++
	look("seed", c, false)
	c = base
	c.HeldOut = 1
	look("held out", c, false)
	c = base
	c.Packing = false
	look("packing", c, false)
	c = base
	c.Path, c.Sources = "", []Source{{Spec: source.Spec{Path: dir, Exclude: []string{"b.txt"}}}}
	look("exclude", c, true)
	write(t, filepath.Join(dir, "b.txt"), "TWO and more")
	look("changed file", base, true)
	if err := os.Rename(filepath.Join(dir, "b.txt"), filepath.Join(dir, "c.txt")); err != nil {
		t.Fatal(err)
	}
	look("renamed file", base, true)
}

// TestCacheDamaged: a cache that was damaged, cut short, or is another's is named and made anew; the data is whole.
func TestCacheDamaged(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": texts(100)})
	c := bytesOf(dir, t.TempDir())
	d, _, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	want, path := content(d), d.caches[0].file.Path()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := open(t, bytesOf(tree(t, map[string]string{"x.txt": "foreign"}), t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other.caches[0].file.Path())
	if err != nil {
		t.Fatal(err)
	}
	spoil := map[string][]byte{
		"empty": {}, "foreign": foreign, "no cache": []byte("this is something else altogether"),
		"older format": []byte(strings.Replace(string(good), format, strings.Replace(format, "1", "0", 1), 1)),
	}
	for at := 0; at < len(good); at += len(good)/12 + 1 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1
		spoil[fmt.Sprint("byte ", at)] = bad
		spoil[fmt.Sprint("cut at ", at)] = good[:at]
	}
	for name, bad := range spoil {
		// Another file takes the place: the one that is mapped must not change.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(bad))
		d, s, err := open(t, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(s.notices) != 1 || !strings.Contains(s.notices[0], path) || strings.Contains(s.notices[0], "\n") {
			t.Errorf("%s: notices %q, want one line that names %s", name, s.notices, path)
		}
		if !reflect.DeepEqual(content(d), want) {
			t.Errorf("%s: documents differ", name)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, s, err := open(t, c); err != nil || len(s.notices) != 1 {
		t.Errorf("a folder in its place: %v, notices %q", err, s.notices)
	}
}

// TestCacheTogether: of several that need a cache at the same time one makes it, and what a dead one left is removed.
func TestCacheTogether(t *testing.T) {
	c := bytesOf(tree(t, map[string]string{"a.jsonl": texts(500)}), t.TempDir())
	d, _, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	path := d.caches[0].file.Path()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	left := strings.TrimSuffix(path, ".safetensors") + ".tmp-123"
	write(t, filepath.Join(left, "tokens"), "half")
	var built atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var once sync.Once
			d, err := Open(t.Context(), c, Options{Progress: func(Progress) { once.Do(func() { built.Add(1) }) }})
			if err != nil {
				t.Error(err)
				return
			}
			if n := len(content(d)); n != 500 {
				t.Errorf("%d documents, want 500", n)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("%d made the cache, want 1", n)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

// TestCacheLocked: waiting for another process ends with the context.
func TestCacheLocked(t *testing.T) {
	s, err := newStore(t.TempDir(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan string, 1)
	s.notice = func(n string) { waits <- n; cancel() }
	if _, err := s.lock(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if n := <-waits; !strings.Contains(n, "waiting") {
		t.Errorf("notice %q", n)
	}
}

// TestChangedWhileRead: a file that changes while it is tokenised is an error, and no cache is left.
func TestChangedWhileRead(t *testing.T) {
	for name, change := range map[string]func(f *os.File) error{
		"grown": func(f *os.File) error { _, err := f.WriteString("{\"text\": \"more\"}\n"); return err },
		"cut":   func(f *os.File) error { return f.Truncate(1000) },
	} {
		path := filepath.Join(tree(t, map[string]string{"a.jsonl": texts(12000)}), "a.jsonl")
		c := bytesOf(path, t.TempDir())
		c.Workers = 1 // so that most is still to be read when the first progress comes
		var once sync.Once
		_, err := Open(t.Context(), c, Options{Progress: func(Progress) {
			once.Do(func() {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err == nil {
					err = errors.Join(change(f), f.Close())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}})
		if !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line that %s changed", name, err, path)
		}
		if left, _ := filepath.Glob(filepath.Join(c.Cache, "*[^k]")); len(left) != 0 {
			t.Errorf("%s: %q are left", name, left)
		}
	}
}

// TestInterrupted: a context that ends while documents are tokenised ends it, and leaves no cache.
func TestInterrupted(t *testing.T) {
	c := bytesOf(tree(t, map[string]string{"a.jsonl": texts(12000)}), t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Open(ctx, c, Options{Progress: func(Progress) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Cache, "*[^k]")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}
