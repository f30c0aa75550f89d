package autograd

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// StepReport describes one step of a plan.
type StepReport struct {
	Op     string   `json:"op"`
	In     []string `json:"in"`
	Out    []string `json:"out"`
	Bytes  int64    `json:"bytes"` // read and written
	FLOPs  int64    `json:"flops"`
	Offset []int64  `json:"offset"` // of each result in the arena; -1 where it is not wanted
	Reused bool     `json:"in_place"`
	// Time is the total measured by an executor with Profile set.
	Time time.Duration `json:"time_ns,omitempty"`
}

// Steps describes every step of the plan in order.
func (p *Plan) Steps() []StepReport {
	reports := make([]StepReport, len(p.steps))
	for i, st := range p.steps {
		r := StepReport{Op: st.op.Name()}
		for _, n := range st.in {
			r.In = append(r.In, label(p, n))
			r.Bytes += p.storages[p.place[n]].bytes
		}
		for _, n := range st.out {
			if n == nil {
				r.Out, r.Offset = append(r.Out, "-"), append(r.Offset, -1)
				continue
			}
			s := p.storages[p.place[n]]
			r.Out = append(r.Out, fmt.Sprint(n.Shape()))
			r.Offset = append(r.Offset, s.offset)
			r.Bytes += s.bytes
			r.FLOPs += int64(size(n.Shape()))
			r.Reused = r.Reused || s.from < i
		}
		if c, ok := st.op.(Costed); ok {
			r.FLOPs = c.FLOPs(shapes(st.in))
		}
		reports[i] = r
	}
	return reports
}

// label names an input and gives any node's shape.
func label(p *Plan, n *Node) string {
	if p.graph.info[n] == nil {
		return fmt.Sprintf("%s%v", n.Name(), n.Shape())
	}
	return fmt.Sprint(n.Shape())
}

// FLOPs returns the floating-point operations of one run.
func (p *Plan) FLOPs() int64 {
	var n int64
	for _, s := range p.Steps() {
		n += s.FLOPs
	}
	return n
}

// Print writes the plan as a table, one line a step, with its totals.
func (p *Plan) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "step\top\tin\tout\tbytes\tFLOPs\toffset")
	for i, s := range p.Steps() {
		note := ""
		if s.Reused {
			note = " in place"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%d\t%s%s\n", i, s.Op, strings.Join(s.In, " "), strings.Join(s.Out, " "), s.Bytes, s.FLOPs,
			strings.Trim(fmt.Sprint(s.Offset), "[]"), note)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	m := p.Memory()
	_, err := fmt.Fprintf(w, "\n%d steps, %.4g GFLOP a run\nparameters %s, state %s, data %s\nvalues in between: peak %s shared, %s unshared\n",
		len(p.steps), float64(p.FLOPs())/1e9, bytesText(m.Parameters), bytesText(m.State), bytesText(m.Data), bytesText(m.Arena), bytesText(m.Unshared))
	return err
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.2f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// Times describes the plan's steps with the time spent in each since the last Reset.
func (e *Executor) Times() []StepReport {
	r := e.plan.Steps()
	for i := range r {
		r[i].Time = e.spent[i]
	}
	return r
}
