package datasets

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/gojet/gojet/checkpoints/safetensors"
)

// format names what a cache holds; another number makes all older ones foreign.
const format = "gojet tokens 1"

// cached is an open cache: one safetensors file named by its key, with the tensors
//
//	tokens [N] I32       all documents, one after the other
//	ends   [D] U64       where each ends in tokens
//	hidden [H, 2] U64    runs of tokens, from and to, that are not to be learned
//
// and in its metadata the key, the counts, and a checksum of all that.
type cached struct {
	corpus
	file  *safetensors.File
	facts facts
}

// facts are what is known of a corpus beside its tokens.
type facts struct {
	Key   string
	Bytes int64 // of text
	Empty int   // documents without a token, which are not in the cache
	Max   int32 // the greatest token
}

func (f facts) metadata() map[string]string {
	return map[string]string{
		"format": format,
		"key":    f.Key,
		"bytes":  strconv.FormatInt(f.Bytes, 10),
		"empty":  strconv.Itoa(f.Empty),
		"max":    strconv.Itoa(int(f.Max)),
	}
}

func parseFacts(m map[string]string) (f facts, err error) {
	number := func(key string) int64 {
		n, e := strconv.ParseInt(m[key], 10, 64)
		if e != nil || n < 0 {
			err = cmp.Or(err, fmt.Errorf("%s is %q, want a number", key, m[key]))
		}
		return n
	}
	f = facts{Key: m["key"], Bytes: number("bytes"), Empty: int(number("empty")), Max: int32(min(number("max"), math.MaxInt32))}
	return f, err
}

// The tensors, in the order of their data in the file.
var tensorNames = [...]string{"ends", "hidden", "tokens"}

// checksum is of the metadata, by key, and of the data of each tensor in the order of tensorNames, given by its own sum.
func checksum(meta map[string]string, sums [len(tensorNames)]uint64) string {
	h := xxhash.New()
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		if k != "checksum" {
			fmt.Fprintf(h, "%q %q\n", k, meta[k])
		}
	}
	for i, name := range tensorNames {
		fmt.Fprintf(h, "%s %x\n", name, sums[i])
	}
	return strconv.FormatUint(h.Sum64(), 16)
}

