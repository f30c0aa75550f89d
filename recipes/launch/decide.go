package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/search/placement"
	"github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/search/supernet"
	"github.com/gojet/gojet/train"
	"github.com/gojet/gojet/train/tracking"
)

// decide searches, verifies, and writes what was found.
func (h *hunt) decide(ctx context.Context, net *supernet.Net, p progress) (*report.Placement, error) {
	s, began := h.recipe.Search, time.Now()
	exam, err := h.exam(h.recipe.Seed)
	if err != nil {
		return nil, err
	}
	eval, err := supernet.NewEvaluator(net, exam)
	if err != nil {
		return nil, err
	}
	defer eval.Close()
	journal, err := placement.OpenJournal(filepath.Join(h.dir, journalFile), eval)
	if err != nil {
		return nil, err
	}
	h.say("searching: %d full and %d window layers of %d, strategy %s", s.Placement.Full, s.Placement.Window, net.Layers(), s.Placement.Strategy)
	out, err := placement.Search(ctx, s.Placement, net.Layers(), h.recipe.Seed, journal)
	if err == nil {
		err = ctx.Err()
	}
	var single []placement.Ranked
	if err == nil {
		single, err = importance(ctx, net.Layers(), journal)
	}
	ends := []search.Placement{search.Uniform(net.Layers(), search.Full), search.Uniform(net.Layers(), search.Linear)}
	var scores []search.Scores
	if err == nil {
		scores, err = journal.Evaluate(ctx, ends)
	}
	if err = errors.Join(err, journal.Close()); err != nil {
		return nil, stopped(ctx, err)
	}
	found := &report.Placement{
		Recipe: h.hash, Layers: net.Layers(), Full: s.Placement.Full, Window: s.Placement.Window, Linear: s.Linear.Kind, Strategy: s.Placement.Strategy,
		Objectives: s.Placement.Objectives, Best: out.Best[0], Pareto: out.Pareto, ByFull: out.ByFull, Single: single,
		Teacher: scores[0], None: scores[1], Evaluations: out.Evaluations,
	}
	if found.Checks, err = h.verify(ctx, net, out.Best[0].Placement); err != nil {
		return nil, stopped(ctx, err)
	}
	found.Student = filepath.Join(h.dir, modelDir)
	student, err := net.Plain(out.Best[0].Placement, s.Model(out.Best[0].Placement.LayerTypes(s.Linear.Kind)))
	if err != nil {
		return nil, err
	}
	if err := h.keepModel(found.Student, student); err != nil {
		return nil, err
	}
	found.Cost = report.Cost{Steps: p.Step, Tokens: p.Tokens, TrainSeconds: p.Seconds, SearchSeconds: time.Since(began).Seconds(),
		TrainFLOPs: p.FLOPs, SearchFLOPs: float64(eval.Cost.FLOPs), LayersRun: eval.Cost.Layers, LayersShared: eval.Cost.Shared}
	found.Command = h.command(found.Student)
	return found, h.conclude(found)
}

// command trains a student on what the search was made on.
func (h *hunt) command(student string) string {
	text := fmt.Sprintf("gojet train distill-stage2 models.teacher.path=%s models.student.path=%s", h.from, student)
	if t := h.recipe.Data.Tokenizer; t != "" {
		text += " data.tokenizer=" + t
	}
	if p := h.recipe.Data.Path; p != "" {
		text += fmt.Sprintf(" data.path='%s'", p)
	}
	return text + " output=" + filepath.Join(filepath.Dir(h.dir), "distilled")
}

// importance measures the placements of one full layer.
func importance(ctx context.Context, n int, e placement.Evaluator) ([]placement.Ranked, error) {
	var ps []search.Placement
	for i := range n {
		ps = append(ps, search.Uniform(n, search.Linear).With(i, search.Full))
	}
	scores, err := e.Evaluate(ctx, ps)
	if err != nil {
		return nil, err
	}
	all := make([]placement.Ranked, n)
	for i, p := range ps {
		all[i] = placement.Ranked{Placement: p, Layers: p.String(), Scores: scores[i]}
	}
	return all, nil
}

// stopped is ErrInterrupted where the context ended: what was measured is in the journal.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return train.ErrInterrupted
	}
	return err
}

// verify measures the placement found, an evenly spaced one and random ones, on the questions of other seeds.
func (h *hunt) verify(ctx context.Context, net *supernet.Net, best search.Placement) ([]report.Check, error) {
	s := h.recipe.Search
	var checks []report.Check
	for k := range s.Verify.Seeds {
		seed := h.recipe.Seed + 1000*uint64(k+1)
		exam, err := h.exam(seed)
		if err != nil {
			return nil, err
		}
		eval, err := supernet.NewEvaluator(net, exam)
		if err != nil {
			return nil, err
		}
		ps := append([]search.Placement{best, placement.Evenly(net.Layers(), s.Placement.Full, s.Placement.Window)},
			placement.Draw(net.Layers(), s.Placement.Full, s.Placement.Window, s.Verify.Random, seed)...)
		scores, err := eval.Evaluate(ctx, ps)
		if err = errors.Join(err, eval.Close()); err != nil {
			return nil, err
		}
		c := report.Check{Seed: seed, Searched: scores[0], Even: scores[1], EvenLayers: ps[1].String(), Random: search.Scores{}}
		for _, r := range scores[2:] {
			for o, x := range r {
				c.Random[o] += x / float64(len(scores)-2)
			}
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// conclude tells the result and writes it.
func (h *hunt) conclude(found *report.Placement) error {
	row := tracking.Row{Step: h.recipe.Search.Supernet.Steps, Stage: "search"}
	for _, o := range report.Names(found.Best.Scores) {
		row.Metrics = append(row.Metrics, tracking.Metric{Name: "search/" + string(o), Value: found.Best.Scores[o]})
	}
	if err := h.track.Log(row); err != nil {
		return err
	}
	h.say("placement %s after %d measurements: %s", found.Best.Layers, found.Evaluations, found.Summary())
	h.say("student: %s", found.Student)
	return writeResult(h.dir, found)
}
