// Package execute runs Python programs that a model wrote, to see whether they pass tests. Nothing about such a program
// is taken on trust.
//
// On Linux a program runs in namespaces of its own (user, mount, process, network, IPC): it has no network, sees no
// other process, can write only to a folder in memory that goes with it, and cannot reach sockets in /run. It has no
// privileges; where gojet itself runs as root the program runs as nobody. It has limits of time, memory, processes, files
// and output, an environment without anything of its parent's, and when it ends everything that it started is killed.
// It can read the files that the user may read, and nothing that it reads can leave but in its output.
//
// Where such namespaces are not to be had New refuses, unless Config.Unconfined says that limits alone will do.
package execute

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"time"
)

//go:embed confine.py
var confine string

// Config sets the limits of every program.
type Config struct {
	// Python is the interpreter; where it is empty, python3 is looked for.
	Python string
	// Timeout is from the start of the interpreter to the program's end.
	Timeout time.Duration
	// Memory is the address space of a process, in bytes.
	Memory int64
	// Processes and threads at a time. NumPy needs one.
	Processes int
	// Disk is how many bytes all files together may have.
	Disk int64
	// Output is how many bytes of what is written are kept. The rest is thrown away.
	Output int
	// Unconfined runs programs with limits alone where they cannot be confined.
	Unconfined bool
}

// Default is enough for HumanEval+ and MBPP+.
func Default() Config {
	return Config{Timeout: 10 * time.Second, Memory: 2 << 30, Processes: 1, Disk: 64 << 20, Output: 4 << 10}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	for _, f := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"timeout", int64(c.Timeout), int64(100 * time.Millisecond), int64(24 * time.Hour)},
		{"memory", c.Memory, 64 << 20, math.MaxInt64},
		{"processes", int64(c.Processes), 1, 1 << 16},
		{"disk", c.Disk, 1 << 16, 1 << 40},
		{"output", int64(c.Output), 0, 1 << 30},
	} {
		if f.value < f.least || f.value > f.most {
			return fmt.Errorf("execute: %s is %d, want %d to %d", f.name, f.value, f.least, f.most)
		}
	}
	return nil
}

// ErrConfinement says that programs cannot be confined here.
var ErrConfinement = errors.New("programs cannot be confined here")

// Outcome is how a program ended.
type Outcome string

// Outcomes.
const (
	Passed   Outcome = "passed"    // it came to its end
	Failed   Outcome = "failed"    // an exception, an exit, a signal
	TimedOut Outcome = "timed out" // it was killed
)

// Result is what a program did.
type Result struct {
	Outcome  Outcome
	Output   string // what it wrote, the standard output and the error stream in one, cut off at Config.Output
	Duration time.Duration
}

// Runner runs programs. It may be used by several goroutines at once.
type Runner struct {
	cfg      Config
	python   string
	confined bool
}

// New finds the interpreter and runs an empty program, so that whatever is missing is said at once.
func New(ctx context.Context, cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	candidates := []string{cfg.Python}
	if cfg.Python == "" {
		candidates = []string{"python3", "/usr/local/bin/python3", "/usr/bin/python3"}
	}
	r, err := find(ctx, cfg, candidates, true)
	if errors.Is(err, ErrConfinement) && cfg.Unconfined {
		r, err = find(ctx, cfg, candidates, false)
	}
	if err != nil {
		return nil, fmt.Errorf("execute: %w", err)
	}
	return r, nil
}

// find takes the first interpreter that runs an empty program. Its error is about the first one that there is.
func find(ctx context.Context, cfg Config, candidates []string, confined bool) (*Runner, error) {
	var first error
	for _, name := range candidates {
		path, err := exec.LookPath(name)
		if err == nil {
			r := &Runner{cfg: cfg, python: path, confined: confined}
			if err = r.try(ctx); err == nil {
				return r, nil
			}
			err = fmt.Errorf("%s: %w", path, err)
		}
		if first == nil || errors.Is(first, exec.ErrNotFound) {
			first = err
		}
	}
	return nil, first
}

// Confined tells whether programs run in namespaces of their own.
func (r *Runner) Confined() bool { return r.confined }

func (r *Runner) try(ctx context.Context) error {
	res, err := r.Run(ctx, "pass")
	if err == nil && res.Outcome != Passed {
		err = fmt.Errorf("an empty program %s: %s", res.Outcome, strings.TrimSpace(res.Output))
		if r.confined {
			err = fmt.Errorf("%w: %w", ErrConfinement, err)
		}
	}
	return err
}

// Passes tells whether a program comes to its end without an exception.
func (r *Runner) Passes(ctx context.Context, program string) (bool, error) {
	res, err := r.Run(ctx, program)
	return res.Outcome == Passed, err
}

// Run runs a program. An error says that it could not be run, or that ctx ended.
func (r *Runner) Run(ctx context.Context, program string) (Result, error) {
	folder, err := os.MkdirTemp("", "gojet-execute-")
	if err != nil {
		return Result{}, fmt.Errorf("execute: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	settings, err := json.Marshal(map[string]any{
		"confined": r.confined, "memory": r.cfg.Memory, "disk": r.cfg.Disk, "processes": r.cfg.Processes,
		"seconds": int(math.Ceil(r.cfg.Timeout.Seconds())) + 1,
	})
	if err != nil {
		return Result{}, err
	}
	verdict, theirs, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("execute: %w", err)
	}
	defer verdict.Close()
	limited, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	secret := rand.Text()
	kept := &bounded{room: r.cfg.Output}
	cmd := exec.CommandContext(limited, r.python, "-I", "-B", "-c", confine, string(settings))
	cmd.Dir = folder
	cmd.Env = []string{"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
	cmd.Stdin = strings.NewReader(secret + "\n" + program)
	cmd.Stdout, cmd.Stderr = kept, kept
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.WaitDelay = time.Second
	if r.confined {
		cmd.Dir = "/"
		if err := isolate(cmd); err != nil {
			return Result{}, errors.Join(err, theirs.Close())
		}
	}
	begun := time.Now()
	err = launch(cmd, theirs)
	res := Result{Outcome: Failed, Output: kept.kept.String(), Duration: time.Since(begun)}
	if errors.As(err, new(startError)) {
		if r.confined && !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrConfinement, err)
		}
		return Result{}, err
	}
	said := read(verdict)
	switch why, setup := strings.CutPrefix(said, "setup: "); {
	case ctx.Err() != nil:
		return Result{}, ctx.Err()
	case setup && r.confined:
		return Result{}, fmt.Errorf("%w: %s", ErrConfinement, why)
	case setup:
		return Result{}, fmt.Errorf("execute: %s", why)
	case said == secret+"\n":
		res.Outcome = Passed
	case limited.Err() != nil:
		res.Outcome = TimedOut
	}
	return res, nil
}

// read takes what the program said of itself without waiting for what it may have left behind.
func read(verdict *os.File) string {
	_ = verdict.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	said, _ := io.ReadAll(io.LimitReader(verdict, 4096))
	return string(said)
}

// startError is about a process that did not come to be.
type startError struct{ error }

func (e startError) Unwrap() error { return e.error }

// bounded keeps the beginning of what is written.
type bounded struct {
	kept bytes.Buffer
	room int
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.room - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
