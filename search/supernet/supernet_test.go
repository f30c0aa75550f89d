package supernet

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/datasets/tokenizer"
	"github.com/gojet/gojet/evals/tasks"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

const testVocab = 256

// linear and window are the bodies of tests.
func linear(n int) train.Model {
	return train.Model{From: "teacher", LayerTypes: search.Uniform(n, search.Linear).LayerTypes("jet"), MapProjections: true,
		Blocks: map[string]map[string]any{"jet": {"num_heads": 2, "head_dim": 8, "expand_v": 2.0}, "swa": {"window_size": 7}}}
}

func window(n int) train.Model {
	m := linear(n)
	m.LayerTypes = search.Uniform(n, search.Window).LayerTypes("jet")
	return m
}

func placed(n int, p search.Placement) train.Model {
	m := linear(n)
	m.LayerTypes = p.LayerTypes("jet")
	return m
}

func teacher(t testing.TB, n int) train.Net {
	t.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.Qwen2, HiddenSize: 16, IntermediateSize: 24, NumLayers: n, NumHeads: 2, NumKVHeads: 1, HeadDim: 8,
		VocabSize: testVocab, MaxPositions: 256, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.3, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "float32", LayerTypes: search.Uniform(n, search.Full).LayerTypes(""),
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return train.Fresh(d, 5)
}

func newNet(t testing.TB, n int) *Net {
	t.Helper()
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	return newNetOn(t, n, autograd.OnCPU(cores))
}

func newNetOn(t testing.TB, n int, m *autograd.Machine) *Net {
	t.Helper()
	tea := teacher(t, n)
	lin, err := Body(tea, linear(n), 3)
	if err != nil {
		t.Fatal(err)
	}
	win, err := Body(tea, window(n), 3)
	if err != nil {
		t.Fatal(err)
	}
	net, err := New(m, tea, map[search.Kind]train.Net{search.Linear: lin, search.Window: win})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// batch is random text in documents of uneven lengths.
func batch(seed uint64, n int) train.Batch {
	r := rand.New(rand.NewPCG(seed, 2))
	b := train.Batch{Cu: []int32{0, 1, int32(n / 3), int32(n)}}
	for range n {
		b.IDs, b.Labels = append(b.IDs, int32(r.IntN(testVocab))), append(b.Labels, int32(r.IntN(testVocab)))
	}
	return b
}

func config() Config {
	c := DefaultConfig()
	c.Steps, c.Length, c.Rows, c.SaveEvery = 12, 32, 2, 0
	c.Loss = train.Loss{Hidden: 1, KL: 1, Temperature: 1}
	c.Optimizer.LR = 3e-3
	c.Schedule.Warmup = 2
	return c
}

func trained(t *testing.T, net *Net, from, to int, s *State) *Trainer {
	t.Helper()
	tr, err := NewTrainer(net, config(), 4, 1, 1, 9)
	if err != nil {
		t.Fatal(err)
	}
	if s != nil {
		if err := tr.Restore(*s); err != nil {
			t.Fatal(err)
		}
	}
	for step := from; step < to; step++ {
		r, err := tr.Step(step, batch(uint64(step), 64))
		if err != nil {
			t.Fatal(err)
		}
		if r.Skipped > 0 || math.IsNaN(r.Loss) || r.Tokens == 0 {
			t.Fatalf("step %d: %+v", step, r)
		}
	}
	return tr
}

// TestGradients compares a step with that of the ordinary trainer on the same path: hidden distance and divergence.
func TestGradients(t *testing.T) {
	const n = 3
	net := newNet(t, n)
	c := config()
	c.Sampling, c.Steps = Budget, 1
	c.Optimizer.ClipNorm = 0
	c.Schedule = train.Schedule{Kind: train.Constant}
	tr, err := NewTrainer(net, c, 4, 1, 1, 9)
	if err != nil {
		t.Fatal(err)
	}
	path := tr.sampler.path(0)
	model, err := net.Plain(path, placed(n, path))
	if err != nil {
		t.Fatal(err)
	}
	b := batch(5, 64)
	r, err := tr.Step(0, b)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stage()
	s.Train = nil
	for _, i := range path.Layers(search.Linear) {
		s.Train = append(s.Train, layerName(i)+"self_attn.*")
	}
	var report train.Report
	var moments []train.Moments
	other := train.Trainer{Stage: s, Student: model, Teacher: &net.Teacher, Data: one{b}, Machine: net.machine,
		Hooks: train.Hooks{Step: func(_ train.Progress, r train.Report) error { report = r; return nil },
			Save: func(s train.Snapshot) error { moments = s.Moments; return nil }}}
	if err := other.Run(context.Background(), &train.Progress{}, nil); err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.KL-report.KL) > 1e-5*report.KL || math.Abs(r.Hidden-report.Hidden) > 1e-5*report.Hidden {
		t.Errorf("KL %v and hidden %v, want %v and %v", r.KL, r.Hidden, report.KL, report.Hidden)
	}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	mine := map[string]train.Moments{}
	for _, m := range state.Moments {
		mine[m.Name] = m
	}
	if len(moments) == 0 {
		t.Fatal("the trainer saved no moments")
	}
	for _, m := range moments { // after one step they are the gradients
		got := mine[m.Name].M
		var far, size float64
		for k := range got {
			far += math.Pow(float64(got[k]-m.M[k]), 2)
			size += math.Pow(float64(m.M[k]), 2)
		}
		if far > 1e-8*size {
			t.Errorf("gradient of %s is off by %v of %v", m.Name, math.Sqrt(far), math.Sqrt(size))
		}
	}
}

