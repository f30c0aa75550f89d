package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// childRun is the environment variable that makes TestKill the process that is to be killed.
const childRun = "GOJET_TEST_RUN"

// TestKill kills a process that saves checkpoints, again and again at another moment. The newest is whole
// each time and never of an earlier step than the process last said it had saved.
func TestKill(t *testing.T) {
	if runDir := os.Getenv(childRun); runDir != "" {
		saveForever(t, runDir)
	}
	const kills = 30
	runDir := filepath.Join(t.TempDir(), "run")
	r := rand.New(rand.NewPCG(30, 1))
	reported, newest, inside := -1, -1, 0
	for range kills {
		last := killed(t, runDir, r.IntN(3), time.Duration(r.IntN(20_000))*time.Microsecond)
		reported = max(reported, last)
		s, problems, err := Newest(runDir)
		if errors.Is(err, ErrFresh) && reported < 0 {
			continue
		}
		if err != nil || len(problems) > 0 {
			t.Fatalf("after step %d: %v, problems %v", reported, err, problems)
		}
		if s.Step() < reported {
			t.Fatalf("newest is of step %d, but step %d was saved", s.Step(), reported)
		}
		wholly(t, s)
		newest = s.Step()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range entries(t, filepath.Join(runDir, checkpointsDir)) {
			if commit.IsTemporary(name, stepPrefix) {
				inside++
				break
			}
		}
	}
	t.Logf("%d kills, %d of them inside a save or removal, %d steps saved", kills, inside, reported)
	if inside == 0 || reported < kills/2 {
		t.Errorf("%d kills inside a save, %d steps: the test tests little", inside, reported)
	}
	save(t, runDir, Keep{Last: 1}, newest+1)
	if got := entries(t, filepath.Join(runDir, checkpointsDir)); len(got) != 1 {
		t.Errorf("left %q", got)
	}
}

// killed lets a process save some checkpoints and go on for a while, and returns the last step that it
// reported.
func killed(t *testing.T, runDir string, saves int, after time.Duration) int {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), childRun+"="+runDir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "claimed" {
		rest, _ := io.ReadAll(out)
		child.Process.Kill()
		t.Fatalf("the child says %q %s, %v", lines.Text(), rest, child.Wait())
	}
	if w, err := Claim(runDir); err == nil {
		t.Errorf("claimed a run that another process writes, closed: %v", w.Close())
	} else {
		oneLine(t, err, runDir, "another writer", fmt.Sprintf("pid %d ", child.Process.Pid))
	}
	last := -1
	kill := func() {
		time.Sleep(after)
		if err := child.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	if saves == 0 {
		kill()
	}
	for lines.Scan() {
		if saves--; saves == 0 {
			kill()
		}
		step, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "saved "))
		if err != nil || step <= last {
			t.Fatalf("the child says %q after step %d", lines.Text(), last)
		}
		last = step
	}
	child.Wait() // always fails: it was killed
	return last
}

// saveForever is the process to be killed: it goes on where the last one was.
func saveForever(t *testing.T, runDir string) {
	stop := func(err error) {
		fmt.Println(err)
		os.Exit(1)
	}
	w, err := Claim(runDir)
	if err != nil {
		stop(err)
	}
	fmt.Println("claimed")
	step := 0
	if s, _, err := Newest(runDir); err == nil {
		step = s.Step() + 1
		if err := s.Close(); err != nil {
			stop(err)
		}
	} else if !errors.Is(err, ErrFresh) {
		stop(err)
	}
	for ; ; step++ {
		if _, err := w.Save(snapshot(t, step), Keep{Last: 2}); err != nil {
			stop(err)
		}
		fmt.Println("saved", step)
	}
}

func TestTwoWriters(t *testing.T) {
	runDir := t.TempDir()
	w, err := Claim(runDir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Claim(runDir)
	oneLine(t, err, runDir, "another writer", fmt.Sprintf("pid %d on ", os.Getpid()), "one at a time")
	_, err = Save(runDir, snapshot(t, 1), Keep{})
	oneLine(t, err, "another writer")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = w.Save(snapshot(t, 1), Keep{})
	oneLine(t, err, "the writer is closed")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// A lock file alone, whatever it says, is nobody's.
	write(t, filepath.Join(runDir, lockName), []byte("pid 1 on this machine, or so it says, long ago\n"))
	save(t, runDir, Keep{}, 1)
	newestIs(t, runDir, 1)
}
