// Package parity holds a model to stored reference values: logits, loss, every gradient and a greedy continuation.
package parity

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/sampling"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/embedding"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// Result is one comparison. Error is ‖got−want‖/‖want‖; for greedy it is the share of tokens that differ.
type Result struct {
	What  string  `json:"what"` // logits, loss, gradients or greedy
	Count int     `json:"count"`
	Error float64 `json:"error"`
	Worst string  `json:"worst,omitempty"` // the gradient with the largest error
	Tol   float64 `json:"tolerance"`
}

// OK reports whether the comparison holds.
func (r Result) OK() bool { return r.Error <= r.Tol }

// Config says what to compare.
type Config struct {
	// Tol bounds the relative error of logits and gradients; LossTol that of the loss.
	Tol, LossTol float64
	// Chunk, if above 0, runs the model from state instead: prefill in chunks of that many tokens, then the
	// second half token by token. Loss and gradients are then left out.
	Chunk int
	// FirstChoices, if above 0, asks that of the tokens' most likely successors at most this share differ, instead of
	// a greedy continuation without any difference: what rounding to bfloat16 can promise.
	FirstChoices float64
}

// Expected is a file of reference values: input_ids [B, T] and any of logits [B, T, Vocab], loss [1], grad.NAME for
// each weight and greedy [1, P+A], a prompt followed by its greedy continuation.
type Expected struct{ file *safetensors.File }

// OpenExpected opens a file of reference values.
func OpenExpected(path string) (*Expected, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	if _, ok := f.Tensor("input_ids"); !ok {
		f.Close()
		return nil, fmt.Errorf("parity: %s has no input_ids [B, T]", path)
	}
	return &Expected{file: f}, nil
}

// Close releases the file.
func (x *Expected) Close() error { return x.file.Close() }

// floats reads a tensor of that shape, if there is one of that name.
func (x *Expected) floats(name string, shape ...int) ([]float32, bool, error) {
	t, ok := x.file.Tensor(name)
	if !ok {
		return nil, false, nil
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, false, fmt.Errorf("parity: %s: %s has shape %v, want %v", x.file.Path(), name, t.Shape, shape)
	}
	v, err := t.Float32s()
	return v, true, err
}

// ints reads rows of at least two token ids below vocab, none where there is no tensor of that name.
func (x *Expected) ints(name string, vocab int) (rows [][]int32, err error) {
	t, ok := x.file.Tensor(name)
	if !ok {
		return nil, nil
	}
	if len(t.Shape) != 2 || t.Shape[0] < 1 || t.Shape[1] < 2 {
		return nil, fmt.Errorf("parity: %s: %s has shape %v, want rows of two tokens or more", x.file.Path(), name, t.Shape)
	}
	v, err := t.Int32s()
	if err == nil {
		err = embedding.Check(v, vocab)
	}
	if err != nil {
		return nil, fmt.Errorf("parity: %s: %s: %w", x.file.Path(), name, err)
	}
	for b := range t.Shape[0] {
		rows = append(rows, v[b*t.Shape[1]:(b+1)*t.Shape[1]])
	}
	return rows, nil
}

// lossShape is that of a scalar, which some write as [1].
func (x *Expected) lossShape() []int {
	if t, ok := x.file.Tensor("loss"); ok && len(t.Shape) == 0 {
		return nil
	}
	return []int{1}
}

// Run compares the model with the expectations, on the machine given. On a CPU, weights must be float32 where gradients
// are expected.
func Run(ctx context.Context, d *layers.Decoder, w layers.Weights, x *Expected, on *autograd.Machine, cfg Config) ([]Result, error) {
	placed, err := w.Place(on, nil)
	if err != nil {
		return nil, err
	}
	defer placed.Release(on, w)
	w = placed
	compare := []func(context.Context) ([]Result, error){
		func(context.Context) ([]Result, error) { return trained(d, w, x, on, cfg) },
	}
	if cfg.Chunk > 0 {
		compare[0] = func(context.Context) ([]Result, error) { return chunked(d, w, x, on, cfg) }
	}
	if cfg.FirstChoices == 0 {
		compare = append(compare, func(ctx context.Context) ([]Result, error) { return greedy(ctx, d, w, x, on, cfg) })
	}
	var results []Result
	for _, c := range compare {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := c(ctx)
		if err != nil {
			return nil, err
		}
		results = append(results, r...)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("parity: nothing to compare: the file has none of logits, loss, grad.NAME, greedy")
	}
	return results, nil
}

