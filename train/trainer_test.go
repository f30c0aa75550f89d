package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/layers"
)

// smallNet is a hybrid of one attention layer and one JetBlock.
func smallNet(t testing.TB, kinds ...string) Net {
	t.Helper()
	c := &checkpoints.Config{
		ModelType: checkpoints.JetNemotron, HiddenSize: 16, IntermediateSize: 24, NumLayers: len(kinds), NumHeads: 2, NumKVHeads: 1,
		HeadDim: 8, VocabSize: 17, MaxPositions: 128, RMSNormEps: 1e-6, RopeTheta: 1e4, InitializerRange: 0.1, TieEmbeddings: true,
		AttentionBias: true, BOS: -1, DType: "float32", LayerTypes: kinds,
	}
	if err := c.SetJet("jet", checkpoints.JetConfig{NumHeads: 2, HeadDim: 4, ExpandV: 2, NormEps: 1e-5, ConvSize: 4, GeneratorReduction: 4, Mode: "chunk"}); err != nil {
		t.Fatal(err)
	}
	d, err := layers.NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return Fresh(d, 1)
}

// counting is text that can be learnt: each document counts up modulo the vocabulary.
type counting struct{ rows, length int }

func (c counting) MaxDocs() int { return 2 * c.rows }

func (c counting) Batch(number int) (Batch, error) {
	r := check.Rand(uint64(number))
	b := Batch{Cu: []int32{0}}
	for range c.rows {
		cut := 1 + r.IntN(c.length-1)
		for _, n := range []int{cut, c.length - cut} {
			at, stride := r.IntN(17), 1+r.IntN(3)
			for i := range n {
				b.IDs = append(b.IDs, int32((at+i*stride)%17))
				b.Labels = append(b.Labels, int32((at+(i+1)*stride)%17))
			}
			b.Labels[len(b.Labels)-1] = -100
			b.Cu = append(b.Cu, int32(len(b.IDs)))
		}
	}
	return b, nil
}

func smallStage(steps int) Stage {
	s := DefaultStage()
	s.Name, s.Model, s.Steps, s.Length, s.Rows = "small", "model", steps, 20, 3
	s.Loss = Loss{CrossEntropy: 1, Temperature: 1}
	s.Optimizer.LR = 0.01
	s.Schedule.Warmup = 2
	s.EvalBatches = 2
	return s
}

func newTrainer(t *testing.T, s Stage, n Net) *Trainer {
	t.Helper()
	cores := cpu.New(2)
	t.Cleanup(cores.Close)
	return trainerOn(t, autograd.OnCPU(cores), s, n)
}

