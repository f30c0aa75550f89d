package execute

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func small() Config {
	c := Default()
	c.Timeout, c.Memory, c.Output = 8*time.Second, 256<<20, 2000
	return c
}

func runner(t *testing.T, c Config) *Runner {
	t.Helper()
	r, err := New(t.Context(), c)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, ErrConfinement) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// impatient is for what has to be stopped.
func impatient() Config {
	c := small()
	c.Timeout = 700 * time.Millisecond
	return c
}

func TestRun(t *testing.T) {
	patient, short := runner(t, small()), runner(t, impatient())
	for _, tc := range []struct {
		name, program string
		want          Outcome
		output        string // a part of it
	}{
		{"passes", "def f(x):\n    return x + 1\nassert f(1) == 2\nprint('done')", Passed, "done"},
		{"fails", "assert 1 == 2, 'one'", Failed, "AssertionError: one"},
		{"syntax", "def f(:\n", Failed, "SyntaxError"},
		{"exits early", "import sys\nsys.exit(0)\nassert False", Failed, "SystemExit"},
		{"exits at once", "import os\nos._exit(0)", Failed, ""},
		{"claims", "import os\nos.write(3, b'passed\\n')\nos._exit(0)", Failed, ""},
		{"no main", "if __name__ == '__main__':\n    assert False", Passed, ""},
		{"no input", "input()", Failed, "EOFError"},
		{"sleeps", "import time\ntime.sleep(100)", TimedOut, ""},
		{"loops", "while True: pass", TimedOut, ""},
		{"ignores signals", "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(100)", TimedOut, ""},
		{"catches all", "while True:\n    try:\n        while True: pass\n    except BaseException: pass", TimedOut, ""},
		{"crashes", "import ctypes\nctypes.string_at(1)", Failed, ""},
		{"memory", "x = [bytearray(1 << 20) for _ in range(4096)]", Failed, "MemoryError"},
		{"one large block", "x = bytearray(4 << 30)", Failed, "MemoryError"},
		{"recursion", "def f(): return f()\nf()", Failed, "RecursionError"},
		{"fork bomb", "import os\nwhile True: os.fork()", Failed, "BlockingIOError"},
		{"patient fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", TimedOut, ""},
		{"thread bomb", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()", Failed, "can't start new thread"},
		{"other programs", "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo out'])", Failed, "BlockingIOError"},
		{"becomes another", "import os\nos.execv('/bin/echo', ['echo', 'hello'])", Failed, "hello"},
		{"scratch", "open('a', 'w').write('x')\nassert open('/tmp/a').read() == 'x'", Passed, ""},
		{"full disk", "for i in range(99): open(str(i), 'w').write('x' * (1 << 20))", Failed, "No space left"},
		{"surrogates", "print('\\ud800')", Failed, "UnicodeEncodeError"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := patient
			if tc.want == TimedOut {
				r = short
			}
			res, err := r.Run(t.Context(), tc.program)
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome != tc.want || !strings.Contains(res.Output, tc.output) {
				t.Errorf("%s, want %s, in %v:\n%s", res.Outcome, tc.want, res.Duration, res.Output)
			}
			if tc.want == TimedOut && res.Duration > 4*time.Second {
				t.Errorf("took %v", res.Duration)
			}
		})
	}
}

