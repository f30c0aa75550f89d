package layers

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

func normal(std float64) Init {
	return func(r *rand.Rand, w []float32) {
		for i := range w {
			w[i] = float32(r.NormFloat64() * std)
		}
	}
}

func constant(v float32) Init {
	return func(_ *rand.Rand, w []float32) {
		for i := range w {
			w[i] = v
		}
	}
}

// decayRate is A_log = log A with A ~ U(0, 16).
func decayRate(r *rand.Rand, w []float32) {
	for i := range w {
		w[i] = float32(math.Log(16 * (1 - r.Float64())))
	}
}

// stateRate is A_log = log A with A ~ U(1, 16), as Mamba-2 draws it.
func stateRate(r *rand.Rand, w []float32) {
	for i := range w {
		w[i] = float32(math.Log(1 + 15*r.Float64()))
	}
}

// timeStep is dt_bias, the inverse softplus of dt = exp(U(log 0.001, log 0.1)), not below 1e-4.
func timeStep(r *rand.Rand, w []float32) {
	for i := range w {
		dt := math.Exp(r.Float64()*(math.Log(0.1)-math.Log(0.001)) + math.Log(0.001))
		dt = math.Max(dt, 1e-4)
		w[i] = float32(dt + math.Log(-math.Expm1(-dt)))
	}
}

// Draw returns fresh values for a weight. They depend on the seed and the weight's name alone, so that a model keeps its
// other weights when one layer changes.
func (p Param) Draw(seed uint64) []float32 {
	h := fnv.New64a()
	h.Write([]byte(p.Name))
	w := make([]float32, p.Size())
	p.Init(rand.New(rand.NewPCG(seed, h.Sum64())), w)
	return w
}
