package layers

import (
	"math"
	"math/rand/v2"

	"github.com/gojet/gojet/autograd"
	"github.com/gojet/gojet/checkpoints"
	"github.com/gojet/gojet/kernels/gatedlinear"
)

// RWKV7 is the time mixing of RWKV-7 (https://arxiv.org/abs/2503.14456): a delta rule whose state decays by channel and
// learns in context at a rate of its own for every channel. Names and shapes of its weights are those of
// flash-linear-attention, but for r_k, which lies flat. A mixer sees one layer: there is no residual from the values of the first layer.
type RWKV7 struct {
	Dims
	DecayRank, RateRank, GateRank int // of the projections to decays, learning rates and output gates
}

func newRWKV7(c *checkpoints.Config, name string) (Mixer, error) {
	// The ranks of official models grow with the root of the width.
	root := math.Sqrt(float64(c.HiddenSize))
	rank := func(x float64) int { return max(32, int(math.Round(x/32))*32) }
	b := RWKV7{DecayRank: rank(2.5 * root), RateRank: rank(2.5 * root), GateRank: rank(5 * root)}
	var err error
	b.Dims, _, err = newDims(c, name, checkpoints.Option{Key: "decay_low_rank_dim", Value: &b.DecayRank, AtMost: 1 << 14},
		checkpoints.Option{Key: "a_low_rank_dim", Value: &b.RateRank, AtMost: 1 << 14},
		checkpoints.Option{Key: "gate_low_rank_dim", Value: &b.GateRank, AtMost: 1 << 14})
	if err != nil {
		return nil, err
	}
	return b, b.Validate()
}

// Validate reports what makes the block impossible.
func (b RWKV7) Validate() error { return b.validate("rwkv7") }

// mixes are what the block projects: the token mixed with the one before it, in six ways.
func (b RWKV7) mixes() []string { return []string{"r", "w", "k", "v", "a", "g"} }

// Params lists the weights. Fresh ones are those of the middle layer of an official model.
func (b RWKV7) Params() []Param {
	ps := []Param{
		b.matrix("r_proj", b.key(), b.Hidden), b.matrix("k_proj", b.key(), b.Hidden), b.matrix("v_proj", b.value(), b.Hidden),
		b.matrix("o_proj", b.Hidden, b.value()),
		{"k_k", []int{b.key()}, b.byChannel(func(line, _ float64) float64 { return 0.71 - 0.1*line }), false},
		{"k_a", []int{b.key()}, constant(1.02), false},
		{"r_k", []int{b.key()}, constant(-0.04), false},
		{"g_norm.weight", []int{b.value()}, constant(1), false},
		{"g_norm.bias", []int{b.value()}, constant(0), false},
	}
	powers := map[string]float64{"r": 0.1, "w": 0.45, "k": 0.35, "v": 0.35, "a": 0.45, "g": 0.1}
	for _, of := range b.mixes() {
		ps = append(ps, Param{"x_" + of, []int{1, 1, b.Hidden}, mixture(powers[of]), false})
	}
	ps = append(ps, b.lowRank("w", b.DecayRank, b.key())...)
	ps = append(ps, Param{"w_lora.lora.2.bias", []int{b.key()}, b.byChannel(func(line, zigzag float64) float64 {
		return -6 + 6*math.Pow(line+0.5, 1+math.Pow(0.5, 0.3)) + 0.5 + 2.5*zigzag
	}), false})
	ps = append(ps, b.lowRank("a", b.RateRank, b.key())...)
	ps = append(ps, Param{"a_lora.lora.2.bias", []int{b.key()}, b.byChannel(func(line, zigzag float64) float64 {
		return -0.19 + 0.3*zigzag + 0.4*line
	}), false})
	return append(ps, b.lowRank("g", b.GateRank, b.value())...)
}

// lowRank are the weights of a projection of low rank, which starts with its bias alone.
func (b RWKV7) lowRank(of string, rank, out int) []Param {
	return []Param{
		{of + "_lora.lora.0.weight", []int{rank, b.Hidden}, constant(0), true},
		b.matrix(of+"_lora.lora.2", out, rank),
	}
}

// mixture is how much of the token before a feature takes: 1 − (d/D)^power.
func mixture(power float64) Init {
	return func(_ *rand.Rand, w []float32) {
		for d := range w {
			w[d] = float32(1 - math.Pow(float64(d)/float64(len(w)), power))
		}
	}
}

// byChannel fills in f of a channel's place among all, from −½ to ½, and within its head, from −1 to 1 and signed squares.
func (b RWKV7) byChannel(f func(line, zigzag float64) float64) Init {
	return func(_ *rand.Rand, w []float32) {
		for n := range w {
			line := float64(n)/math.Max(1, float64(len(w)-1)) - 0.5
			half := math.Max(1, float64(b.KeyDim-1)) / 2
			zigzag := (float64(n%b.KeyDim) - half) / half
			w[n] = float32(f(line, zigzag*math.Abs(zigzag)))
		}
	}
}

// States lists the recurrent state and the last token.
func (b RWKV7) States(int) []State {
	return []State{b.recurrent(), {"x_history", []int{b.Hidden, 1}, false}}
}

// Mix runs the block: x [N, D] to [N, D].
func (b RWKV7) Mix(s *Scope, x *autograd.Node) *autograd.Node {
	mix := map[string]*autograd.Node{}
	change := b.change(s, x)
	for _, of := range b.mixes() {
		mix[of] = s.Add(x, s.ScaleFeatures(change, s.Weight("x_"+of)))
	}
	r, k, v := s.Linear(mix["r"], "r_proj", false), s.Linear(mix["k"], "k_proj", false), s.Linear(mix["v"], "v_proj", false)
	// The strongest decay has the logarithm −exp(−½).
	decay := s.Scale(s.Sigmoid(s.Linear(s.Tanh(s.Linear(mix["w"], "w_lora.lora.0", false)), "w_lora.lora.2", true)), -math.Exp(-0.5))
	rate := s.Sigmoid(s.Linear(s.Linear(mix["a"], "a_lora.lora.0", false), "a_lora.lora.2", true))
	gate := s.Linear(s.Squash(s.Linear(mix["g"], "g_lora.lora.0", false)), "g_lora.lora.2", false)

	// What the state holds at the removal key kk is replaced, at the rate of each channel, by what the key k (1 + (a−1) k_a)
	// brings.
	kk := s.L2Norm(s.ScaleFeatures(k, s.Weight("k_k")), b.KeyDim)
	part := s.ScaleFeatures(k, s.Weight("k_a"))
	k = s.Sum(k, s.ScaleTokens(part, rate), s.Scale(part, -1))
	o := b.attend(s, gatedlinear.Config{Channels: true, Scale: 1}, r, k, v, decay, s.Scale(kk, -1), s.ScaleTokens(kk, rate))

	o = s.GroupNorm(o, s.Weight("g_norm.weight"), s.Weight("g_norm.bias"), b.ValueDim, float64(b.KeyDim)*b.NormEps)
	now := s.HeadDots(s.ScaleFeatures(r, s.Weight("r_k")), k, b.Heads)
	return s.Linear(s.ScaleTokens(s.Add(o, s.ScaleTokens(v, now)), gate), "o_proj", false)
}

// change is x of the token before less x of this one.
func (b RWKV7) change(s *Scope, x *autograd.Node) *autograd.Node {
	difference := s.Constant(x, []float64{1, -1}, b.Hidden, 1, 2)
	if s.Cached() {
		return s.CachedStaticConv(x, difference, nil, s.Seq, s.State("x_history"), false)
	}
	return s.StaticConv(x, difference, nil, s.Seq, false)
}