// openCache maps the cache at path and checks all of it. An error that is fs.ErrNotExist means there is none.
func openCache(path, key string) (*cached, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	c, err := readCache(f, key)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

func readCache(f *safetensors.File, key string) (*cached, error) {
	meta := f.Metadata()
	if meta["format"] != format {
		return nil, fmt.Errorf("format is %q, want %q", meta["format"], format)
	}
	if meta["key"] != key {
		return nil, fmt.Errorf("key is %q, want %q", meta["key"], key)
	}
	var sums [len(tensorNames)]uint64
	var tensors [len(tensorNames)]safetensors.Tensor
	for i, name := range tensorNames {
		t, ok := f.Tensor(name)
		if want := map[bool]safetensors.DType{true: safetensors.I32, false: safetensors.U64}[name == "tokens"]; !ok || t.DType != want {
			return nil, fmt.Errorf("has no tensor %q of type %v", name, want)
		}
		tensors[i], sums[i] = t, xxhash.Sum64(t.Data)
	}
	if sum := checksum(meta, sums); sum != meta["checksum"] {
		return nil, fmt.Errorf("checksum is %s, want %s", sum, meta["checksum"])
	}
	facts, err := parseFacts(meta)
	if err != nil {
		return nil, err
	}
	c := &cached{file: f, facts: facts}
	c.ends = elements[uint64](tensors[0].Data)
	c.tokens = elements[int32](tensors[2].Data)
	c.hidden = elements[uint64](tensors[1].Data)
	return c, c.check()
}

// check makes sure that no index leads outside, whoever wrote the file.
func (c *corpus) check() error {
	var last uint64
	for d, end := range c.ends {
		if end <= last || end > uint64(len(c.tokens)) {
			return fmt.Errorf("document %d ends at token %d, want above %d and at most %d", d, end, last, len(c.tokens))
		}
		last = end
	}
	if last != uint64(len(c.tokens)) {
		return fmt.Errorf("documents end at token %d, want %d", last, len(c.tokens))
	}
	last = 0
	for i, h := range c.hidden {
		if h < last || i%2 == 1 && h == last || h > uint64(len(c.tokens)) {
			return fmt.Errorf("hidden run %d has a border at token %d after one at %d, want a rising one of at most %d", i/2, h, last, len(c.tokens))
		}
		last = h
	}
	if len(c.hidden)%2 != 0 {
		return fmt.Errorf("hidden runs have %d borders, want pairs", len(c.hidden))
	}
	return nil
}

func (c *cached) close() error { return c.file.Close() }

// elements views little-endian data as numbers where it lies, or copies where the machine reads it otherwise.
func elements[T int32 | uint64](data []byte) []T {
	var one T
	size := int(unsafe.Sizeof(one))
	if len(data) == 0 {
		return nil
	}
	native := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	if p := unsafe.Pointer(&data[0]); native && uintptr(p)%uintptr(size) == 0 {
		return unsafe.Slice((*T)(p), len(data)/size)
	}
	x := make([]T, len(data)/size)
	for i := range x {
		if size == 4 {
			x[i] = T(binary.LittleEndian.Uint32(data[4*i:]))
		} else {
			x[i] = T(binary.LittleEndian.Uint64(data[8*i:]))
		}
	}
	return x
}

// store is a directory of caches.
type store struct {
	dir    string
	notice func(string)
}

func newStore(dir string, notice func(string)) (*store, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("data.cache is not set and this user has no directory for caches: %w", err)
		}
		dir = filepath.Join(user, "gojet", "data")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data.cache: %w", err)
	}
	return &store{dir, notice}, nil
}

// get opens the cache of that key. Where there is none, or one that cannot be trusted, fill makes it: it writes to
// files in a directory that is removed after, and returns what the cache will consist of.
func (s *store) get(ctx context.Context, key string, fill func(dir string) (*draft, error)) (*cached, error) {
	path := filepath.Join(s.dir, key+".safetensors")
	c, err := openCache(path, key)
	if err == nil {
		return c, nil
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("datasets: cache: %w", err)
	}
	defer unlock()
	// Whoever had the lock may have made it.
	c, err = openCache(path, key)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.notice(fmt.Sprintf("cache %s is not usable and is made anew: %v", path, err))
	}
	if err := s.make(path, key, fill); err != nil {
		return nil, err
	}
	if c, err = openCache(path, key); err != nil {
		return nil, fmt.Errorf("datasets: cache %s, just written: %w", path, err)
	}
	return c, nil
}

func (s *store) make(path, key string, fill func(dir string) (*draft, error)) (err error) {
	// What processes that were killed have left; none is at work, since the lock is ours.
	for _, pattern := range []string{key + ".tmp-*", "." + key + ".safetensors.tmp-*"} {
		left, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			return fmt.Errorf("datasets: cache: %w", err)
		}
		for _, l := range left {
			if err := os.RemoveAll(l); err != nil {
				return fmt.Errorf("datasets: cache: %w", err)
			}
		}
	}
	dir, err := os.MkdirTemp(s.dir, key+".tmp-*")
	if err != nil {
		return fmt.Errorf("datasets: cache: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := fill(dir)
	if err != nil {
		return err
	}
	d.facts.Key = key
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("datasets: cache: %w", err)
		}
	}
	if err := d.write(path); err != nil {
		return fmt.Errorf("datasets: cache: %w", err)
	}
	return nil
}

// lock waits until no other process makes the cache of that key.
func (s *store) lock(ctx context.Context, key string) (unlock func(), err error) {
	path := filepath.Join(s.dir, key+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; {
		ok, err := tryLock(f)
		if ok {
			return func() { f.Close() }, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		if !said {
			s.notice(fmt.Sprintf("waiting for another process that makes the same cache (%s)", path))
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
