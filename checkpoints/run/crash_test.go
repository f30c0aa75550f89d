package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gojet/gojet/checkpoints/internal/commit"
	"github.com/gojet/gojet/checkpoints/internal/commit/disk"
)

const memoryRun = "/run"

// inMemory saves checkpoints on a disk in memory.
func inMemory(t *testing.T, keep Keep, steps ...int) *disk.Disk {
	t.Helper()
	d := disk.New()
	for _, step := range steps {
		if path, err := saveOn(d, snapshot(t, step), keep); err != nil || path == "" {
			t.Fatalf("%q, %v", path, err)
		}
	}
	return d
}

func saveOn(on commit.FS, s Snapshot, keep Keep) (string, error) {
	w, err := claim(on, memoryRun)
	if err != nil {
		return "", err
	}
	defer w.Close()
	return w.Save(s, keep)
}

// onDisk puts a tree of a disk in memory into a folder and returns the run's.
func onDisk(t *testing.T, tree disk.Tree) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "run-") // thousands of small files, in memory where there is such a place
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := tree.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, memoryRun)
}

// ready is a run with whole checkpoints of these steps.
func ready(t *testing.T, steps ...int) string {
	t.Helper()
	return onDisk(t, inMemory(t, Keep{}, steps...).Now())
}

// A scenario is a save that is to be disturbed.
type scenario struct {
	name   string
	before []int // steps that are saved already
	step   int
	keep   Keep
	noSwap bool
	again  bool  // after a save that failed in syncing its last rename
	aside  bool  // after the replacement of the newest was interrupted, which lies aside
	stay   []int // steps that are there before and after, whatever happens
}

var scenarios = []scenario{
	{name: "the first", step: 10},
	{name: "another", before: []int{10}, step: 20, stay: []int{10}},
	{name: "removing two", before: []int{10, 15, 20}, step: 30, keep: Keep{Last: 2}, stay: []int{20}},
	{name: "keeping the best", before: []int{10, 20, 30}, step: 40, keep: Keep{Last: 1, Best: 1, Metric: "loss"}, stay: []int{20}},
	{name: "the same again", before: []int{10, 20}, step: 20, stay: []int{10, 20}},
	{name: "the same again in two steps", before: []int{10, 20}, step: 20, noSwap: true, stay: []int{10, 20}},
	{name: "the same again and again", before: []int{10, 20}, step: 20, again: true, stay: []int{10, 20}},
	{name: "the same again and again in two steps", before: []int{10, 20}, step: 20, again: true, noSwap: true, stay: []int{10, 20}},
	{name: "another after an interrupted one", before: []int{10, 20}, step: 30, aside: true, stay: []int{10, 20}},
	{name: "the only one again in two steps", before: []int{20}, step: 20, noSwap: true, stay: []int{20}},
}

