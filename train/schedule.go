package train

import (
	"fmt"
	"math"
)

// Kind is the shape of the learning rate after warm-up.
type Kind string

// Kinds of schedules.
const (
	Constant Kind = "constant"
	Linear   Kind = "linear" // straight down to min_lr
	Cosine   Kind = "cosine" // half a cosine down to min_lr, https://arxiv.org/abs/1608.03983
	WSD      Kind = "wsd"    // warm-up, stable, decay: constant, then straight down to min_lr over the last decay steps, https://arxiv.org/abs/2404.06395
)

// Schedule is the learning rate over the steps of a stage.
type Schedule struct {
	Kind   Kind    `yaml:"kind"`
	Warmup int     `yaml:"warmup"` // steps of a straight rise; the first step already has a share
	MinLR  float64 `yaml:"min_lr"` // at the end
	Decay  int     `yaml:"decay"`  // steps of wsd's last part
}

// Validate reports a schedule that does not fit steps with a peak of lr.
func (s Schedule) Validate(steps int, lr float64) error {
	switch s.Kind {
	case Constant, Linear, Cosine, WSD:
	default:
		return fmt.Errorf("schedule.kind is %q, want constant, linear, cosine or wsd", s.Kind)
	}
	if s.Warmup < 0 || s.Warmup > steps {
		return fmt.Errorf("schedule.warmup is %d, want 0 to %d, the steps of the stage", s.Warmup, steps)
	}
	if s.Kind == WSD && (s.Decay < 1 || s.Warmup+s.Decay > steps) {
		return fmt.Errorf("schedule.decay is %d, want 1 to %d, the steps after warm-up", s.Decay, steps-s.Warmup)
	}
	if s.Kind != WSD && s.Decay != 0 {
		return fmt.Errorf("schedule.decay is %d, want it only with kind wsd", s.Decay)
	}
	if !finite(s.MinLR) || s.MinLR < 0 || s.MinLR > lr {
		return fmt.Errorf("schedule.min_lr is %v, want 0 to %v, the learning rate", s.MinLR, lr)
	}
	return nil
}

// At returns the learning rate of step, counted from 0, of steps with a peak of lr.
func (s Schedule) At(step, steps int, lr float64) float64 {
	if step < s.Warmup {
		return lr * float64(step+1) / float64(s.Warmup)
	}
	done, span := step-s.Warmup, steps-s.Warmup
	if s.Kind == WSD {
		done, span = step-(steps-s.Decay), s.Decay
	}
	t := max(0, float64(done)/float64(max(span, 1)))
	switch s.Kind {
	case Linear, WSD:
		return lr + (s.MinLR-lr)*t
	case Cosine:
		return s.MinLR + 0.5*(lr-s.MinLR)*(1+math.Cos(math.Pi*t))
	}
	return lr
}
