package harness

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress shows how far a run is: one bar for the task at hand where out is a terminal, elsewhere a line now and then.
type Progress struct {
	out   io.Writer
	live  bool
	bars  *mpb.Progress
	bar   *mpb.Bar
	label string
	total int
	done  int
	shown time.Time
}

// every is the time between two lines.
const every = 10 * time.Second

// leastWidth of a terminal for a bar, in columns.
const leastWidth = 40

// NewProgress writes to out.
func NewProgress(out io.Writer) *Progress {
	width, _, err := cwriter.New(out).GetTermSize()
	return &Progress{out: out, live: err == nil && width >= leastWidth && os.Getenv("TERM") != "dumb"}
}

// Begin ends the bar of the task before and begins one.
func (p *Progress) Begin(name string, task, tasks, requests int) {
	p.End()
	p.label, p.total, p.done, p.shown = fmt.Sprintf("%s (task %d of %d)", name, task+1, tasks), requests, 0, time.Now()
	if !p.live {
		p.line()
		return
	}
	p.bars = mpb.New(mpb.WithOutput(p.out), mpb.WithWidth(leastWidth))
	p.bar = p.bars.AddBar(int64(requests),
		mpb.PrependDecorators(decor.Name(p.label+" "), decor.CountersNoUnit("%d/%d requests")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
}

// Done counts answered requests.
func (p *Progress) Done(requests int) {
	p.done += requests
	if p.bar != nil {
		p.bar.IncrBy(requests)
	} else if now := time.Now(); p.done == p.total || now.Sub(p.shown) >= every {
		p.shown = now
		p.line()
	}
}

// line is for people; that nobody could read it is no reason to stop a run.
func (p *Progress) line() {
	_, _ = fmt.Fprintf(p.out, "%s: %d/%d requests\n", p.label, p.done, p.total)
}

// End takes the bar away.
func (p *Progress) End() {
	if p.bars == nil {
		return
	}
	p.bar.Abort(false)
	p.bars.Wait()
	p.bars, p.bar = nil, nil
}
