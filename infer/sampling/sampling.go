// Package sampling chooses the next token from a model's logits, and finds stop strings in the text that
// comes out.
//
// The steps and their order are those of Hugging Face's generate: repetition penalty, temperature, top-k,
// top-p, min-p. The penalty is CTRL's (https://arxiv.org/abs/1909.05858), top-p is nucleus sampling
// (https://arxiv.org/abs/1904.09751), min-p that of https://arxiv.org/abs/2407.01082. Probabilities are float64.
package sampling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Config says how tokens are chosen. Default is greedy.
type Config struct {
	// Temperature divides the logits. 0 is greedy: the largest logit, the lowest id among equals; top-k,
	// top-p, min-p and the seed then play no part.
	Temperature float64
	// TopK keeps the k largest logits, and those equal to the k-th. 0 keeps all.
	TopK int
	// TopP keeps the most probable tokens until their probabilities reach TopP. 1 keeps all.
	TopP float64
	// MinP keeps the tokens that are at least MinP times as probable as the most probable one. 0 keeps all.
	MinP float64
	// RepetitionPenalty divides the positive logits of tokens already in the history and multiplies the
	// negative ones, once a token. 1 changes nothing.
	RepetitionPenalty float64
	// Seed fixes the draws.
	Seed uint64
}

// Default is greedy decoding without a penalty.
func Default() Config { return Config{TopP: 1, RepetitionPenalty: 1} }

// Validate names the setting that is out of range.
func (c Config) Validate() error {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	switch {
	case !finite(c.Temperature) || c.Temperature < 0:
		return fmt.Errorf("temperature is %v, want a finite number of 0 or more", c.Temperature)
	case c.TopK < 0:
		return fmt.Errorf("top-k is %d, want 0 (all tokens) or more", c.TopK)
	case !(c.TopP > 0 && c.TopP <= 1):
		return fmt.Errorf("top-p is %v, want above 0 and at most 1", c.TopP)
	case !(c.MinP >= 0 && c.MinP <= 1):
		return fmt.Errorf("min-p is %v, want 0 to 1", c.MinP)
	case !finite(c.RepetitionPenalty) || c.RepetitionPenalty <= 0:
		return fmt.Errorf("repetition-penalty is %v, want a finite number above 0", c.RepetitionPenalty)
	}
	return nil
}

// Workspace holds the buffers of the sampling steps, at most 36 bytes for each token of the vocabulary. Samplers
// that do not run at the same time may share one. The zero value is ready.
type Workspace struct {
	penalised []float32
	kept      []candidate // in the order of ids
	ranked    []candidate // what is being put in order of preference
}

// Sampler chooses the tokens of one sequence.
type Sampler struct {
	cfg Config
	rng *rand.Rand
	ws  *Workspace
}

// New returns a sampler at the start of its seed's draws. ws may be nil: the sampler then has its own.
func New(cfg Config, ws *Workspace) (*Sampler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if ws == nil {
		ws = new(Workspace)
	}
	return &Sampler{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15)), ws: ws}, nil
}

// Next chooses a token by its logits, one for each id of the vocabulary. A logit of -Inf rules its token out.
// The history, prompt included, is what the repetition penalty applies to. Logits that are NaN or +Inf, or all
// -Inf, are an error. Logits and history are not written.
func (s *Sampler) Next(logits []float32, history []int32) (int32, error) {
	z, err := s.penalise(logits, history)
	if err != nil {
		return 0, err
	}
	best, err := greatest(z)
	if err != nil || s.cfg.Temperature == 0 {
		return best, err
	}
	return s.draw(z, best), nil
}

// penalise returns the logits after the repetition penalty. Each is computed from the unpenalised one, so a
// token that occurs twice in the history is penalised once.
func (s *Sampler) penalise(logits []float32, history []int32) ([]float32, error) {
	p := s.cfg.RepetitionPenalty
	if p == 1 {
		return logits, nil
	}
	z := append(s.ws.penalised[:0], logits...)
	s.ws.penalised = z
	for i, id := range history {
		if id < 0 || int(id) >= len(logits) {
			return nil, fmt.Errorf("sampling: history[%d] is token %d, want 0 to %d", i, id, len(logits)-1)
		}
		if v := float64(logits[id]); v < 0 {
			z[id] = float32(v * p)
		} else {
			z[id] = float32(v / p)
		}
	}
	return z, nil
}

