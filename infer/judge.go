package infer

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	host "github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/embedding"
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
		e.judges = newJudges(e.machine.Device, e.machine.Float, e.Vocab())
	}
	return e.judges.judge(logits, n, vs)
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

// judges give verdicts on a device, where logits stay. A greedy choice for every place brings the likeliest token and its
// log-probability, which the difference of two logits turns into that of another token.
type judges struct {
	device *device.Device
	vocab  int
	args   sampling.DeviceArgs // for mostAsked places
	at     device.Tensor       // int32 [mostAsked], elements of logits
	found  device.Tensor       // float32 [mostAsked]
}

func newJudges(d *device.Device, t device.Type, vocab int) *judges {
	j := &judges{d, vocab, sampling.DeviceArgs{
		Vocab: vocab, Settings: d.New(device.Float32, sampling.SettingsLen*mostAsked), Draws: d.New(device.Int32, 3*mostAsked),
		IDs: d.New(device.Int32, mostAsked), LogProb: d.New(device.Float32, mostAsked),
		Scratch: d.New(device.Float32, int(sampling.DeviceScratch(mostAsked, vocab, t)/4)),
	}, d.New(device.Int32, mostAsked), d.New(device.Float32, mostAsked)}
	var settings []float32
	for range mostAsked {
		settings = append(settings, sampling.Settings{TopP: 1, RepetitionPenalty: 1}.Values()...)
	}
	device.Upload(d, j.args.Settings, settings)
	d.Zero(j.args.Draws)
	return j
}

func (j *judges) free() {
	for _, t := range []device.Tensor{j.args.Settings, j.args.Draws, j.args.IDs, j.args.LogProb, j.args.Scratch, j.at, j.found} {
		j.device.Free(t)
	}
}

func (j *judges) judge(logits autograd.Value, n int, vs []verdict) error {
	best, logProb := make([]int32, n), make([]float32, n)
	for lo := 0; lo < n; lo += mostAsked {
		k := min(mostAsked, n-lo)
		a := j.args
		a.S, a.Logits = k, logits.Dev.Slice(lo*j.vocab, k*j.vocab)
		a.Settings, a.Draws, a.IDs, a.LogProb = a.Settings.Slice(0, sampling.SettingsLen*k), a.Draws.Slice(0, 3*k), a.IDs.Slice(0, k), a.LogProb.Slice(0, k)
		sampling.DeviceChoose(j.device, &a)
		if err := device.Download(j.device, best[lo:lo+k], a.IDs); err != nil {
			return err
		}
		if err := device.Download(j.device, logProb[lo:lo+k], a.LogProb); err != nil {
			return err
		}
	}
	var at []int32
	for _, v := range vs {
		if best[v.place] < 0 {
			return fmt.Errorf("infer: request %d: the logits after one of its tokens are NaN or +Inf, or all -Inf", v.request)
		}
		at = append(at, int32(v.place*j.vocab)+best[v.place], int32(v.place*j.vocab)+v.id)
	}
	z, err := j.elements(logits.Dev, at)
	if err != nil {
		return err
	}
	for i := range vs {
		v := &vs[i]
		v.logProb, v.best = float64(logProb[v.place])+float64(z[2*i+1])-float64(z[2*i]), best[v.place] == v.id
	}
	return nil
}

// elements returns those of a tensor at some places.
func (j *judges) elements(of device.Tensor, at []int32) ([]float32, error) {
	found := make([]float32, len(at))
	for lo := 0; lo < len(at); lo += mostAsked {
		n := min(mostAsked, len(at)-lo)
		device.Upload(j.device, j.at.Slice(0, n), at[lo:lo+n])
		embedding.DeviceForward(j.device, &embedding.DeviceForwardArgs{N: n, Vocab: of.Len, D: 1, Y: j.found.Slice(0, n), W: of, IDs: j.at.Slice(0, n)})
		if err := device.Download(j.device, found[lo:lo+n], j.found.Slice(0, n)); err != nil {
			return nil, err
		}
	}
	return found, nil
}