// TestConfined: what lies outside is out of reach.
func TestConfined(t *testing.T) {
	t.Setenv("GOJET_SECRET", "hush-hush")
	r := runner(t, small())
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{
		"environment": "import os\nassert 'GOJET_SECRET' not in os.environ, 'leaked'\nraise OSError",
		"parent":      "import os\nassert os.getpid() == 1\nassert not any('hush-hush' in open('/proc/' + p + '/environ', errors='replace').read() for p in os.listdir('/proc') if p.isdigit()), 'leaked'\nraise OSError",
		"kill":        "import os\nfor p in range(2, 100000):\n    try: os.kill(p, 9)\n    except ProcessLookupError: pass\nraise OSError",
		"network":     "import socket\ns = socket.create_connection(('127.0.0.1', 1), timeout=1)",
		"datagrams":   "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
		"names":       "import socket\nsocket.getaddrinfo('localhost.example', 80)",
		"interface":   "import socket\nassert [n for _, n in socket.if_nameindex()] in ([], ['lo']), socket.if_nameindex()\nraise OSError",
		"files":       "open(" + quote(outside) + ", 'w').write('theirs')",
		"home":        "import os\nopen(os.path.expanduser('~/x'), 'w')",
		"devices":     "open('/dev/shm/x', 'w')",
		"mounts":      "import ctypes, os\nl = ctypes.CDLL(None, use_errno=True)\nr = l.mount(b'none', b'/tmp', b'tmpfs', 0, b'')\nassert r < 0\nraise OSError",
		"root":        "import os\nos.setuid(1)\nos.mkdir('/x')",
	} {
		t.Run(name, func(t *testing.T) {
			res, err := r.Run(t.Context(), program)
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome != Failed || !strings.Contains(res.Output, "rror") || strings.Contains(res.Output, "AssertionError") {
				t.Errorf("%s:\n%s", res.Outcome, res.Output)
			}
		})
	}
	t.Cleanup(func() {
		if b, err := os.ReadFile(outside); err != nil || string(b) != "mine" {
			t.Errorf("the file outside has %q, %v", b, err)
		}
	})
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "\\'") + "'" }

func TestOutputIsBounded(t *testing.T) {
	r := runner(t, impatient())
	res, err := r.Run(t.Context(), "import sys\nwhile True: sys.stdout.write('y' * 65536)")
	if err != nil || res.Outcome != TimedOut || len(res.Output) != r.cfg.Output {
		t.Errorf("%v, %v, %d bytes of output, want %d", res.Outcome, err, len(res.Output), r.cfg.Output)
	}
}

func TestCancel(t *testing.T) {
	r := runner(t, small())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := r.Run(ctx, "import time\ntime.sleep(100)")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
		t.Errorf("cancelled: %v after %v", err, time.Since(begun))
	}
}

func TestNothingIsLeft(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	c := small()
	c.Processes = 20
	r := runner(t, c)
	// A grandchild in a session of its own holds the pipes open.
	res, err := r.Run(t.Context(), "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.fork()\n    time.sleep(77.125)\ntime.sleep(0.2)")
	if err != nil || res.Outcome != Passed || res.Duration > 7*time.Second {
		t.Errorf("a program with children: %+v, %v", res, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	if runtime.GOOS == "linux" {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, l := range lines {
			if b, err := os.ReadFile(l); err == nil && strings.Contains(string(b), `"processes":20`) {
				t.Errorf("%s is still there", l)
			}
		}
	}
}

// TestUnconfined runs with limits alone, as where there are no namespaces.
func TestUnconfined(t *testing.T) {
	r := runner(t, small())
	c := r.cfg
	c.Timeout = 2 * time.Second
	r = &Runner{cfg: c, python: r.python}
	t.Setenv("GOJET_SECRET", "hush-hush")
	for program, want := range map[string]Outcome{
		"import os\nassert 'GOJET_SECRET' not in os.environ": Passed,
		"x = bytearray(4 << 30)":                             Failed,
		"import time\ntime.sleep(100)":                       TimedOut,
		"open('a', 'w').write('x')":                          Passed,
	} {
		if res, err := r.Run(t.Context(), program); err != nil || res.Outcome != want {
			t.Errorf("%q: %+v, %v, want %s", program, res, err, want)
		}
	}
	if r.Confined() {
		t.Error("it says that it is confined")
	}
}

func TestRefusals(t *testing.T) {
	c := Default()
	c.Python = filepath.Join(t.TempDir(), "python3")
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), c.Python) {
		t.Errorf("no interpreter: %v", err)
	}
	if err := os.WriteFile(c.Python, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(c.Python), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), c); err == nil {
		t.Error("an interpreter that does nothing was taken")
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Timeout = 0 }, func(c *Config) { c.Memory = 1 }, func(c *Config) { c.Processes = 0 },
		func(c *Config) { c.Disk = 0 }, func(c *Config) { c.Output = -1 },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
