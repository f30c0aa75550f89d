package supernet

import (
	"fmt"
	"math/rand/v2"

	"github.com/gojet/gojet/search"
	"github.com/gojet/gojet/train"
)

// Distributions of the paths that training takes.
const (
	Uniform  = "uniform"  // every layer draws its kind, all alike
	Budget   = "budget"   // a random placement with as many full and window layers as the search will choose
	Sandwich = "sandwich" // by turns all layers linear, Budget, and Uniform; all full, the other slice, has nothing to learn
)

// Config says how the super network is trained: linear blocks learn, everything else is frozen.
type Config struct {
	Steps     int             `yaml:"steps"`
	Length    int             `yaml:"length"` // tokens of a row
	Rows      int             `yaml:"rows"`   // of a step
	Sampling  string          `yaml:"sampling"`
	Loss      train.Loss      `yaml:"loss"` // hidden and kl
	Optimizer train.Optimizer `yaml:"optimizer"`
	Schedule  train.Schedule  `yaml:"schedule"`
	SaveEvery int             `yaml:"save_every"` // steps; 0 for the end only
	// MaxSkipped is how many steps in a row may lack finite gradients before training stops.
	MaxSkipped int `yaml:"max_skipped"`
}

// DefaultConfig is what a recipe has where it is silent.
func DefaultConfig() Config {
	s := train.DefaultStage()
	return Config{
		Steps: 1000, Length: s.Length, Rows: s.Rows, Sampling: Sandwich, Loss: train.Loss{Hidden: 1, Temperature: 1},
		Optimizer: s.Optimizer, Schedule: s.Schedule, SaveEvery: 200, MaxSkipped: s.MaxSkipped,
	}
}

// Stage is the configuration as a stage of training, for what both have in common.
func (c Config) Stage() train.Stage {
	s := train.DefaultStage()
	s.Name, s.Model, s.Teacher = "supernet", "student", "teacher"
	s.Steps, s.Length, s.Rows, s.Loss, s.Optimizer, s.Schedule = c.Steps, c.Length, c.Rows, c.Loss, c.Optimizer, c.Schedule
	s.SaveEvery, s.MaxSkipped = c.SaveEvery, c.MaxSkipped
	return s
}

// Validate reports the first value that cannot be, by its key.
func (c Config) Validate() error {
	switch c.Sampling {
	case Uniform, Budget, Sandwich:
	default:
		return fmt.Errorf("sampling is %q, want %s, %s or %s", c.Sampling, Uniform, Budget, Sandwich)
	}
	if c.Loss.CrossEntropy != 0 || !c.Loss.NeedsTeacher() {
		return fmt.Errorf("loss has cross_entropy %v, kl %v and hidden %v, want 0 and a weight above 0 for kl or hidden", c.Loss.CrossEntropy, c.Loss.KL, c.Loss.Hidden)
	}
	return c.Stage().Validate()
}

// sampler draws the path of every step.
type sampler struct {
	kind                 string
	layers, full, window int
	seed                 uint64
}

// path is a function of the seed and the step alone.
func (s sampler) path(step int) search.Placement {
	r := rand.New(rand.NewPCG(s.seed, uint64(step)+1))
	kind := s.kind
	if kind == Sandwich {
		kind = [...]string{"linear", Budget, Uniform}[step%3]
	}
	p := search.Uniform(s.layers, search.Linear)
	switch kind {
	case Budget:
		order := r.Perm(s.layers)
		for _, i := range order[:s.full] {
			p[i] = search.Full
		}
		for _, i := range order[s.full : s.full+s.window] {
			p[i] = search.Window
		}
	case Uniform:
		kinds := int(search.Window)
		if s.window > 0 {
			kinds++
		}
		for i := range p {
			p[i] = search.Kind(r.IntN(kinds))
		}
		if p.Count(search.Linear) == 0 { // nothing would learn
			p[r.IntN(len(p))] = search.Linear
		}
	}
	return p
}
