package disk

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, on commit.FS, name, text string, sync bool) {
	t.Helper()
	w, err := on.Create(name)
	must(t, err)
	_, err = io.WriteString(w, text)
	must(t, err)
	if sync {
		must(t, w.Sync())
	}
	must(t, w.Close())
}

// after is what is left in each of the extremes, as text by path.
func after(d *Disk) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, l := range Losses(0, 1) {
		left := map[string]string{}
		for name, data := range d.After(l) {
			if data != nil {
				left[name] = string(data)
			}
		}
		all[l.String()] = left
	}
	return all
}

func want(t *testing.T, d *Disk, loss string, files map[string]string) {
	t.Helper()
	if got := after(d)[loss]; !maps.Equal(got, files) {
		t.Errorf("%s: %q, want %q", loss, got, files)
	}
}

type files = map[string]string

// What was synced is there after every loss, what was not is there after some.
func TestLosses(t *testing.T) {
	d := New()
	put(t, d, "/a", "synced", true)
	for loss := range after(d) {
		kept := loss != "all unsynced lost" && loss != "data kept, entries lost"
		if kept {
			want(t, d, loss, files{"/a": "synced"})
		} else {
			want(t, d, loss, files{})
		}
	}
	must(t, d.SyncDir("/"))
	put(t, d, "/b", "lost", false)
	must(t, d.SyncDir("/"))
	want(t, d, "all unsynced lost", files{"/a": "synced", "/b": ""})
	want(t, d, "data torn, entries kept", files{"/a": "synced", "/b": "\x00\x00\x00\x00"})
	want(t, d, "data kept, entries lost", files{"/a": "synced", "/b": "lost"})

	must(t, d.Rename("/b", "/a"), d.Mkdir("/dir"))
	put(t, d, "/dir/c", "c", true)
	want(t, d, "all unsynced lost", files{"/a": "synced", "/b": ""})
	want(t, d, "nothing lost", files{"/a": "lost", "/dir/c": "c"})
	must(t, d.SyncDir("/"))
	want(t, d, "all unsynced lost", files{"/a": ""}) // the folder is there, its entry is not
	must(t, d.SyncDir("/dir"))
	want(t, d, "all unsynced lost", files{"/a": "", "/dir/c": "c"})

	must(t, d.Mkdir("/other"), d.Exchange("/dir", "/other"))
	want(t, d, "all unsynced lost", files{"/a": "", "/dir/c": "c"})
	want(t, d, "nothing lost", files{"/a": "lost", "/other/c": "c"})
	copied := d.Clone()
	must(t, d.SyncDir("/"), d.Remove("/dir"))
	want(t, d, "all unsynced lost", files{"/a": "", "/other/c": "c"})
	want(t, copied, "all unsynced lost", files{"/a": "", "/dir/c": "c"})
	want(t, copied, "nothing lost", files{"/a": "lost", "/other/c": "c"})

	// Between the extremes there is something else for nearly every folder and file.
	seen := map[string]bool{}
	for _, l := range Losses(50, 3) {
		seen[copied.After(l).Key()] = true
	}
	if len(seen) < 6 {
		t.Errorf("%d different disks after 50 random losses", len(seen))
	}
}

func TestRules(t *testing.T) {
	d := New()
	must(t, d.Mkdir("/dir"))
	put(t, d, "/dir/f", "f", true)
	_, missing := d.Lstat("/dir/g")
	_, made := d.Create("/dir/f")
	_, inFile := d.ReadDir("/dir/f")
	must(t, d.Mkdir("/full"))
	put(t, d, "/full/f", "f", true)
	for what, c := range map[string]struct{ err, want error }{
		"missing":        {missing, fs.ErrNotExist},
		"made twice":     {made, fs.ErrExist},
		"file as folder": {inFile, syscall.ENOTDIR},
		"full folder":    {d.Remove("/dir"), syscall.ENOTEMPTY},
		"over a full":    {d.Rename("/dir", "/full"), syscall.ENOTEMPTY},
		"from nowhere":   {d.Rename("/x", "/y"), fs.ErrNotExist},
		"elsewhere":      {d.Rename("/dir/f", "/f"), syscall.EXDEV},
		"with nothing":   {d.Exchange("/dir", "/y"), fs.ErrNotExist},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	d.Capacity = 5
	w, err := d.Create("/g")
	must(t, err)
	if n, err := w.Write([]byte("12345")); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d bytes, %v, want 3 and %v", n, err, syscall.ENOSPC)
	}
	entries, err := d.ReadDir("/")
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"dir", "full", "g"}) {
		t.Errorf("folder lists %q", names)
	}
}

func TestFaulty(t *testing.T) {
	var log []string
	f := &Faulty{On: New(),
		Fault: func(n int, op, path string) error {
			return map[int]error{2: ErrShort, 3: syscall.EIO, 4: syscall.ENOSPC}[n]
		},
		After: func(_ int, op, path string) { log = append(log, op+" "+path) },
	}
	must(t, f.Mkdir("/dir"))
	w, err := f.Create("/dir/f")
	must(t, err)
	if n, err := w.Write([]byte("1234")); n != 2 || err != nil {
		t.Errorf("short write: %d, %v", n, err)
	}
	if err := w.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	if want := []string{"mkdir /dir", "create /dir/f", "write /dir/f", "sync /dir/f", "close /dir/f"}; !slices.Equal(log, want) || f.Count() != len(want) {
		t.Errorf("operations %q, want %q", log, want)
	}
}
