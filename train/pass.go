package train

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/layers"
)

// pass is the objective compiled: student, teacher where there is one, losses, and gradients where weights learn.
type pass struct {
	stage Stage
	exec  *autograd.Executor
	docs  int

	ids, labels, distill, seq []int32 // what the plan reads
	scale                     autograd.Value

	ce, kl autograd.Loss
	hidden *autograd.Node
	grads  []*autograd.Node
}

// newPass compiles the objective of a stage for micro-batches of Rows·Length tokens in at most docs documents, with
// gradients for learns; none of them makes an evaluation. Where sums holds a buffer for a weight, its gradient is added
// there.
func newPass(s Stage, student Net, teacher *Net, m *autograd.Machine, docs int, learns []layers.Param, sums layers.Weights) (*pass, error) {
	n := s.Rows * s.Length
	p := &pass{stage: s, docs: docs, ids: make([]int32, n), labels: make([]int32, n), distill: make([]int32, n), seq: make([]int32, 3*(docs+1)), scale: autograd.Zeros(s.Precision.graph())}
	g := autograd.NewGraph(s.Precision.graph())
	in := layers.Inputs{IDs: g.Ints("ids", n), Seq: g.Sequences("sequences", docs)}
	labels, distill := g.Ints("labels", n), g.Ints("distilled tokens", n)
	scale := g.Input("share of the step", autograd.Data)
	total := p.objective(g, in, labels, distill, student, teacher)
	outs := []*autograd.Node{total}
	for _, l := range []autograd.Loss{p.ce, p.kl} {
		if l.Value != nil {
			outs = append(outs, l.Value, l.Counts)
		}
	}
	if p.hidden != nil {
		outs = append(outs, p.hidden)
	}
	values := map[*autograd.Node]autograd.Value{
		in.IDs: autograd.Int32s(p.ids, n), in.Seq: autograd.Int32s(p.seq, 3, docs+1), labels: autograd.Int32s(p.labels, n),
		distill: autograd.Int32s(p.distill, n), scale: p.scale,
	}
	outs = append(outs, p.backward(g, total, scale, learns, sums, values)...)
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		return nil, err
	}
	p.exec = autograd.NewExecutor(plan, m)
	for node, v := range values {
		if err := p.exec.Bind(node, v); err != nil {
			return nil, err
		}
	}
	if err := student.Weights.Bind(p.exec, g, ""); err != nil {
		return nil, err
	}
	if teacher != nil {
		err = teacher.Weights.Bind(p.exec, g, teacherOwner)
	}
	return p, err
}

// objective appends both models and the weighted sum of the losses.
func (p *pass) objective(g *autograd.Graph, in layers.Inputs, labels, distill *autograd.Node, student Net, teacher *Net) *autograd.Node {
	loss := p.stage.Loss
	var taught layers.Outputs
	if loss.NeedsTeacher() {
		tin := in
		tin.Owner = teacherOwner
		taught = teacher.Decoder.Forward(g, tin)
	}
	out := student.Decoder.Forward(g, in)
	head := student.Decoder.Head(g, "")
	var terms []*autograd.Node
	if loss.CrossEntropy != 0 {
		p.ce = g.LinearCrossEntropy(out.Hidden, head, labels, loss.CrossEntropy)
		terms = append(terms, p.ce.Value)
	}
	if loss.KL != 0 {
		p.kl = g.LinearKL(out.Hidden, head, taught.Hidden, teacher.Decoder.Head(g, teacherOwner), distill, loss.Temperature, loss.KL)
		terms = append(terms, p.kl.Value)
	}
	if loss.Hidden != 0 {
		var distances []*autograd.Node
		for i, x := range out.Layers {
			distances = append(distances, g.HiddenMSE(x, taught.Layers[i], distill, loss.Hidden/float64(len(out.Layers))).Value)
		}
		p.hidden = g.Sum(distances...)
		terms = append(terms, p.hidden)
	}
	return g.Sum(terms...)
}

