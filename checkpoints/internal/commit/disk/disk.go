// Package disk is a disk in memory that knows what a real one would still hold after the power went:
// what was synced for certain, everything else perhaps. Tests commit to it, cut the power and look.
package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Disk is a commit.FS. Its paths are slash-separated and begin at "/", which is there.
type Disk struct {
	Capacity int64 // bytes of data; 0 for no bound
	NoSwap   bool  // Exchange is not supported

	mu    sync.Mutex
	root  *node
	locks map[*node]int // shared holders, or -1
}

// node is a file or folder. What is written, and what entries are made, is volatile until synced.
type node struct {
	isDir bool

	data, synced []byte

	entries, kept map[string]*node // now, and as of the last sync
	pending       []change         // what led from kept to entries
}

// change is one step of a folder's entries, which happens in whole or not at all: new entries by name, nil
// for one that went.
type change map[string]*node

// New is an empty disk.
func New() *Disk {
	return &Disk{root: newDir(), locks: map[*node]int{}}
}

func newDir() *node {
	return &node{isDir: true, entries: map[string]*node{}, kept: map[string]*node{}}
}

func (n *node) apply(c change) {
	for name, child := range c {
		if n.entries[name] = child; child == nil {
			delete(n.entries, name)
		}
	}
	n.pending = append(n.pending, c)
}

func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find is the node at name.
func (d *Disk) find(op, name string) (*node, error) {
	n := d.root
	for _, part := range strings.FieldsFunc(path.Clean(filepath.ToSlash(name)), func(r rune) bool { return r == '/' }) {
		if !n.isDir {
			return nil, fail(op, name, syscall.ENOTDIR)
		}
		if n = n.entries[part]; n == nil {
			return nil, fail(op, name, fs.ErrNotExist)
		}
	}
	return n, nil
}

// parent is the folder that name is or would be in.
func (d *Disk) parent(op, name string) (dir *node, base string, err error) {
	name = path.Clean(filepath.ToSlash(name))
	dir, err = d.find(op, path.Dir(name))
	if err == nil && !dir.isDir {
		err = fail(op, name, syscall.ENOTDIR)
	}
	return dir, path.Base(name), err
}

func (d *Disk) add(op, name string, n *node) error {
	dir, base, err := d.parent(op, name)
	if err != nil {
		return err
	}
	if dir.entries[base] != nil {
		return fail(op, name, fs.ErrExist)
	}
	dir.apply(change{base: n})
	return nil
}

// Create makes a new file.
func (d *Disk) Create(name string) (commit.Writer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &node{}
	if err := d.add("open", name, n); err != nil {
		return nil, err
	}
	return &writer{d, n, name}, nil
}

type writer struct {
	disk *Disk
	node *node
	name string
}

func (w *writer) Write(p []byte) (int, error) {
	d := w.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := len(p), error(nil)
	if d.Capacity > 0 {
		if free := max(0, d.Capacity-size(d.root)); int64(n) > free {
			n, err = int(free), fail("write", w.name, syscall.ENOSPC)
		}
	}
	w.node.data = append(w.node.data, p[:n]...)
	return n, err
}

func (w *writer) Sync() error {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	w.node.synced = bytes.Clone(w.node.data)
	return nil
}

func (w *writer) Close() error { return nil }

func size(n *node) int64 {
	total := int64(len(n.data))
	for _, child := range n.entries {
		total += size(child)
	}
	return total
}

// Open opens a file to be read, as it is now.
func (d *Disk) Open(name string) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("open", name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(slices.Clone(n.data))), nil
}

// Lstat describes a file or folder.
func (d *Disk) Lstat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("lstat", name)
	if err != nil {
		return nil, err
	}
	return n.info(path.Base(name)), nil
}

// ReadDir lists a folder.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("open", name)
	if err == nil && !n.isDir {
		err = fail("readdir", name, syscall.ENOTDIR)
	}
	if err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.entries)) {
		list = append(list, fs.FileInfoToDirEntry(n.entries[base].info(base)))
	}
	return list, nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (n *node) info(name string) info {
	i := info{name, int64(len(n.data)), 0o644}
	if n.isDir {
		i.mode = fs.ModeDir | 0o755
	}
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// Mkdir makes a folder.
func (d *Disk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.add("mkdir", name, newDir())
}

// Rename moves a file or folder within its folder, in place of a file or an empty folder.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, a, b, err := d.pair("rename", from, to)
	if err != nil {
		return err
	}
	if old := dir.entries[b]; old != nil && len(old.entries) > 0 {
		return fail("rename", to, syscall.ENOTEMPTY)
	}
	dir.apply(change{a: nil, b: dir.entries[a]})
	return nil
}