func (c scenario) disk(t *testing.T) *disk.Disk {
	d := inMemory(t, Keep{}, c.before...)
	d.NoSwap = c.noSwap
	// What a save has left that was interrupted long ago.
	if len(c.before) > 0 {
		dir := memoryRun + "/checkpoints/.step-5.tmp-00c0ffee"
		err := d.Mkdir(dir)
		if err == nil {
			_, err = d.Create(dir + "/config.json")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.again {
		renamed := false
		f := &disk.Faulty{On: d, Fault: func(_ int, op, path string) error {
			renamed = renamed || op == "exchange" || op == "rename"
			if renamed && op == "syncdir" {
				return syscall.EIO
			}
			return nil
		}}
		if path, err := saveOn(f, snapshot(t, c.step), Keep{}); path != "" || !errors.Is(err, syscall.EIO) {
			t.Fatalf("%q, %v", path, err)
		}
	}
	if c.aside {
		dir := memoryRun + "/checkpoints/"
		err := d.Rename(fmt.Sprint(dir, "step-", slices.Max(c.before)), fmt.Sprintf("%s.step-%d.tmp-00c0ffee.old", dir, slices.Max(c.before)))
		if err = commit.Also(err, d.SyncDir(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

var random = regexp.MustCompile(`\.tmp-[0-9a-f]{8}`)

// key is the same for trees that no reader can tell apart.
func key(tree disk.Tree) string {
	seen := disk.Tree{}
	for name, data := range tree {
		if name = random.ReplaceAllString(name, ".tmp-R"); !strings.HasSuffix(name+"/", ".tmp-R/") && !strings.Contains(name, ".tmp-R/") {
			seen[name] = data
		}
	}
	return seen.Key()
}

// check fails unless the run has the checkpoints that it must have, all of them whole, and the newest is
// old or new, or new if it must be.
func (c scenario) check(t *testing.T, tree disk.Tree, mustBeNew bool) {
	t.Helper()
	runDir := onDisk(t, tree)
	want := []int{c.step}
	if !mustBeNew && len(c.before) > 0 {
		want = append(want, slices.Max(c.before))
	}
	if _, _, err := Newest(runDir); !mustBeNew && len(c.before) == 0 && errors.Is(err, ErrFresh) {
		return
	}
	newestIs(t, runDir, want...)
	infos, problems, err := List(runDir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("list: %v, problems %v", err, problems)
	}
	there := map[int]bool{}
	for _, i := range infos {
		s, err := open(commit.OS{}, i.Path, i.Step)
		if err != nil {
			t.Fatal(err)
		}
		wholly(t, s)
		there[s.Step()] = true
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range c.stay {
		if !there[step] {
			t.Fatalf("step %d is gone", step)
		}
	}
}

// The power goes after every operation of a save, and of what was not synced some, all or nothing is lost.
func TestPowerLoss(t *testing.T) {
	for _, c := range scenarios {
		t.Run(c.name, func(t *testing.T) {
			d := c.disk(t)
			losses := disk.Losses(6, 7)
			seen := map[string]bool{}
			crashes := 0
			look := func(after string, saved bool) {
				for _, l := range losses {
					crashes++
					tree := d.After(l)
					if key := fmt.Sprint(saved, key(tree)); !seen[key] {
						seen[key] = true
						if !t.Run(fmt.Sprintf("%s, %v", after, l), func(t *testing.T) { c.check(t, tree, saved) }) {
							t.FailNow()
						}
					}
				}
			}
			f := &disk.Faulty{On: d, After: func(n int, op, path string) {
				look(fmt.Sprintf("%d %s %s", n, op, filepath.Base(path)), false)
			}}
			if _, err := saveOn(f, snapshot(t, c.step), c.keep); err != nil {
				t.Fatal(err)
			}
			look("the end", true)
			t.Logf("%d operations, %d crashes, %d different disks", f.Count(), crashes, len(seen))
			if f.Count() < 40 {
				t.Errorf("%d operations, want all of a save", f.Count())
			}
		})
	}
}

// Every operation of a save fails in turn: once, or it and all that come after.
func TestFaults(t *testing.T) {
	for _, c := range scenarios {
		start := c.disk(t)
		count := &disk.Faulty{On: start.Clone()}
		if _, err := saveOn(count, snapshot(t, c.step), c.keep); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, kind := range []struct {
			name    string
			err     error
			forever bool
		}{
			{"ENOSPC", syscall.ENOSPC, false}, {"EIO", syscall.EIO, false}, {"short write", disk.ErrShort, false},
			{"ENOSPC from then on", syscall.ENOSPC, true}, {"EIO from then on", syscall.EIO, true},
		} {
			t.Run(c.name+", "+kind.name, func(t *testing.T) {
				failures := 0
				for n := range count.Count() {
					failed := c.fail(t, start.Clone(), seen, n, kind.err, kind.forever)
					if failed {
						failures++
					}
				}
				t.Logf("%d operations, %d saves failed", count.Count(), failures)
				if failures == 0 {
					t.Error("no save failed")
				}
			})
		}
	}
}

// fail lets operation n fail, and tells whether the save failed.
func (c scenario) fail(t *testing.T, d *disk.Disk, seen map[string]bool, n int, fault error, forever bool) bool {
	var what string
	var unsynced bool
	f := &disk.Faulty{On: d, Fault: func(i int, op, path string) error {
		if i != n && (i < n || !forever) {
			return nil
		}
		if fault == disk.ErrShort && op != "write" {
			return nil
		}
		if i == n {
			what = fmt.Sprintf("operation %d, %s %s", i, op, path)
			unsynced = op == "syncdir" && path == memoryRun+"/checkpoints"
		}
		return fault
	}}
	path, err := saveOn(f, snapshot(t, c.step), c.keep)
	tree := d.Now()
	if key := fmt.Sprint(path, key(tree)); !seen[key] {
		seen[key] = true
		if !t.Run(what, func(t *testing.T) { c.check(t, tree, path != "") }) {
			t.FailNow()
		}
	}
	if err == nil {
		return false
	}
	if strings.Contains(err.Error(), "\n") {
		t.Fatalf("%s: error of several lines: %v", what, err)
	}
	var full *SpaceError
	claimed := !strings.HasPrefix(err.Error(), "run: claiming")
	if isFull := errors.As(err, &full); path == "" && claimed && isFull != errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%s: %v: is it a SpaceError?", what, err)
	} else if isFull && full.Needed < 1000 {
		t.Fatalf("%s: %+v", what, full)
	}
	// After a rename that may not last, both folders must stay; otherwise there is only the one from before.
	if path == "" && !forever && !unsynced {
		for name := range tree {
			if strings.Contains(name, ".tmp-") && !strings.Contains(name, "c0ffee") && !c.again {
				t.Fatalf("%s: %s is left", what, name)
			}
		}
	}
	// The trainer tries again when the disk is well.
	if path, err := saveOn(d, snapshot(t, c.step), c.keep); err != nil || path == "" {
		t.Fatalf("%s: again: %q, %v", what, path, err)
	}
	for name := range d.Now() {
		if strings.Contains(name, ".tmp-") {
			t.Fatalf("%s: %s is left when saved again", what, name)
		}
	}
	return true
}

// Reading fails in every operation: an older checkpoint may be taken, but the run never begins anew.
func TestReadFaults(t *testing.T) {
	runDir := ready(t, 10, 20)
	count := &disk.Faulty{On: commit.OS{}}
	if s, _, err := newest(count, runDir); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	for n := range count.Count() {
		for _, forever := range []bool{false, true} {
			var what string
			f := &disk.Faulty{On: commit.OS{}, Fault: func(i int, op, path string) error {
				if i == n {
					what = op + " " + path
				}
				if i == n || i > n && forever {
					return syscall.EIO
				}
				return nil
			}}
			s, problems, err := newest(f, runDir)
			if errors.Is(err, ErrFresh) || err == nil && s == nil {
				t.Fatalf("%s fails: the run begins anew", what)
			}
			if err != nil {
				oneLine(t, err, runDir, "input/output error")
				continue
			}
			if s.Step() != 20 && (s.Step() != 10 || len(problems) != 1 || !errors.Is(problems[0], syscall.EIO)) {
				t.Errorf("%s fails: step %d, problems %v", what, s.Step(), problems)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if count.Count() < 15 {
		t.Errorf("%d operations, want all of reading", count.Count())
	}
}

// A full disk is seen beforehand where its space can be measured, and otherwise when it is full.
func TestFullDisk(t *testing.T) {
	for _, measured := range []bool{true, false} {
		d := inMemory(t, Keep{}, 10)
		d.Capacity = 5000
		on := &disk.Faulty{On: d, Fault: func(_ int, op, _ string) error {
			if op == "free" && !measured {
				return errors.ErrUnsupported
			}
			return nil
		}}
		w, err := claim(on, memoryRun)
		if err != nil {
			t.Fatal(err)
		}
		before := d.Now().Key()
		path, err := w.Save(snapshot(t, 20), Keep{Last: 1})
		var full *SpaceError
		if path != "" || !errors.As(err, &full) || full.Path != memoryRun+"/checkpoints/step-20" || full.Needed < 5000 || measured != (full.Free >= 0) || measured == errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%q, %v, %+v", path, err, full)
		}
		oneLine(t, err, "saving step 20: no space for /run/checkpoints/step-20: it needs", "bytes")
		t.Log(err)
		if d.Now().Key() != before {
			t.Error("the disk is not as it was before")
		}
		d.Capacity = 0 // space has returned
		if path, err := w.Save(snapshot(t, 20), Keep{Last: 1}); err != nil || path == "" {
			t.Fatalf("again: %q, %v", path, err)
		}
		newestIs(t, onDisk(t, d.Now()), 20)
	}
}