// trained compares the training graph: logits, loss and gradients.
func trained(d *layers.Decoder, w layers.Weights, x *Expected, on *autograd.Machine, cfg Config) ([]Result, error) {
	rows, err := x.ints("input_ids", d.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	m, err := build(d, w, x, on, rows)
	if m == nil || err != nil {
		return nil, err
	}
	defer m.exec.Close()
	if err := m.exec.RunAll(); err != nil {
		return nil, err
	}
	var results []Result
	if want, ok, err := x.floats("logits", len(rows), len(rows[0]), d.Config.VocabSize); err != nil {
		return nil, err
	} else if ok {
		got, err := m.exec.Read(m.logits)
		if err != nil {
			return nil, err
		}
		results = append(results, Result{What: "logits", Count: len(want), Error: check.RelErr(got.F32, want), Tol: cfg.Tol})
		results = append(results, firstChoices(got.F32, want, d.Config.VocabSize, cfg)...)
	}
	if want, ok, err := x.floats("loss", x.lossShape()...); err != nil {
		return nil, err
	} else if ok {
		got, err := m.exec.Scalar(m.loss, 0)
		if err != nil {
			return nil, err
		}
		e := math.Abs(got-float64(want[0])) / math.Abs(float64(want[0]))
		results = append(results, Result{What: "loss", Count: 1, Error: e, Tol: cfg.LossTol})
	}
	g := Result{What: "gradients", Count: len(m.grads), Tol: cfg.Tol}
	for i, name := range m.gradNames {
		want, _, err := x.floats("grad."+name, m.grads[i].Shape()...)
		if err != nil {
			return nil, err
		}
		got, err := m.exec.Read(m.grads[i])
		if err != nil {
			return nil, err
		}
		if e := check.RelErr(got.F32, want); g.Worst == "" || e > g.Error {
			g.Error, g.Worst = e, name
		}
	}
	if g.Count > 0 {
		results = append(results, g)
	}
	return results, nil
}

// greatest returns the lowest index of the largest value, −1 where there is NaN.
func greatest(z []float32) int {
	best := 0
	for i, v := range z {
		if v != v {
			return -1
		}
		if v > z[best] {
			best = i
		}
	}
	return best
}

// model is a decoder compiled for training on given tokens.
type model struct {
	exec         *autograd.Executor
	logits, loss *autograd.Node
	grads        []*autograd.Node
	gradNames    []string
}

// build compiles what the file has values for; nil if it has none.
func build(d *layers.Decoder, w layers.Weights, x *Expected, on *autograd.Machine, rows [][]int32) (*model, error) {
	b, t := len(rows), len(rows[0])
	g := autograd.NewGraph(autograd.Float32)
	in := layers.Inputs{IDs: g.Ints("ids", b*t), Seq: g.Sequences("sequences", b)}
	labels := g.Ints("labels", b*t)
	h := d.Forward(g, in).Hidden
	m := &model{logits: d.Logits(g, h), loss: g.LinearCrossEntropy(h, d.Head(g, ""), labels, 1).Value}
	var outs []*autograd.Node
	for name, n := range map[string]*autograd.Node{"logits": m.logits, "loss": m.loss} {
		if _, ok := x.file.Tensor(name); ok {
			outs = append(outs, n)
		}
	}
	known := map[string]bool{}
	var wrt []*autograd.Node
	for _, p := range d.Params() {
		known["grad."+p.Name] = true
		if _, ok := x.file.Tensor("grad." + p.Name); ok {
			m.gradNames = append(m.gradNames, p.Name)
			wrt = append(wrt, g.Inputs()[p.Name])
		}
	}
	for _, name := range x.file.Names() {
		if strings.HasPrefix(name, "grad.") && !known[name] {
			return nil, fmt.Errorf("parity: the file expects %s, but the model has no such weight", name)
		}
	}
	if len(wrt) > 0 {
		m.grads = g.Backward(m.loss, wrt, autograd.BackwardConfig{})
	}
	if outs = append(outs, m.grads...); len(outs) == 0 {
		return nil, g.Err()
	}
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		return nil, err
	}
	m.exec = autograd.NewExecutor(plan, on)
	if err := w.Bind(m.exec, g, ""); err != nil {
		return nil, err
	}
	ids := slices.Concat(rows...)
	for node, v := range map[*autograd.Node]autograd.Value{
		in.IDs: autograd.Int32s(ids, b*t), labels: autograd.Int32s(nextTokens(rows), b*t), in.Seq: autograd.SequenceValue(packed.Batch(b, t)),
	} {
		if err := m.exec.Bind(node, v); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// nextTokens labels every token with the one after it; the last of each row has none.
func nextTokens(rows [][]int32) []int32 {
	var labels []int32
	for _, r := range rows {
		labels = append(append(labels, r[1:]...), linearloss.Ignore)
	}
	return labels
}

// chunked compares the logits of chunked prefill and step-by-step decoding.
func chunked(d *layers.Decoder, w layers.Weights, x *Expected, on *autograd.Machine, cfg Config) ([]Result, error) {
	rows, err := x.ints("input_ids", d.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	t := len(rows[0])
	want, ok, err := x.floats("logits", len(rows), t, d.Config.VocabSize)
	if err != nil || !ok {
		return nil, err
	}
	e, err := infer.New(d, w, on, infer.Config{Capacity: t, Chunk: cfg.Chunk, AllLogits: true})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	var got []float32
	for _, ids := range rows {
		e.Reset()
		prefill := max(1, t/2)
		logits, err := e.Feed(ids[:prefill])
		if err != nil {
			return nil, err
		}
		got = append(got, logits...)
		for _, id := range ids[prefill:] {
			if logits, err = e.Feed([]int32{id}); err != nil {
				return nil, err
			}
			got = append(got, logits...)
		}
	}
	results := []Result{{What: fmt.Sprintf("logits, prefill by %d then steps", cfg.Chunk), Count: len(want), Error: check.RelErr(got, want), Tol: cfg.Tol}}
	return append(results, firstChoices(got, want, d.Config.VocabSize, cfg)...), nil
}

// firstChoices counts the tokens whose most likely successor is not the expected one, where that is asked for.
func firstChoices(got, want []float32, vocab int, cfg Config) []Result {
	if cfg.FirstChoices == 0 {
		return nil
	}
	r := Result{What: "first choices", Tol: cfg.FirstChoices}
	differ := 0
	for at := 0; at < len(want); at += vocab {
		r.Count++
		if greatest(got[at:at+vocab]) != greatest(want[at:at+vocab]) {
			differ++
		}
	}
	r.Error = float64(differ) / float64(max(r.Count, 1))
	return []Result{r}
}

// greedy finds the prompt inside each row of greedy, continues it and counts the tokens that differ. The prompt is the
// longest beginning that the rows share with input_ids; without one it is the first half.
func greedy(ctx context.Context, d *layers.Decoder, w layers.Weights, x *Expected, on *autograd.Machine, cfg Config) ([]Result, error) {
	rows, err := x.ints("greedy", d.Config.VocabSize)
	if err != nil || rows == nil {
		return nil, err
	}
	ids, err := x.ints("input_ids", d.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	r := Result{What: "greedy", Tol: 0}
	differ := 0
	for _, row := range rows {
		prompt := promptLen(row, ids)
		chunk := 64
		if cfg.Chunk > 0 {
			chunk = cfg.Chunk
		}
		e, err := infer.New(d, w, on, infer.Config{Capacity: len(row), Chunk: chunk})
		if err != nil {
			return nil, err
		}
		defer e.Close()
		got, err := infer.Generate(ctx, e, infer.Request{Prompt: row[:prompt], MaxTokens: len(row) - prompt, Sampling: sampling.Default()})
		if err != nil {
			return nil, err
		}
		for i, id := range row[prompt:] {
			r.Count++
			if i >= len(got) || got[i] != id {
				differ++
			}
		}
	}
	r.Error = float64(differ) / float64(max(r.Count, 1))
	return []Result{r}, nil
}

func promptLen(row []int32, ids [][]int32) int {
	best := 0
	for _, in := range ids {
		n := 0
		for n < min(len(row), len(in)) && row[n] == in[n] {
			n++
		}
		best = max(best, n)
	}
	if best == 0 || best == len(row) {
		return max(1, len(row)/2)
	}
	return best
}
