package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints/safetensors"
	"github.com/gojet/gojet/infer"
	"github.com/gojet/gojet/infer/parity"
	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/packed"
	"github.com/gojet/gojet/layers"
)

// values is a file of reference values by name.
type values map[string]safetensors.Source

func (v values) floats(name string, x []float32, shape ...int) {
	v[name] = safetensors.Float32s(name, shape, safetensors.F32, safetensors.Values(x))
}

// expectations writes what gojet itself computes for the model in dir: two rows of logits from state, loss and
// gradients in float64, and a greedy answer. edit, if not nil, changes them first.
func expectations(t *testing.T, dir string, edit func(values)) (path string) {
	t.Helper()
	m, err := openModel(dir, layers.Float32, machineFlags{device: "cpu", precision: "float32", threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const rows, length = 2, 16
	ids := make([]int32, rows*length)
	for i := range ids {
		ids[i] = int32(i * i % m.Config.VocabSize)
	}
	v := values{"input_ids": idsSource("input_ids", ids, rows, length)}
	e, err := infer.New(m.Decoder, m.weights, m.machine, infer.Config{Capacity: length, Chunk: 5, AllLogits: true})
	if err != nil {
		t.Fatal(err)
	}
	var logits []float32
	for r := range rows {
		e.Reset()
		l, err := e.Feed(ids[r*length : (r+1)*length])
		if err != nil {
			t.Fatal(err)
		}
		logits = append(logits, l...)
	}
	v.floats("logits", logits, rows, length, m.Config.VocabSize)
	addGradients(t, v, m, ids, rows, length)
	answer, err := parseIDs(output(t, "generate", dir, "--ids", "--max-tokens", "10", strings.Trim(fmt.Sprint(ids[:6]), "[]")))
	if err != nil {
		t.Fatal(err)
	}
	v["greedy"] = idsSource("greedy", append(append([]int32{}, ids[:6]...), answer...), 1, 16)
	if edit != nil {
		edit(v)
	}
	var sources []safetensors.Source
	for _, s := range v {
		sources = append(sources, s)
	}
	path = filepath.Join(t.TempDir(), "expected.safetensors")
	if err := safetensors.Write(path, sources, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func idsSource(name string, ids []int32, shape ...int) safetensors.Source {
	wide := make([]int64, len(ids))
	for i, id := range ids {
		wide[i] = int64(id)
	}
	return safetensors.Int64s(name, shape, wide)
}

// addGradients computes loss and gradients by the reference kernels, in float64.
func addGradients(t *testing.T, v values, m *model, ids []int32, rows, length int) {
	t.Helper()
	g := autograd.NewGraph(autograd.Float64)
	n := len(ids)
	in := layers.Inputs{IDs: g.Ints("ids", n), Seq: g.Sequences("sequences", rows)}
	labels := g.Ints("labels", n)
	loss := g.LinearCrossEntropy(m.Forward(g, in).Hidden, m.Head(g, ""), labels, 1).Value
	var weights []*autograd.Node
	for _, p := range m.Params() {
		weights = append(weights, g.Inputs()[p.Name])
	}
	outs := append([]*autograd.Node{loss}, g.Backward(loss, weights, autograd.BackwardConfig{})...)
	plan, err := autograd.Compile(g, outs...)
	if err != nil {
		t.Fatal(err)
	}
	next := append(append([]int32{}, ids[1:]...), linearloss.Ignore)
	for r := range rows {
		next[(r+1)*length-1] = linearloss.Ignore
	}
	e := autograd.NewExecutor(plan, m.machine)
	bind := func(n *autograd.Node, v autograd.Value) {
		if err := e.Bind(n, v); err != nil {
			t.Fatal(err)
		}
	}
	bind(in.IDs, autograd.Int32s(ids, n))
	bind(in.Seq, autograd.SequenceValue(packed.Batch(rows, length)))
	bind(labels, autograd.Int32s(next, n))
	for i, p := range m.Params() {
		wide := make([]float64, p.Size())
		for k, x := range m.weights[p.Name].F32 {
			wide[k] = float64(x)
		}
		bind(weights[i], autograd.Float64s(wide, p.Shape...))
	}
	if err := e.RunAll(); err != nil {
		t.Fatal(err)
	}
	narrow := func(n *autograd.Node) []float32 {
		var x []float32
		for _, y := range e.Value(n).F64 {
			x = append(x, float32(y))
		}
		return x
	}
	v.floats("loss", narrow(loss), 1)
	for i, p := range m.Params() {
		v.floats("grad."+p.Name, narrow(outs[1+i]), p.Shape...)
	}
}

func parityCalls(t *testing.T) []call {
	dir := saved(t, hybrid)
	with := func(path string, more ...string) []string { return append([]string{"parity", dir, path}, more...) }
	edited := func(edit func(values)) []string { return with(expectations(t, dir, edit)) }
	good := expectations(t, dir, nil)
	half := saved(t, hybrid, `"torch_dtype": "float32"`, `"torch_dtype": "bfloat16"`)
	ofHalf := expectations(t, half, nil)
	const norm = "model.layers.1.input_layernorm.weight"
	off := expectations(t, dir, func(v values) { v.floats("grad."+norm, make([]float32, 8), 8) })
	const table = "compared   values  worst relative error  tolerance  verdict  worst tensor\n"
	return []call{
		{name: "all", args: with(good, "--threads", "2", "--device", "cpu", "--precision", "float32"), parts: []string{table, "logits     8192 ", "loss       1 ", "gradients  44 ", "greedy     10 "}},
		{name: "chunks", args: with(good, "--chunk", "3", "--tol", "1e-5"), parts: []string{"logits, prefill by 3 then steps  8192 ", "greedy "}},
		{name: "bfloat16", args: []string{"parity", half, ofHalf}, parts: []string{"gradients  44 "}},
		{name: "bfloat16 in chunks", args: []string{"parity", half, ofHalf, "--chunk", "3", "--tol", "1e-5"}, parts: []string{"logits, prefill by 3 then steps  8192 "}},
		{name: "json", args: with(good, "--json"), parts: []string{`"what": "gradients"`, `"ok": true`, `"tolerance": 0.00002`}},
		{name: "tolerance", args: with(good, "--tol", "0"), code: 1, parts: []string{"FAIL"}, err: "2 of 4 comparisons fail; worst "},
		{name: "loss tolerance", args: with(expectations(t, dir, func(v values) { v.floats("loss", []float32{6}, 1) }), "--loss-tol", "1e9"), parts: []string{"1e+09      ok"}},
		{name: "loss", args: edited(func(v values) { v.floats("loss", []float32{6}, 1) }), code: 1, parts: []string{table}, err: "1 of 4 comparisons fail; worst loss: the error is "},
		{name: "gradient", args: with(off), code: 1, parts: []string{"FAIL     " + norm},
			err: "1 of 4 comparisons fail; worst gradients: the error of " + norm + " is "},
		{name: "gradient in json", args: with(off, "--json"), code: 1, parts: []string{`"ok": false`, norm}, err: "1 of 4 comparisons fail"},
		{name: "greedy", args: edited(func(v values) { v["greedy"] = idsSource("greedy", []int32{0, 1, 4, 9, 16, 9}, 1, 6) }), code: 1, parts: []string{table}, err: "worst greedy: the error is "},
		{name: "logits alone", args: edited(func(v values) { only(v, "input_ids", "logits") }), parts: []string{"logits"}},
		{name: "greedy alone", args: edited(func(v values) { only(v, "input_ids", "greedy") }), parts: []string{"greedy"}},
		{name: "loss as a scalar", args: edited(func(v values) { only(v, "input_ids", "loss"); v["loss"] = scalar(v["loss"]) }), parts: []string{"loss "}},

		{name: "nothing", args: edited(func(v values) { only(v, "input_ids") }), code: 1, err: "nothing to compare"},
		{name: "no ids", args: edited(func(v values) { delete(v, "input_ids") }), code: 1, err: "has no input_ids [B, T]"},
		{name: "ids of one token", args: edited(func(v values) { v["input_ids"] = idsSource("input_ids", []int32{1}, 1, 1) }), code: 1, err: "input_ids has shape [1 1], want rows of two tokens or more"},
		{name: "flat ids", args: edited(func(v values) { v["input_ids"] = idsSource("input_ids", []int32{1, 2}, 2) }), code: 1, err: "input_ids has shape [2]"},
		{name: "no rows", args: edited(func(v values) { v["input_ids"] = idsSource("input_ids", nil, 0, 4) }), code: 1, err: "input_ids has shape [0 4]"},
		{name: "ids out of range", args: edited(func(v values) { v["input_ids"] = idsSource("input_ids", []int32{1, 256}, 1, 2) }), code: 1, err: "input_ids: embedding: token 1 has id 256, want 0 to 255"},
		{name: "short greedy", args: edited(func(v values) { v["greedy"] = idsSource("greedy", []int32{1}, 1, 1) }), code: 1, err: "greedy has shape [1 1]"},
		{name: "misshapen logits", args: edited(func(v values) { v.floats("logits", make([]float32, 4), 2, 2) }), code: 1, err: "logits has shape [2 2], want [2 16 256]"},
		{name: "misshapen loss", args: edited(func(v values) { v.floats("loss", make([]float32, 2), 2) }), code: 1, err: "loss has shape [2], want [1]"},
		{name: "misshapen gradient", args: edited(func(v values) { v.floats("grad."+norm, make([]float32, 2), 2) }), code: 1, err: "has shape [2], want [8]"},
		{name: "unknown gradient", args: edited(func(v values) { v.floats("grad.x", make([]float32, 2), 2) }), code: 1, err: "expects grad.x, but the model has no such weight"},
		{name: "no file", args: []string{"parity", dir}, code: 1, err: "accepts 2 arg(s), received 1"},
		{name: "missing file", args: with("/no/such"), code: 1, err: "/no/such"},
		{name: "missing model", args: []string{"parity", "/no/such", good}, code: 1, err: "/no/such"},
		{name: "tolerance below 0", args: with(good, "--tol=-1"), code: 1, err: "--tol is -1, want a finite number of 0 or more"},
		{name: "tolerance not a number", args: with(good, "--loss-tol=NaN"), code: 1, err: "--loss-tol is NaN"},
		{name: "chunk 0", args: with(good, "--chunk=0"), code: 1, err: "--chunk is 0, want 1 or more"},
		{name: "other device", args: with(good, "--device", "tpu"), code: 1, err: "--device is \"tpu\", want cpu, cuda or auto"},
		{name: "threads below 0", args: with(good, "--threads=-1"), code: 1, err: "--threads is -1"},
	}
}

// only leaves these names.
func only(v values, names ...string) {
	for name := range v {
		if !strings.Contains(strings.Join(names, " "), name) {
			delete(v, name)
		}
	}
}

func scalar(s safetensors.Source) safetensors.Source {
	s.Shape = nil
	return s
}

// TestVerdict finds the worst by how far it is above its tolerance, and has JSON for what is no number.
func TestVerdict(t *testing.T) {
	results := []parity.Result{
		{What: "logits", Error: 1e-3, Tol: 1e-5}, {What: "loss", Error: 1, Tol: 1}, {What: "gradients", Error: 5e-3, Tol: 1e-4, Worst: "w"},
	}
	if err := verdict(results); err == nil || err.Error() != "2 of 3 comparisons fail; worst logits: the error is 0.001, tolerance 1e-05" {
		t.Errorf("%v", err)
	}
	results[2].Error = math.Inf(1)
	if err := verdict(results); err == nil || err.Error() != "2 of 3 comparisons fail; worst gradients: the error of w is +Inf, tolerance 0.0001" {
		t.Errorf("%v", err)
	}
	results[1].Error = math.NaN()
	var out strings.Builder
	if err := (&parityFlags{json: true}).write(&out, results); err != nil {
		t.Fatal(err)
	}
	var back []comparison
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	if back[0].Error == nil || *back[0].Error != 1e-3 || back[1].Error != nil || back[2].Error != nil || back[1].OK {
		t.Errorf("JSON %s", out.String())
	}
	if err := verdict(results[:0]); err != nil {
		t.Errorf("%v", err)
	}
}

func TestParityFixtures(t *testing.T) {
	for _, path := range fixtures.Glob(t, "tiny-*.expected.safetensors") {
		model := strings.TrimSuffix(path, ".expected.safetensors")
		(call{args: []string{"parity", model, path}, parts: []string{"logits ", "loss ", "gradients ", "greedy "}}).check(t)
		for _, chunk := range []string{"1", "7", "64"} {
			(call{args: []string{"parity", model, path, "--tol", "1e-5", "--chunk", chunk}, parts: []string{"then steps", "greedy "}}).check(t)
		}
	}
}