// greatest returns the lowest id with the largest logit.
func greatest(z []float32) (int32, error) {
	best, top := -1, float32(math.Inf(-1))
	for id, v := range z {
		if v > top {
			best, top = id, v
		} else if v != v {
			return 0, fmt.Errorf("sampling: logit of token %d is NaN", id)
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("sampling: none of the %d logits allows its token", len(z))
	}
	if math.IsInf(float64(top), 1) {
		return 0, fmt.Errorf("sampling: logit of token %d is +Inf", best)
	}
	return int32(best), nil
}

// draw chooses in proportion to the weights that are left. The walk is in the order of ids, so the same seed
// gives the same token however the cuts were found.
func (s *Sampler) draw(z []float32, best int32) int32 {
	kept, total := s.keep(z, z[best])
	left := s.rng.Float64() * total
	chosen := best
	for _, c := range kept {
		if c.weight == 0 {
			continue
		}
		chosen = c.id
		if left -= c.weight; left < 0 {
			break
		}
	}
	return chosen
}

// keep applies temperature, top-k, top-p and min-p. It returns the tokens left, in the order of ids, and the sum of
// their weights, which are probabilities times a constant.
func (s *Sampler) keep(z []float32, top float32) (kept []candidate, total float64) {
	floor := s.kth(z)
	kept = s.ws.kept[:0]
	for id, v := range z {
		if v >= floor {
			w := math.Exp((float64(v) - float64(top)) / s.cfg.Temperature)
			kept = append(kept, candidate{logit: v, id: int32(id), weight: w})
			total += w
		}
	}
	s.ws.kept = kept
	if s.cfg.TopP < 1 {
		kept, total = s.nucleus(kept, total)
	}
	if s.cfg.MinP > 0 {
		kept, total = s.likely(kept)
	}
	return kept, total
}

// likely keeps the candidates of at least MinP times the weight of the best, which is 1, and returns them and their weight.
func (s *Sampler) likely(kept []candidate) ([]candidate, float64) {
	n, total := 0, 0.0
	for _, x := range kept {
		if x.weight >= s.cfg.MinP {
			kept[n] = x
			n++
			total += x.weight
		}
	}
	return kept[:n], total
}

// kth returns the TopK-th largest logit, -Inf where TopK keeps all.
func (s *Sampler) kth(z []float32) float32 {
	const block = 64
	k := s.cfg.TopK
	if k == 0 || k >= len(z) {
		return float32(math.Inf(-1))
	}
	// The k-th largest of the blocks' maxima bounds the k-th largest of all from below, as k logits at least
	// reach it: few logits are left to rank.
	bound := float32(math.Inf(-1))
	c := s.ws.ranked[:0]
	if k <= len(z)/block {
		for i := 0; i+block <= len(z); i += block {
			c = append(c, candidate{logit: slices.Max(z[i : i+block]), id: int32(i), weight: 1})
		}
		bound = lastOf(c, float64(k)).logit
		c = c[:0]
	}
	for id, v := range z {
		if v >= bound {
			c = append(c, candidate{logit: v, id: int32(id), weight: 1})
		}
	}
	s.ws.ranked = c
	return lastOf(c, float64(k)).logit
}

// nucleus keeps the most probable of the candidates until they reach TopP of the total weight, and returns
// them and their weight.
func (s *Sampler) nucleus(kept []candidate, total float64) ([]candidate, float64) {
	// All candidates of at most this weight come to less than what is cut, so that none of them is kept.
	least := (1 - s.cfg.TopP) * total / float64(len(kept))
	c := s.ws.ranked[:0]
	for _, x := range kept {
		if x.weight >= least {
			c = append(c, x)
		}
	}
	s.ws.ranked = c
	last := lastOf(c, s.cfg.TopP*total)
	n := 0
	total = 0
	for _, x := range kept {
		if !last.before(x) {
			kept[n] = x
			n++
			total += x.weight
		}
	}
	return kept[:n], total
}

// LogProb returns the log-probability of a token under the model's own distribution: log softmax of the
// logits before any sampling step.
func LogProb(logits []float32, id int32) (float64, error) {
	if id < 0 || int(id) >= len(logits) {
		return 0, fmt.Errorf("sampling: token is %d, want 0 to %d", id, len(logits)-1)
	}
	best, err := greatest(logits)
	if err != nil {
		return 0, err
	}
	top := float64(logits[best])
	var sum float64
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return float64(logits[id]) - top - math.Log(sum), nil
}
