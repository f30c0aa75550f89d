package tracking

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal of 100 columns: what is written to tty is read from the other end.
func terminal(t *testing.T) (other, tty *os.File) {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	t.Cleanup(func() { other.Close() })
	fd := int(other.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	return other, tty
}

// TestPoorTerminal: a terminal that cannot show a live line gets plain ones.
func TestPoorTerminal(t *testing.T) {
	t.Setenv("TERM", "vt100")
	other, tty := terminal(t)
	defer tty.Close()
	isPlain := func() bool {
		_, ok := NewProgress(tty, time.Hour).(*plain)
		return ok
	}
	if isPlain() {
		t.Error("plain lines on a terminal")
	}
	t.Setenv("TERM", "dumb")
	if !isPlain() {
		t.Error("a live line on a dumb terminal")
	}
	t.Setenv("TERM", "vt100")
	if err := unix.IoctlSetWinsize(int(other.Fd()), unix.TIOCSWINSZ, &unix.Winsize{}); err != nil {
		t.Fatal(err)
	}
	if !isPlain() {
		t.Error("a live line on a terminal of no width")
	}
}

func TestLiveProgress(t *testing.T) {
	t.Setenv("TERM", "vt100")
	other, tty := terminal(t)
	shown := make(chan string)
	go func() {
		all, _ := io.ReadAll(other) // ends with an error when the terminal is closed
		shown <- string(all)
	}()
	p := NewProgress(tty, time.Hour)
	p.(*live).refresh = 10 * time.Millisecond
	for _, stage := range []string{"warm", "distil"} {
		p.Start(stage, 40)
		for i := 21; i <= 40; i++ {
			p.Step(i, 100/float64(i), 512)
			time.Sleep(2 * time.Millisecond)
			if i == 30 {
				fmt.Fprintln(p, "saved "+stage)
			}
		}
		p.Done()
		fmt.Fprintln(p, "after "+stage)
	}
	p.Start("cut off", 1e6)
	p.Step(1, 1, 512)
	p.Done()
	p.Done()
	tty.Close()
	got := <-shown
	for _, part := range []string{"warm 40/40 [====", "loss 2.5000", "tokens/s", "0s left", "saved warm", "after warm", "distil 40/40", "saved distil", "cut off       1/1000000", "\x1b["} {
		if !strings.Contains(got, part) {
			t.Errorf("the terminal lacks %q", part)
		}
	}
	if lines := strings.Split(got, "\n"); len(lines) > 3 {
		for _, l := range lines {
			if plain := strings.Trim(l, "\r"); len(plain) > 110 { // with escapes
				t.Errorf("line of %d bytes is wider than the terminal: %q", len(plain), plain)
			}
		}
	}
}