type one struct{ b train.Batch }

func (o one) Batch(int) (train.Batch, error) { return o.b, nil }
func (o one) MaxDocs() int                   { return 4 }

// TestResume: training in two parts, through the saved state, gives the weights of training at once.
func TestResume(t *testing.T) {
	whole := newNet(t, 2)
	trained(t, whole, 0, 8, nil)
	parts := newNet(t, 2)
	first := trained(t, parts, 0, 5, nil)
	s, err := first.State()
	if err != nil {
		t.Fatal(err)
	}
	again := newNet(t, 2)
	for name, v := range parts.bodies[search.Linear].weights {
		copy(again.bodies[search.Linear].weights[name].F32, v.F32)
	}
	trained(t, again, 5, 8, &s)
	for name, v := range whole.bodies[search.Linear].weights {
		if !reflect.DeepEqual(v.F32, again.bodies[search.Linear].weights[name].F32) {
			t.Fatalf("%s differs after going on", name)
		}
	}
	s.Moments = s.Moments[1:]
	tr, err := NewTrainer(newNet(t, 2), config(), 4, 1, 1, 9)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Restore(s) == nil {
		t.Error("a state that lacks moments is taken")
	}
}

// TestFrozen: training changes the linear blocks and nothing else.
func TestFrozen(t *testing.T) {
	net := newNet(t, 2)
	before := teacher(t, 2)
	start, err := Body(before, linear(2), 3)
	if err != nil {
		t.Fatal(err)
	}
	trained(t, net, 0, 3, nil)
	for name, v := range net.Teacher.Weights {
		if !reflect.DeepEqual(v.F32, before.Weights[name].F32) {
			t.Errorf("the teacher's %s has changed", name)
		}
	}
	for i := range 2 {
		changed := false
		for _, p := range net.bodies[search.Linear].mixer(i) {
			changed = changed || !reflect.DeepEqual(start.Weights[p.Name].F32, net.bodies[search.Linear].weights[p.Name].F32)
		}
		if !changed {
			t.Errorf("layer %d has learned nothing", i)
		}
	}
}

func exam(t *testing.T) Exam {
	t.Helper()
	tok, err := tokenizer.NewBytes()
	if err != nil {
		t.Fatal(err)
	}
	e := Exam{Tokens: 96, Docs: 6, Text: []train.Batch{batch(1, 96), batch(2, 96)}}
	set, err := tasks.Open(tasks.Config{Kind: tasks.Recall, Pairs: 4, Queries: 2}, tasks.Materials{Tokenizer: tok})
	if err != nil {
		t.Fatal(err)
	}
	q := Question{Name: "recall"}
	for i := range 8 {
		q.Items = append(q.Items, set.Item(1, i))
	}
	e.Questions = []Question{q}
	return e
}

// TestSharing: paths measured together have the scores of paths measured alone, with fewer layers run.
func TestSharing(t *testing.T) {
	net := newNet(t, 3)
	together, err := NewEvaluator(net, exam(t))
	if err != nil {
		t.Fatal(err)
	}
	var paths []search.Placement
	for _, text := range []string{"F--", "---", "FFF", "-F-", "--F", "S-F", "---"} {
		p, err := search.ParsePlacement(text)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	all, err := together.Evaluate(context.Background(), paths)
	if err != nil {
		t.Fatal(err)
	}
	if together.Cost.Shared == 0 {
		t.Errorf("nothing was shared: %+v", together.Cost)
	}
	alone, err := NewEvaluator(net, exam(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		one, err := alone.Evaluate(context.Background(), []search.Placement{p})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one[0], all[i]) {
			t.Errorf("%v: %v alone, %v together", p, one[0], all[i])
		}
	}
	if kl := all[2][search.TextKL]; math.Abs(kl) > 1e-6 {
		t.Errorf("the teacher diverges from itself by %v", kl)
	}
	if all[1][search.TextKL] <= 0 || all[1]["recall/loss"] <= 0 || all[1][search.MeanLoss] != all[1]["recall/loss"] {
		t.Errorf("scores %v", all[1])
	}
}

func TestSampler(t *testing.T) {
	s := sampler{kind: Sandwich, layers: 6, full: 2, window: 1, seed: 4}
	seen := map[string]bool{}
	for step := range 60 {
		p := s.path(step)
		if p.Count(search.Linear) == 0 || p.String() != s.path(step).String() {
			t.Fatalf("step %d: %v", step, p)
		}
		if step%3 == 0 && p.Count(search.Linear) != 6 || step%3 == 1 && (p.Count(search.Full) != 2 || p.Count(search.Window) != 1) {
			t.Fatalf("step %d: %v", step, p)
		}
		seen[p.String()] = true
	}
	if len(seen) < 20 {
		t.Errorf("%d paths in 60 steps", len(seen))
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"sampling": func(c *Config) { c.Sampling = "all" },
		"loss":     func(c *Config) { c.Loss = train.Loss{CrossEntropy: 1} },
		"steps":    func(c *Config) { c.Steps = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
