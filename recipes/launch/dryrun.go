package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"text/tabwriter"
	"time"

	"github.com/gojet/gojet/datasets"
	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/train"
)

// probeSteps are measured after one that warms up.
const probeSteps = 2

// DryRun prints, for every stage, parameters, memory, floating-point operations and tokens, and the time that the stage would
// take by a few steps measured here on random tokens. It writes nothing.
func DryRun(ctx context.Context, r *recipes.Recipe, w io.Writer) (err error) {
	machine, err := openMachine(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	l := &launch{recipe: r, machine: machine, nets: &nets{recipe: r, made: map[string]*train.Net{}}}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	var total time.Duration
	for _, s := range r.Stages {
		if err := ctx.Err(); err != nil {
			return err
		}
		each, err := l.probe(tw, s)
		if err != nil {
			return err
		}
		total += each * time.Duration(s.Steps)
	}
	fmt.Fprintf(tw, "all\ttokens\t%d\n\ttime\t%v\n", r.Tokens(), total.Round(time.Second))
	return tw.Flush()
}

// probe prints one stage and returns the time of a step.
func (l *launch) probe(w io.Writer, s train.Stage) (each time.Duration, err error) {
	student, err := l.nets.get(s.Model)
	if err != nil {
		return 0, err
	}
	t := &train.Trainer{Stage: s, Student: *student, Machine: l.machine}
	defer func() { err = errors.Join(err, t.Close()) }()
	if s.LoRA.Rank > 0 {
		if t.Student, err = train.Adapt(*student, s.LoRA, l.recipe.Seed); err != nil {
			return 0, err
		}
	}
	if s.Teacher != "" {
		if t.Teacher, err = l.nets.get(s.Teacher); err != nil {
			return 0, err
		}
	}
	if s.Precision == train.Float64 {
		t.Student, t.Teacher = t.Student.Double(), doubled(t.Teacher)
	}
	t.Data = noise{s, t.Student.Decoder.Config.VocabSize}
	if each, err = t.Probe(probeSteps); err != nil {
		return 0, err
	}
	c := t.Cost()
	tokens := recipes.StageTokens(s)
	fmt.Fprintf(w, "stage %s\tparameters\t%d trained, %d frozen\n", s.Name, c.Trained, c.Frozen)
	fmt.Fprintf(w, "\tmemory\tweights %s, teacher %s, optimiser %s, gradients %s, activations %s\n",
		mib(c.Weights), mib(c.Teacher), mib(c.Optimizer), mib(c.Gradients), mib(c.Activations))
	fmt.Fprintf(w, "\tFLOP a step\t%.4g\n\ttokens\t%d in %d steps\n", float64(c.FLOPs), tokens, s.Steps)
	perStep := float64(tokens) / float64(s.Steps)
	fmt.Fprintf(w, "\ttime\t%v (%v a step, %.0f tokens/s, %.1f GFLOP/s)\n", (each * time.Duration(s.Steps)).Round(time.Second),
		each.Round(time.Millisecond), perStep/each.Seconds(), float64(c.FLOPs)/each.Seconds()/1e9)
	return each, nil
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// noise is random tokens in documents of whole rows.
type noise struct {
	stage train.Stage
	vocab int
}

func (n noise) MaxDocs() int { return datasets.MaxDocs(n.stage.Rows, n.stage.Length) }

func (n noise) Batch(number int) (train.Batch, error) {
	r := rand.New(rand.NewPCG(uint64(number), 1))
	b := train.Batch{Cu: []int32{0}}
	for range n.stage.Rows {
		for range n.stage.Length {
			b.IDs = append(b.IDs, int32(r.IntN(n.vocab)))
			b.Labels = append(b.Labels, int32(r.IntN(n.vocab)))
		}
		b.Cu = append(b.Cu, int32(len(b.IDs)))
	}
	return b, nil
}