func trainerOn(t *testing.T, m *autograd.Machine, s Stage, n Net) *Trainer {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	data := counting{s.Rows, s.Length}
	tr := &Trainer{Stage: s, Student: n, Data: data, HeldOut: data, Machine: m}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func TestTrainingLearns(t *testing.T) { eachMachine(t, trainingLearns) }

func trainingLearns(t *testing.T, m *autograd.Machine, precision Precision) {
	for _, accumulate := range []int{1, 3} {
		s := smallStage(60)
		if m.Device != nil && m.Device.Info().Emulated {
			s = smallStage(16)
			s.Optimizer.LR = 0.03
		}
		s.Accumulate, s.EvalEvery, s.Precision = accumulate, s.Steps/2, precision
		s.Recompute = accumulate > 1
		tr := trainerOn(t, m, s, smallNet(t, "attn", "jet"))
		var losses []float64
		var evals []Evaluation
		tr.Hooks.Step = func(_ Progress, r Report) error {
			losses = append(losses, r.Loss)
			return nil
		}
		tr.Hooks.Eval = func(_ Progress, e Evaluation) error {
			evals = append(evals, e)
			return nil
		}
		var p Progress
		if err := tr.Run(context.Background(), &p, nil); err != nil {
			t.Fatal(err)
		}
		if first, last := losses[0], losses[len(losses)-1]; !(last < 0.7*first) {
			t.Errorf("accumulate %d: loss went from %.3f to %.3f", accumulate, first, last)
		}
		if len(evals) != 2 || !(evals[1].Loss < evals[0].Loss) || p.Best == nil || *p.Best != evals[1].Loss {
			t.Errorf("accumulate %d: held-out losses %+v, best %v", accumulate, evals, p.Best)
		}
	}
}

// TestInterruptedRunGoesOnExactly stops after every few steps and goes on from the snapshot; losses equal those of a run
// without a stop, bit for bit.
func TestInterruptedRunGoesOnExactly(t *testing.T) { eachMachine(t, interruptedRunGoesOn) }

func interruptedRunGoesOn(t *testing.T, m *autograd.Machine, precision Precision) {
	const steps = 12
	stage := smallStage(steps)
	stage.Precision = precision
	record := func(into *[]Report) func(Progress, Report) error {
		return func(_ Progress, r Report) error {
			*into = append(*into, r)
			return nil
		}
	}
	var whole []Report
	tr := trainerOn(t, m, stage, smallNet(t, "jet", "attn"))
	tr.Hooks.Step = record(&whole)
	if err := tr.Run(context.Background(), &Progress{}, nil); err != nil {
		t.Fatal(err)
	}
	var pieces []Report
	net := smallNet(t, "jet", "attn")
	var p Progress
	var moments []Moments
	for rounds := 0; ; rounds++ {
		ctx, cancel := context.WithCancel(context.Background())
		tr := trainerOn(t, m, stage, net)
		note := record(&pieces)
		tr.Hooks.Step = func(p Progress, r Report) error {
			if p.Step%5 == 0 {
				cancel()
			}
			return note(p, r)
		}
		tr.Hooks.Save = func(s Snapshot) error {
			p, moments = s.Progress, nil
			net = Net{s.Net.Decoder, layers.Weights{}}
			for name, v := range s.Net.Weights {
				v.F32 = slices.Clone(v.F32)
				net.Weights[name] = v
			}
			for _, m := range s.Moments {
				moments = append(moments, Moments{m.Name, slices.Clone(m.M), slices.Clone(m.V)})
			}
			return nil
		}
		progress := p
		err := tr.Run(ctx, &progress, moments)
		cancel()
		if err == nil {
			if rounds != 2 {
				t.Errorf("stopped %d times, want 2", rounds)
			}
			break
		}
		if !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
	}
	if len(pieces) != len(whole) {
		t.Fatalf("%d steps in pieces, %d in one run", len(pieces), len(whole))
	}
	for i := range whole {
		if pieces[i].Loss != whole[i].Loss || pieces[i].GradNorm != whole[i].GradNorm {
			t.Errorf("step %d: loss %v and norm %v, without a stop %v and %v", i, pieces[i].Loss, pieces[i].GradNorm, whole[i].Loss, whole[i].GradNorm)
		}
	}
}

// TestPackedLossEqualsDocumentsOneByOne compares the loss of a packed batch with the token-weighted mean over its documents.
func TestPackedLossEqualsDocumentsOneByOne(t *testing.T) {
	net := smallNet(t, "attn", "jet")
	s := smallStage(1)
	cores := cpu.New(2)
	defer cores.Close()
	packed, err := newPass(s, net, nil, autograd.OnCPU(cores), 6, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := counting{s.Rows, s.Length}.Batch(3)
	whole, err := packed.run(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	for d := range len(b.Cu) - 1 {
		lo, hi := b.Cu[d], b.Cu[d+1]
		one := s
		one.Rows, one.Length = 1, int(hi-lo)
		alone, err := newPass(one, net, nil, autograd.OnCPU(cores), 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := alone.run(Batch{IDs: b.IDs[lo:hi], Labels: b.Labels[lo:hi], Cu: []int32{0, hi - lo}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum.add(u)
	}
	got, want := whole.ce, sum.ce/sum.ceTokens
	if e := math.Abs(got-want) / want; e > check.Loss32 {
		t.Errorf("packed loss %v, one by one %v (relative error %.2g)", got, want, e)
	}
}

func TestNonFiniteGradientsAreSkipped(t *testing.T) {
	net := smallNet(t, "attn")
	s := smallStage(10)
	s.MaxSkipped = 2
	tr := newTrainer(t, s, net)
	before := slices.Clone(net.Weights["model.layers.0.mlp.up_proj.weight"].F32)
	embed := net.Weights["model.embed_tokens.weight"].F32
	good := embed[0]
	embed[0] = float32(math.NaN())
	var skipped int
	tr.Hooks.Step = func(p Progress, r Report) error {
		if !r.Skipped {
			t.Errorf("step %d was not skipped", p.Step)
		}
		skipped++
		return nil
	}
	err := tr.Run(context.Background(), &Progress{}, nil)
	if err == nil || !strings.Contains(err.Error(), "the gradients were not finite 3 times in a row") || skipped != 2 {
		t.Errorf("got error %v after %d skipped steps", err, skipped)
	}
	check.Close(t, "a weight after skipped steps", net.Weights["model.layers.0.mlp.up_proj.weight"].F32, before, 0)
	tr.Hooks.Save = func(Snapshot) error { t.Error("weights that are not finite were saved"); return nil }
	if err := tr.save(Progress{}); err == nil || !strings.Contains(err.Error(), "model.embed_tokens.weight is not finite at 0") {
		t.Errorf("got error %v", err)
	}
	embed[0] = good
}

func TestEarlyStop(t *testing.T) {
	s := smallStage(50)
	s.Optimizer.LR, s.EvalEvery = 0, 1
	s.EarlyStop.Patience = 3
	tr := newTrainer(t, s, smallNet(t, "attn"))
	var p Progress
	if err := tr.Run(context.Background(), &p, nil); err != nil {
		t.Fatal(err)
	}
	if p.Step != 4 || !p.Over {
		t.Errorf("stopped at step %d (over %v), want 4: one best and three without improvement", p.Step, p.Over)
	}
}

// TestStepsDoNotAllocate runs steps of a warm learner.
func TestStepsDoNotAllocate(t *testing.T) {
	s := smallStage(1000)
	cores := cpu.New(2)
	defer cores.Close()
	l, err := newLearner(s, smallNet(t, "attn", "jet"), nil, autograd.OnCPU(cores), 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := counting{s.Rows, s.Length}.Batch(1)
	batches := []Batch{b}
	step := 0
	run := func() {
		if _, err := l.step(step, step, batches); err != nil {
			t.Fatal(err)
		}
		step++
	}
	for range 30 {
		run()
	}
	if n := testing.AllocsPerRun(50, run); n > 0 && !raceDetector {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

func TestSchedules(t *testing.T) {
	for _, tc := range []struct {
		s    Schedule
		at   int
		want float64
	}{
		{Schedule{Kind: Constant}, 7, 1},
		{Schedule{Kind: Constant, Warmup: 4}, 0, 0.25},
		{Schedule{Kind: Linear, MinLR: 0.2}, 5, 0.6},
		{Schedule{Kind: Cosine, Warmup: 2, MinLR: 0.1}, 6, 0.55},
		{Schedule{Kind: WSD, Warmup: 2, Decay: 4}, 5, 1},
		{Schedule{Kind: WSD, Warmup: 2, Decay: 4}, 8, 0.5},
	} {
		if got := tc.s.At(tc.at, 10, 1); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%+v at step %d of 10: %v, want %v", tc.s, tc.at, got, tc.want)
		}
	}
}

func TestStageMistakes(t *testing.T) {
	for want, spoil := range map[string]func(*Stage){
		"steps is 0":                          func(s *Stage) { s.Steps = 0 },
		"optimizer.lr is NaN":                 func(s *Stage) { s.Optimizer.LR = math.NaN() },
		"optimizer.lr is -1":                  func(s *Stage) { s.Optimizer.LR = -1 },
		"optimizer.beta2 is 1":                func(s *Stage) { s.Optimizer.Beta2 = 1 },
		"loss has no term":                    func(s *Stage) { s.Loss = Loss{} },
		"loss.temperature is 0":               func(s *Stage) { s.Loss, s.Teacher = Loss{KL: 1}, "t" },
		"teacher is \"\": kl and hidden":      func(s *Stage) { s.Loss.KL = 1 },
		"schedule.kind is \"step\"":           func(s *Stage) { s.Schedule.Kind = "step" },
		"schedule.warmup is 99, want 0 to 10": func(s *Stage) { s.Schedule.Warmup = 99 },
		"schedule.decay is 0, want 1 to 8":    func(s *Stage) { s.Schedule.Kind = WSD },
		"pattern \"[\"":                       func(s *Stage) { s.Freeze = []string{"["} },
		"lora has alpha 0 and 0 targets":      func(s *Stage) { s.LoRA.Rank = 4 },
		"precision is \"fp8\"":                func(s *Stage) { s.Precision = "fp8" },
	} {
		s := smallStage(10)
		spoil(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	s := smallStage(10)
	s.Train = []string{"nothing.*"}
	_, err := newLearner(s, smallNet(t, "attn"), nil, autograd.OnCPU(cpu.New(1)), 1, nil)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("no weight matches train %q", s.Train)) {
		t.Errorf("got error %v", err)
	}
}