// backward appends the gradients and, over several micro-batches, their sums; it returns the outputs that hold them.
func (p *pass) backward(g *autograd.Graph, total, scale *autograd.Node, learns []layers.Param, sums layers.Weights, values map[*autograd.Node]autograd.Value) []*autograd.Node {
	if len(learns) == 0 || g.Err() != nil {
		return nil
	}
	wrt := make([]*autograd.Node, len(learns))
	for i, l := range learns {
		wrt[i] = g.Inputs()[l.Name]
	}
	cfg := autograd.BackwardConfig{Recompute: p.stage.Recompute, Segments: p.stage.RecomputeLayers}
	if p.stage.Accumulate == 1 {
		p.grads = g.Backward(total, wrt, cfg)
		return p.grads
	}
	grads := g.BackwardFrom([]*autograd.Node{total}, []*autograd.Node{scale}, wrt, cfg)
	var outs []*autograd.Node
	for i, l := range learns {
		sum := g.Input("sum of "+l.Name, autograd.Accumulator, l.Shape...)
		values[sum] = sums[l.Name]
		outs = append(outs, g.Accumulate(sum, grads[i]))
	}
	return outs
}

// gradient returns the buffer that holds the gradient of the i-th weight that learns: sum, where micro-batches are added up.
func (p *pass) gradient(i int, sum autograd.Value) autograd.Value {
	if !sum.None() {
		return sum
	}
	return p.exec.Value(p.grads[i])
}

// counts returns the tokens of a micro-batch on which the losses are means.
func (p *pass) counts(b Batch) int {
	labels := b.Labels
	if p.stage.Loss.CrossEntropy == 0 {
		Distilled(p.distill, b)
		labels = p.distill
	}
	n := 0
	for _, l := range labels {
		if l != linearloss.Ignore {
			n++
		}
	}
	return n
}

// run computes one micro-batch and tells its losses; of is how many tokens count in the whole step.
func (p *pass) run(b Batch, of int) (tally, error) {
	if err := p.start(b, of); err != nil {
		return tally{}, err
	}
	return p.tell()
}

// start runs one micro-batch, or on a device queues it.
func (p *pass) start(b Batch, of int) error {
	if len(b.IDs) != len(p.ids) || len(b.Labels) != len(p.labels) || len(b.Cu)-1 > p.docs {
		return fmt.Errorf("train: a batch of %d tokens, %d labels and %d documents, want %d, %d and at most %d",
			len(b.IDs), len(b.Labels), len(b.Cu)-1, len(p.ids), len(p.labels), p.docs)
	}
	copy(p.ids, b.IDs)
	copy(p.labels, b.Labels)
	Distilled(p.distill, b)
	autograd.SetSequences(p.seq, sequencesOf(b))
	p.scale.Set(0, float64(p.counts(b))/float64(max(of, 1)))
	return p.exec.RunAll()
}

// tell reads the losses of the micro-batch that was started last.
func (p *pass) tell() (tally, error) {
	var t tally
	var failed error
	read := func(n *autograd.Node, i int) float64 {
		x, err := p.exec.Scalar(n, i)
		if err != nil {
			failed = err
		}
		return x
	}
	if p.ce.Value != nil {
		t.ce, t.ceTokens, t.agree = read(p.ce.Value, 0)/p.stage.Loss.CrossEntropy, read(p.ce.Counts, 0), read(p.ce.Counts, 1)
	}
	if p.kl.Value != nil {
		t.kl, t.tokens, t.agree = read(p.kl.Value, 0)/p.stage.Loss.KL, read(p.kl.Counts, 0), read(p.kl.Counts, 1)
	}
	if p.hidden != nil {
		t.hidden = read(p.hidden, 0) / p.stage.Loss.Hidden
		for _, l := range p.distill {
			if p.kl.Value == nil && l != linearloss.Ignore {
				t.tokens++
			}
		}
	}
	return t, failed
}
