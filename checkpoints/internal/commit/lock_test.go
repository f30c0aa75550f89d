package commit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := (OS{}).Lock(path, Exclusive, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a note: %v, want %v", err, fs.ErrNotExist)
	}
	first, err := OS{}.Lock(path, Exclusive, Note())
	if err != nil {
		t.Fatal(err)
	}
	reads(t, path, Note())
	var held *LockedError
	if _, err := (OS{}).Lock(path, Exclusive, "somebody else"); !errors.As(err, &held) || held.Note != strings.TrimSpace(Note()) {
		t.Fatalf("held: %v", err)
	}
	if _, err := (OS{}).Lock(path, Shared, ""); !errors.As(err, &held) {
		t.Fatalf("held, to be shared: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OS{}.Lock(path, Shared, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := OS{}.Lock(path, Shared, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{a, b} {
		if _, err := (OS{}).Lock(path, Exclusive, ""); !errors.As(err, &held) {
			t.Fatalf("shared: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last, err := OS{}.Lock(path, Exclusive, "short")
	if err != nil {
		t.Fatal(err)
	}
	reads(t, path, "short")
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where the file system has no locks, the process that the file names decides.
func TestLockByPID(t *testing.T) {
	dir := t.TempDir()
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	alive := exec.Command("sleep", "60")
	if err := alive.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		alive.Process.Kill()
		alive.Wait()
	}()
	old := time.Now().Add(-time.Hour)
	for _, tc := range []struct {
		name, text string
		age        time.Time
		held       bool
	}{
		{"a process at work", fmt.Sprintf("pid %d on %s\n", alive.Process.Pid, hostname()), old, true},
		{"another machine", fmt.Sprintf("pid %d on not-%s\n", dead.Process.Pid, hostname()), old, true},
		{"being written", "", time.Now(), true},
		{"a dead process", fmt.Sprintf("pid %d on %s\n", dead.Process.Pid, hostname()), old, false},
		{"this process before a restart", Note(), old, false},
		{"torn", "", old, false},
		{"nobody's", "hello", old, false},
	} {
		path := filepath.Join(dir, tc.name)
		if err := os.WriteFile(path, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, tc.age, tc.age); err != nil {
			t.Fatal(err)
		}
		l, err := lockByPID(path, Note())
		var locked *LockedError
		if tc.held != errors.As(err, &locked) || !tc.held && err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.held {
			reads(t, path, tc.text)
			continue
		}
		reads(t, path, Note())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v after it was closed", tc.name, err)
		}
	}
	if _, err := lockByPID(filepath.Join(dir, "data"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data that is not there: %v", err)
	}
}

func TestMkdirAllAndRemoveAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(OS{}, deep); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(deep, "f")
	if err := Put(OS{}, file, text("f")); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(OS{}, file); err == nil {
		t.Error("made a folder of a file")
	}
	if err := MkdirAll(OS{}, filepath.Join(file, "x")); err == nil {
		t.Error("made a folder in a file")
	}
	other := t.TempDir()
	if err := Put(OS{}, filepath.Join(other, "kept"), text("kept")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, "a", "link")); err != nil {
		t.Skip(err)
	}
	if err := MkdirAll(OS{}, filepath.Join(dir, "a", "link", "new")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := RemoveAll(OS{}, filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, dir)
	holds(t, other, "kept", "new") // a link goes, what it leads to stays
}

func TestTemporaryNames(t *testing.T) {
	for name, base := range map[string]string{".step-3.tmp-00ff00ff.old": "step-3", ".step-3.tmp-00ff00ff": "", "step-3": "", ".old": "", ".tmp-1.old": ""} {
		if got, ok := SetAside(name); got != base || ok != (base != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, base)
		}
	}
	for name, want := range map[string]bool{".step-3.tmp-00ff00ff.old": true, ".step-3.tmp-00ff00ff": true, "step-3": false, ".step-3": false, ".other.tmp-00": false} {
		if got := IsTemporary(name, "step-"); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
