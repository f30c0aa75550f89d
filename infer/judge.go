package infer

import (
	"fmt"
	"math"

	"github.com/gojet/gojet/autograd"
	host "github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/sampling"
)

// verdict is what the logits of a place say of a token: its log-probability and whether it is the likeliest.
type verdict struct {
	request int
	place   int // in the logits of the run
	id      int32
	logProb float64
	best    bool
}

// judge gives the verdicts on tokens behind the first n places of a run.
func (e *Engine) judge(p *program, n int, vs []verdict) error {
	logits := e.piece(p.exec.Value(p.logits), 0, n)
	if e.machine.Device == nil {
		return judgeOnHost(e.machine.Cores, logits.F32, e.Vocab(), n, vs)
	}
	if e.judges == nil {
		e.judges = sampling.NewJudge(e.machine.Device, e.machine.Float, e.Vocab(), mostAsked)
	}
	return judgeOnDevice(e.judges, logits, n, vs)
}

// judged are the logits of a place and their distribution.
type judged struct {
	logits []float32
	host.Distribution
	err error
}

func judgeOnHost(c *cpu.Cores, logits []float32, vocab, n int, vs []verdict) error {
	places := make([]judged, n)
	for i := range places {
		places[i].logits = logits[i*vocab : (i+1)*vocab]
	}
	job := cpu.Borrow(c, places)
	job.For(n, 1, func(places *[]judged, _ *cpu.Worker, i, _ int) {
		p := &(*places)[i]
		p.Distribution, p.err = host.NewDistribution(p.logits)
	})
	job.Return()
	for i := range vs {
		v := &vs[i]
		p := &places[v.place]
		if p.err != nil {
			return fmt.Errorf("infer: request %d: %w", v.request, p.err)
		}
		v.logProb, v.best = p.LogProb(v.id), p.Best() == v.id
	}
	return nil
}

// judgeOnDevice brings verdicts alone to the host.
func judgeOnDevice(j *sampling.Judge, logits autograd.Value, n int, vs []verdict) error {
	places, ids := make([]int32, len(vs)), make([]int32, len(vs))
	for i, v := range vs {
		places[i], ids[i] = int32(v.place), v.id
	}
	logProb, best, err := j.Tokens(logits.Dev, n, places, ids)
	if err != nil {
		return err
	}
	for i := range vs {
		if math.IsNaN(logProb[i]) {
			return fmt.Errorf("infer: request %d: the logits after one of its tokens are NaN or +Inf, or all -Inf", vs[i].request)
		}
		vs[i].logProb, vs[i].best = logProb[i], best[i]
	}
	return nil
}
