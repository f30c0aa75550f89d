package supernet

import (
	"errors"
	"math"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// Trainer trains the linear blocks, a path at a time. The gradients of a layer are clipped and applied as soon as they
// are there, so that those of one layer alone are held; AdamW counts the steps that a layer took.
type Trainer struct {
	config  Config
	net     *Net
	runner  *runner
	sampler sampler

	backward [search.Kinds]*backward
	head     *program // KL, and its gradient at the last layer
	kl       *autograd.Node
	updates  []*update
	losses   []autograd.Value // the hidden distance after each layer
}

// Report is what one step did.
type Report struct {
	Path         search.Placement
	Loss         float64
	Hidden, KL   float64 // unweighted; NaN where the loss lacks them
	GradNorm     float64 // the greatest of a layer, before clipping
	LR           float64
	Tokens       int
	Skipped      int // layers whose gradients were not finite and that were left as they were
	FLOPs        int64
	LayersRun    int64
	LayersShared int64 // of the student's path, taken from the teacher's
}

// backward is a layer's program in reverse: it computes the layer again from x, compares with the teacher's target, and
// adds the gradient that comes from above.
type backward struct {
	*program
	target, above *autograd.Node
	loss, dx      *autograd.Node
	grads         []*autograd.Node // of the mixer's weights, where the kind learns
}

// update is the optimiser of one layer.
type update struct {
	exec          *autograd.Executor
	clip, stepped *autograd.Node
	settings      autograd.Value // learning rate and step
	names         []string
	m, v          []autograd.Value
	applied       int
}

// NewTrainer prepares training on micro-batches of at most docs documents. full and window are the search's budget.
func NewTrainer(n *Net, c Config, docs, full, window int, seed uint64) (*Trainer, error) {
	if n.bodies[search.Linear] == nil {
		return nil, errors.New("supernet: there is no linear block to train")
	}
	t := &Trainer{config: c, net: n, runner: newRunner(n, c.Rows*c.Length, docs), updates: make([]*update, n.Layers())}
	t.sampler = sampler{kind: c.Sampling, layers: n.Layers(), full: full, window: window, seed: seed}
	for range n.Layers() {
		v, err := n.machine.Zeros(autograd.Float32, autograd.Data)
		if err != nil {
			return nil, err
		}
		t.losses = append(t.losses, v)
	}
	return t, nil
}

// mixer lists the weights of the mixer of layer i.
func (b *body) mixer(i int) []layers.Param {
	var ps []layers.Param
	for _, p := range b.Decoder.LayerParams(i) {
		if strings.Contains(p.Name, mixerMark) {
			ps = append(ps, p)
		}
	}
	return ps
}

func (t *Trainer) reverse(k search.Kind) (*backward, error) {
	if t.backward[k] != nil {
		return t.backward[k], nil
	}
	body := t.net.bodies[k]
	b := t.runner.build()
	x := b.stream("x")
	back := &backward{above: b.stream("above")}
	y := body.Decoder.Layer(b.g, b.in, 0, x)
	outputs, seeds, wrt := []*autograd.Node{y}, []*autograd.Node{back.above}, []*autograd.Node{x}
	if w := t.config.Loss.Hidden; w != 0 {
		back.target = b.stream("target")
		labels := b.ints("compared", t.runner.compared, t.runner.tokens)
		one := b.g.Input("one", autograd.Data)
		unit := autograd.Zeros(autograd.Float32)
		unit.Set(0, 1)
		b.data[one] = unit
		back.loss = b.g.HiddenMSE(y, back.target, labels, w/float64(t.net.Layers())).Value
		outputs, seeds = append(outputs, back.loss), append(seeds, one)
	}
	if body.learns {
		for _, p := range body.mixer(0) {
			wrt = append(wrt, b.g.Inputs()[p.Name])
		}
	}
	grads := b.g.BackwardFrom(outputs, seeds, wrt, autograd.BackwardConfig{})
	if b.g.Err() != nil {
		return nil, b.g.Err()
	}
	back.dx, back.grads = grads[0], grads[1:]
	outs := grads
	if back.loss != nil {
		outs = append(outs, back.loss)
	}
	var err error
	if back.program, err = b.compile(x, outs...); err != nil {
		return nil, err
	}
	t.backward[k] = back
	return back, nil
}

// optimizer is that of layer i, which reads the gradients where the backward program leaves them. saved continues an
// earlier run.
func (t *Trainer) optimizer(i int) (*update, error) {
	if t.updates[i] != nil && t.updates[i].exec != nil {
		return t.updates[i], nil
	}
	body := t.net.bodies[search.Linear]
	back, err := t.reverse(search.Linear)
	if err != nil {
		return nil, err
	}
	u := t.updates[i]
	if u == nil {
		if u, err = t.fresh(i); err != nil {
			return nil, err
		}
		t.updates[i] = u
	}
	g := autograd.NewGraph(autograd.Float32)
	settings := g.Input("settings", autograd.Data, 2)
	u.settings = autograd.Zeros(autograd.Float32, 2)
	values := map[*autograd.Node]autograd.Value{settings: u.settings}
	input := func(name string, role autograd.Role, p layers.Param, v autograd.Value) *autograd.Node {
		n := g.Input(name, role, p.Shape...)
		values[n] = v
		return n
	}
	params := body.mixer(i)
	grads := make([]*autograd.Node, len(params))
	for k, p := range params {
		grads[k] = input("gradient of "+p.Name, autograd.Data, p, back.exec.Value(back.grads[k]))
	}
	o := t.config.Optimizer
	u.clip = g.ClipFactor(o.ClipNorm, grads...)
	outs := []*autograd.Node{u.clip}
	for k, p := range params {
		cfg := autograd.AdamWConfig{Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Eps}
		if p.Decay {
			cfg.WeightDecay = o.WeightDecay
		}
		outs = append(outs, g.AdamW(cfg, input(p.Name, autograd.Parameter, p, body.weights[p.Name]),
			input("m of "+p.Name, autograd.Accumulator, p, u.m[k]), input("v of "+p.Name, autograd.Accumulator, p, u.v[k]), grads[k], u.clip, settings))
	}
	u.stepped = outs[1]
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		return nil, err
	}
	u.exec = autograd.NewExecutor(plan, t.net.machine)
	for n, v := range values {
		if err := u.exec.Bind(n, v); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// fresh is the optimiser's state of a layer that has taken no step.
func (t *Trainer) fresh(i int) (*update, error) {
	u := &update{}
	for _, p := range t.net.bodies[search.Linear].mixer(i) {
		m, err := t.net.machine.Zeros(autograd.Float32, autograd.Accumulator, p.Shape...)
		if err != nil {
			return nil, err
		}
		v, err := t.net.machine.Zeros(autograd.Float32, autograd.Accumulator, p.Shape...)
		if err != nil {
			return nil, err
		}
		u.names, u.m, u.v = append(u.names, p.Name), append(u.m, m), append(u.v, v)
	}
	return u, nil
}

// Step takes step number step, counted from 0, on a batch.
func (t *Trainer) Step(step int, b train.Batch) (Report, error) {
	c := t.config
	r := Report{Path: t.sampler.path(step), LR: c.Schedule.At(step, c.Steps, c.Optimizer.LR)}
	if err := t.net.check(r.Path); err != nil {
		return r, err
	}
	if err := t.runner.load(b); err != nil {
		return r, err
	}
	train.Distilled(t.runner.compared, b)
	for _, l := range t.runner.compared {
		if l != linearloss.Ignore {
			r.Tokens++
		}
	}
	runs, flops := t.runner.runs, t.runner.flops
	if err := t.pass(&r); err != nil {
		return r, err
	}
	r.LayersRun, r.FLOPs = t.runner.runs-runs, t.runner.flops-flops
	return r, t.read(&r)
}

// pass runs teacher, path and reverse.
func (t *Trainer) pass(r *Report) error {
	n := t.net.Layers()
	room, err := t.runner.room(2*n + 3)
	if err != nil {
		return err
	}
	taught, student, above, zero := room[:n+1], room[n+1:2*n+1], room[2*n+1], room[2*n+2]
	if err := t.runner.start(search.Full, taught[0]); err != nil {
		return err
	}
	for i := range n {
		if err := t.runner.step(search.Full, i, taught[i], taught[i+1]); err != nil {
			return err
		}
	}
	first := 0
	for first < n && r.Path[first] == search.Full {
		first++
	}
	r.LayersShared = int64(first)
	at := func(i int) autograd.Value { // the residual stream before layer i
		if i <= first {
			return taught[i]
		}
		return student[i-1]
	}
	for i := first; i < n; i++ {
		if err := t.runner.step(r.Path[i], i, at(i), at(i+1)); err != nil {
			return err
		}
	}
	gradient := zero
	if t.config.Loss.KL != 0 {
		if err := t.divergence(at(n), taught[n]); err != nil {
			return err
		}
		gradient = t.head.exec.Value(t.head.y)
	}
	for i := n - 1; i >= first; i-- {
		if err := t.back(r, i, at(i), taught[i+1], gradient); err != nil {
			return err
		}
		back := t.backward[r.Path[i]]
		t.net.machine.Copy(above, back.exec.Value(back.dx))
		gradient = above
	}
	return nil
}

// back runs layer i in reverse and, where it learns, applies its gradients.
func (t *Trainer) back(r *Report, i int, x, target, above autograd.Value) error {
	k := r.Path[i]
	p, err := t.reverse(k)
	if err != nil {
		return err
	}
	if err := errors.Join(p.bind(t.net.bodies[k].weights, i), p.exec.Bind(p.x, x), p.exec.Bind(p.above, above)); err != nil {
		return err
	}
	if p.target != nil {
		if err := p.exec.Bind(p.target, target); err != nil {
			return err
		}
	}
	if err := t.runner.run(p.exec); err != nil {
		return err
	}
	if p.loss != nil {
		t.net.machine.Copy(t.losses[i], p.exec.Value(p.loss))
	}
	if !t.net.bodies[k].learns {
		return nil
	}
	u, err := t.optimizer(i)
	if err != nil {
		return err
	}
	u.settings.Set(0, r.LR)
	u.settings.Set(1, float64(u.applied+1))
	return t.runner.run(u.exec)
}

// divergence runs norm, head and KL on both streams, and leaves the gradient at x.
func (t *Trainer) divergence(x, taught autograd.Value) error {
	if t.head == nil {
		d := t.net.Teacher.Decoder
		b := t.runner.build()
		xn, tn := b.stream("x"), b.stream("target")
		labels := b.ints("compared", t.runner.compared, t.runner.tokens)
		head := d.Head(b.g, "")
		loss := b.g.LinearKL(d.Norm(b.g, b.in, xn), head, d.Norm(b.g, b.in, tn), head, labels, t.config.Loss.Temperature, t.config.Loss.KL)
		grads := b.g.Backward(loss.Value, []*autograd.Node{xn}, autograd.BackwardConfig{})
		p, err := b.compile(xn, grads[0], loss.Value)
		if err != nil {
			return err
		}
		if err := p.bind(t.net.placed, 0); err != nil {
			return err
		}
		t.head, t.kl = p, loss.Value
		p.params["target"] = tn
	}
	if err := errors.Join(t.head.exec.Bind(t.head.x, x), t.head.exec.Bind(t.head.params["target"], taught)); err != nil {
		return err
	}
	return t.runner.run(t.head.exec)
}

// read brings a step's numbers to the host, once all of it is queued.
func (t *Trainer) read(r *Report) error {
	r.Hidden, r.KL = math.NaN(), math.NaN()
	if w := t.config.Loss.Hidden; w != 0 {
		var sum float64
		for i := int(r.LayersShared); i < t.net.Layers(); i++ {
			v, err := t.net.machine.Fetch(t.losses[i])
			if err != nil {
				return err
			}
			sum += v.At(0)
		}
		r.Hidden = sum / w
		r.Loss += sum
	}
	if w := t.config.Loss.KL; w != 0 {
		kl, err := t.head.exec.Scalar(t.kl, 0)
		if err != nil {
			return err
		}
		r.KL = kl / w
		r.Loss += kl
	}
	for i, k := range r.Path {
		if k != search.Linear {
			continue
		}
		u := t.updates[i]
		stepped, err := u.exec.Scalar(u.stepped, 0)
		if err != nil {
			return err
		}
		if stepped != 0 {
			u.applied++
		} else {
			r.Skipped++
		}
		norm, err := u.exec.Scalar(u.clip, 0)
		if err != nil {
			return err
		}
		r.GradNorm = math.Max(r.GradNorm, norm)
	}
	return nil
}

// Close gives the memory of a device back. What was learned stays with the network.
func (t *Trainer) Close() error {
	errs := []error{t.runner.close()}
	for _, b := range t.backward {
		if b != nil {
			errs = append(errs, b.exec.Close())
		}
	}
	if t.head != nil {
		errs = append(errs, t.head.exec.Close())
	}
	for _, u := range t.updates {
		if u == nil {
			continue
		}
		if u.exec != nil {
			errs = append(errs, u.exec.Close())
		}
		for k := range u.m {
			t.net.machine.Free(u.m[k])
			t.net.machine.Free(u.v[k])
		}
	}
	for _, v := range t.losses {
		t.net.machine.Free(v)
	}
	return errors.Join(errs...)
}