// Exchange swaps two files or folders of one folder.
func (d *Disk) Exchange(a, b string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.NoSwap {
		return errors.ErrUnsupported
	}
	dir, x, y, err := d.pair("exchange", a, b)
	if err != nil {
		return err
	}
	if dir.entries[y] == nil {
		return fail("exchange", b, fs.ErrNotExist)
	}
	dir.apply(change{x: dir.entries[y], y: dir.entries[x]})
	return nil
}

// pair is the folder of two names, the first of which is there.
func (d *Disk) pair(op, from, to string) (dir *node, a, b string, err error) {
	dir, a, err = d.parent(op, from)
	if err != nil {
		return nil, "", "", err
	}
	other, b, err := d.parent(op, to)
	switch {
	case err != nil:
		return nil, "", "", err
	case dir != other:
		return nil, "", "", fail(op, to, syscall.EXDEV)
	case dir.entries[a] == nil:
		return nil, "", "", fail(op, from, fs.ErrNotExist)
	}
	return dir, a, b, nil
}

// Remove removes a file or an empty folder.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("remove", name)
	if err != nil {
		return err
	}
	switch n := dir.entries[base]; {
	case n == nil:
		return fail("remove", name, fs.ErrNotExist)
	case len(n.entries) > 0:
		return fail("remove", name, syscall.ENOTEMPTY)
	}
	dir.apply(change{base: nil})
	return nil
}

// SyncDir makes the folder's entries last, but neither its files' data nor the entries of folders in it.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("sync", name)
	if err != nil {
		return err
	}
	n.kept, n.pending = maps.Clone(n.entries), nil
	return nil
}

// Free is what is left of Capacity.
func (d *Disk) Free(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Capacity == 0 {
		return 0, errors.ErrUnsupported
	}
	return max(0, d.Capacity-size(d.root)), nil
}

// Lock locks a file.
func (d *Disk) Lock(name string, how commit.Locking, note string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find("lock", name)
	if errors.Is(err, fs.ErrNotExist) && note != "" {
		n = &node{}
		err = d.add("lock", name, n)
	}
	if err != nil {
		return nil, err
	}
	if held := d.locks[n]; held < 0 || held > 0 && how == commit.Exclusive {
		return nil, &commit.LockedError{Path: name, Note: strings.TrimSpace(string(n.data))}
	}
	if note != "" {
		n.data = []byte(note)
	}
	share := 1
	if how == commit.Exclusive {
		share = -1
	}
	d.locks[n] += share
	return &held{d, n, share}, nil
}

type held struct {
	disk  *Disk
	node  *node
	share int
}

func (h *held) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.locks[h.node] -= h.share
	return nil
}

// Clone is another disk in the same state, on which nothing is locked.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Disk{Capacity: d.Capacity, NoSwap: d.NoSwap, root: d.root.clone(map[*node]*node{}), locks: map[*node]int{}}
}

// clone copies a node with all that it leads to, each once.
func (n *node) clone(done map[*node]*node) *node {
	if n == nil || done[n] != nil {
		return done[n]
	}
	c := &node{isDir: n.isDir, data: slices.Clip(n.data), synced: n.synced}
	done[n] = c
	if !n.isDir {
		return c
	}
	copied := func(entries map[string]*node) map[string]*node {
		m := make(map[string]*node, len(entries))
		for name, child := range entries {
			m[name] = child.clone(done)
		}
		return m
	}
	c.entries, c.kept = copied(n.entries), copied(n.kept)
	for _, change := range n.pending {
		c.pending = append(c.pending, copied(change))
	}
	return c
}

// Tree is a still picture of a disk: the data of files by path, nil for folders.
type Tree map[string][]byte

// Now is the disk as programs see it.
func (d *Disk) Now() Tree {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := Tree{}
	t.take("/", d.root, func(n *node) ([]byte, map[string]*node) { return n.data, n.entries })
	return t
}

func (t Tree) take(name string, n *node, of func(*node) ([]byte, map[string]*node)) {
	data, entries := of(n)
	if !n.isDir {
		t[name] = append([]byte{}, data...)
		return
	}
	t[name] = nil
	for base, child := range entries {
		t.take(path.Join(name, base), child, of)
	}
}

// Key is the same for equal trees.
func (t Tree) Key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, "%q %v %d:", name, t[name] == nil, len(t[name]))
		b.Write(t[name])
	}
	return b.String()
}

// WriteTo puts the tree into a folder of the machine's own disk.
func (t Tree) WriteTo(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(t)) { // folders before what is in them
		to := filepath.Join(dir, filepath.FromSlash(name))
		var err error
		if t[name] == nil {
			err = os.MkdirAll(to, 0o755)
		} else {
			err = os.WriteFile(to, t[name], 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
