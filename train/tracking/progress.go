package tracking

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress shows how far a stage is.
type Progress interface {
	// Start begins a stage of total steps; one that was going on is done.
	Start(stage string, total int)
	// Step reports a finished step, counted from 1 within the stage, its loss, and the tokens it trained on.
	Step(step int, loss float64, tokens int)
	// Done ends the stage, finished or not.
	Done()
	// Write shows whole lines of text between those of the progress.
	io.Writer
}

// NewProgress is a live line where w is a terminal that can show it, and elsewhere plain lines, one every so often.
func NewProgress(w io.Writer, every time.Duration) Progress {
	if width, _, err := cwriter.New(w).GetTermSize(); err == nil && width >= leastWidth && os.Getenv("TERM") != "dumb" {
		return &live{out: w, refresh: liveRefresh}
	}
	return &plain{out: w, every: every, state: state{now: time.Now}}
}

// leastWidth of a terminal for a live line, in columns. Some know no size and report 0.
const leastWidth = 40

// liveRefresh is the time between two pictures of the live line.
const liveRefresh = 200 * time.Millisecond

// state is what is known of the stage going on.
type state struct {
	now    func() time.Time
	stage  string
	total  int
	step   int
	loss   float64
	before time.Time // of the step before
	pace   pace
}

func (s *state) start(stage string, total int) {
	*s = state{now: s.now, stage: stage, total: total, before: s.now()}
}

func (s *state) advance(step int, loss float64, tokens int) {
	now := s.now()
	s.pace.add(now.Sub(s.before).Seconds(), tokens)
	s.step, s.loss, s.before = step, loss, now
}

// head and tail are the line before and after the bar.
func (s *state) head() string {
	width := len(fmt.Sprint(s.total))
	return strings.TrimSpace(fmt.Sprintf("%s %*d/%d", s.stage, width, s.step, s.total))
}

func (s *state) tail() string {
	if s.pace.steps == 0 {
		return "starting"
	}
	return fmt.Sprintf("loss %s  %s tokens/s  %s left", lossText(s.loss), count(s.pace.tokensPerSecond()), secondsText(s.left()))
}

// left is the time that the stage still takes, in seconds.
func (s *state) left() float64 { return float64(max(0, s.total-s.step)) * s.pace.secondsPerStep() }

// paceSteps is about how many of the last steps the pace is the mean of.
const paceSteps = 32

// pace is the mean time and tokens of a step, of the last steps more than of those long ago.
type pace struct {
	steps                   int
	weight, seconds, tokens float64
}

func (p *pace) add(seconds float64, tokens int) {
	const keep = 1 - 1.0/paceSteps
	p.steps++
	p.weight = p.weight*keep + 1
	p.seconds = p.seconds*keep + seconds
	p.tokens = p.tokens*keep + float64(tokens)
}

func (p *pace) secondsPerStep() float64 { return p.seconds / p.weight }

func (p *pace) tokensPerSecond() float64 {
	if p.seconds <= 0 {
		return 0
	}
	return p.tokens / p.seconds
}

// plain writes a line for the first and the last step, and in between one every so often.
type plain struct {
	mu     sync.Mutex
	out    io.Writer
	every  time.Duration
	state  state
	active bool
	shown  int // step of the last line
	at     time.Time
}

func (p *plain) Start(stage string, total int) {
	p.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.start(stage, total)
	p.active, p.shown = true, 0
}

func (p *plain) Step(step int, loss float64, tokens int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.advance(step, loss, tokens)
	if p.shown == 0 || step >= p.state.total || p.state.before.Sub(p.at) >= p.every {
		p.show()
	}
}

// show writes the line. That nobody could read it is no reason to stop a training, so the error is dropped.
func (p *plain) show() {
	_, _ = fmt.Fprintf(p.out, "%s  %s\n", p.state.head(), p.state.tail())
	p.shown, p.at = p.state.step, p.state.before
}

func (p *plain) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active && p.shown != p.state.step {
		p.show()
	}
	p.active = false
}

func (p *plain) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

// live draws one line again and again. Its picture is made in a goroutine of the library's, hence the lock.
type live struct {
	out     io.Writer
	refresh time.Duration

	mu    sync.Mutex // of state
	state state

	life sync.Mutex    // of bars, which messages come from any goroutine to
	bars *mpb.Progress // nil between stages
	bar  *mpb.Bar
}

func (l *live) Start(stage string, total int) {
	l.Done()
	l.mu.Lock()
	l.state.now = time.Now
	l.state.start(stage, total)
	l.mu.Unlock()
	text := func(part func(*state) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string {
			l.mu.Lock()
			defer l.mu.Unlock()
			return part(&l.state)
		})
	}
	l.life.Lock()
	defer l.life.Unlock()
	l.bars = mpb.New(mpb.WithOutput(l.out), mpb.WithAutoRefresh(), mpb.WithRefreshRate(l.refresh))
	// A total of 0 leaves the end of the bar to Done, which a step past the last one must not come after.
	l.bar = l.bars.New(0, mpb.BarStyle(), mpb.BarWidth(barWidth),
		mpb.PrependDecorators(text((*state).head)), mpb.AppendDecorators(text((*state).tail)))
	l.bar.SetTotal(int64(max(1, total)), false)
}

// barWidth of the live line, in columns.
const barWidth = 24

func (l *live) Step(step int, loss float64, tokens int) {
	l.mu.Lock()
	l.state.advance(step, loss, tokens)
	l.mu.Unlock()
	if l.bar != nil {
		l.bar.SetCurrent(int64(step))
	}
}

func (l *live) Done() {
	l.life.Lock()
	defer l.life.Unlock()
	if l.bars == nil {
		return
	}
	l.bar.Abort(false)
	l.bars.Wait()
	l.bars, l.bar = nil, nil
}

func (l *live) Write(text []byte) (int, error) {
	l.life.Lock()
	defer l.life.Unlock()
	if l.bars == nil {
		return l.out.Write(text)
	}
	return l.bars.Write(text)
}

// lossText is a loss with five digits.
func lossText(v float64) string { return fmt.Sprintf("%#.5g", v) }

// count is a number with three digits and its magnitude: 512, 1.23k, 45.6M.
func count(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= 0.9995*unit.size {
			return threeDigits(v/unit.size) + unit.name
		}
	}
	return threeDigits(v)
}

// threeDigits of a number below 1000.
func threeDigits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// secondsText is a time to read at a glance: 42s, 3m05s, 2h07m, 3d04h.
func secondsText(v float64) string {
	if !(v < 1e15) {
		return "forever"
	}
	s := int64(math.Round(v))
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}
