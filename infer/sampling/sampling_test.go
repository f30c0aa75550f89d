package sampling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

var inf = float32(math.Inf(1))

func sampler(t testing.TB, cfg Config) *Sampler {
	t.Helper()
	s, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValidate(t *testing.T) {
	with := func(f func(*Config)) Config {
		c := Default()
		f(&c)
		return c
	}
	nan := math.NaN()
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Default(), ""},
		{with(func(c *Config) { c.Temperature, c.TopK, c.TopP, c.RepetitionPenalty = 0.7, 20, 0.8, 1.05 }), ""},
		{with(func(c *Config) { c.Temperature = nan }), "temperature is NaN"},
		{with(func(c *Config) { c.Temperature = math.Inf(1) }), "temperature is +Inf"},
		{with(func(c *Config) { c.Temperature = -0.1 }), "temperature is -0.1"},
		{with(func(c *Config) { c.TopK = -1 }), "top-k is -1"},
		{with(func(c *Config) { c.TopP = 0 }), "top-p is 0"},
		{with(func(c *Config) { c.TopP = 1.01 }), "top-p is 1.01"},
		{with(func(c *Config) { c.TopP = nan }), "top-p is NaN"},
		{with(func(c *Config) { c.MinP = 1 }), ""},
		{with(func(c *Config) { c.MinP = -0.1 }), "min-p is -0.1"},
		{with(func(c *Config) { c.MinP = 1.5 }), "min-p is 1.5"},
		{with(func(c *Config) { c.MinP = nan }), "min-p is NaN"},
		{with(func(c *Config) { c.RepetitionPenalty = 0 }), "repetition-penalty is 0"},
		{with(func(c *Config) { c.RepetitionPenalty = nan }), "repetition-penalty is NaN"},
		{with(func(c *Config) { c.RepetitionPenalty = math.Inf(1) }), "repetition-penalty is +Inf"},
	} {
		_, err := New(tc.cfg, nil)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: error %v, want %q", tc.cfg, err, tc.want)
		}
	}
}

func TestGreedy(t *testing.T) {
	for _, tc := range []struct {
		name    string
		logits  []float32
		history []int32
		penalty float64
		want    int32
	}{
		{"largest", []float32{1, 3, 2}, nil, 1, 1},
		{"lowest id among equals", []float32{1, 2, 2, 2}, nil, 1, 1},
		{"all negative", []float32{-3, -1, -2}, nil, 1, 1},
		{"ruled out", []float32{-inf, -5, -inf}, nil, 1, 1},
		{"one token", []float32{0}, nil, 1, 0},
		{"positive logit is divided", []float32{3, 2, 1}, []int32{0}, 2, 1},
		{"negative logit is multiplied", []float32{-1, -1.5, -4}, []int32{0}, 2, 1},
		{"once a token", []float32{3.5, 1, 1}, []int32{0, 0, 0}, 2, 0},
		{"a penalty below 1 favours the history", []float32{3, 2, 1}, []int32{1}, 0.5, 1},
	} {
		cfg := Default()
		cfg.RepetitionPenalty = tc.penalty
		logits := slices.Clone(tc.logits)
		got, err := sampler(t, cfg).Next(logits, tc.history)
		if err != nil || got != tc.want {
			t.Errorf("%s: token %d, error %v, want %d", tc.name, got, err, tc.want)
		}
		if !slices.Equal(logits, tc.logits) {
			t.Errorf("%s: the logits were changed", tc.name)
		}
	}
}

func TestBadLogits(t *testing.T) {
	nan := float32(math.NaN())
	for _, temperature := range []float64{0, 1} {
		for _, tc := range []struct {
			logits  []float32
			history []int32
			penalty float64
			want    string
		}{
			{[]float32{1, nan, 2}, nil, 1, "logit of token 1 is NaN"},
			{[]float32{nan, nan}, nil, 1, "logit of token 0 is NaN"},
			{[]float32{1, inf}, nil, 1, "logit of token 1 is +Inf"},
			{[]float32{-inf, -inf}, nil, 1, "none of the 2 logits"},
			{nil, nil, 1, "none of the 0 logits"},
			{[]float32{1, 2}, []int32{0, 2}, 1.5, "history[1] is token 2, want 0 to 1"},
			{[]float32{1, 2}, []int32{-1}, 1.5, "history[0] is token -1"},
			{[]float32{1e38, 2}, []int32{0}, 1e-9, "logit of token 0 is +Inf"},
		} {
			cfg := Default()
			cfg.Temperature, cfg.RepetitionPenalty = temperature, tc.penalty
			cfg.TopK, cfg.TopP = 2, 0.5
			if _, err := sampler(t, cfg).Next(tc.logits, tc.history); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: error %v, want %q", tc.logits, err, tc.want)
			}
		}
	}
}

// plain recomputes the distribution with a full sort, in the order of Hugging Face's logits processors.
func plain(cfg Config, logits []float32, history []int32) []float64 {
	type token struct {
		id int
		z  float64
	}
	all := make([]token, len(logits))
	for id, v := range logits {
		z := float64(v)
		if slices.Contains(history, int32(id)) {
			if z > 0 {
				z = float64(float32(z / cfg.RepetitionPenalty))
			} else {
				z = float64(float32(z * cfg.RepetitionPenalty))
			}
		}
		all[id] = token{id, z / cfg.Temperature}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].z > all[j].z })
	if k := cfg.TopK; k > 0 && k < len(all) {
		for k < len(all) && all[k].z == all[k-1].z {
			k++
		}
		all = all[:k]
	}
	probabilities := func() []float64 {
		p := make([]float64, len(all))
		sum := 0.0
		for i := range all {
			p[i] = math.Exp(all[i].z - all[0].z)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	if cfg.TopP < 1 {
		before := 0.0
		for i, p := range probabilities() {
			if before >= cfg.TopP {
				all = all[:i]
				break
			}
			before += p
		}
	}
	likely := probabilities()
	for i, p := range likely {
		if p < cfg.MinP*likely[0] {
			all = all[:i]
			break
		}
	}
	out := make([]float64, len(logits))
	for i, p := range probabilities() {
		out[all[i].id] = p
	}
	return out
}

// TestDistribution draws many tokens and compares frequencies with the recomputed probabilities: none outside
// the kept tokens, and Pearson's chi-squared statistic within five standard deviations.
func TestDistribution(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 50)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 2)
	}
	logits[7], logits[8], logits[9] = logits[6], logits[6], -inf
	history := []int32{3, 6, 3, 20}
	for i, cfg := range []Config{
		{Temperature: 1, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 0.7, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 2.5, TopP: 1, RepetitionPenalty: 1.3},
		{Temperature: 1, TopK: 1, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 1, TopK: 5, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 1, TopK: 1000, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 1, TopP: 0.9, RepetitionPenalty: 1},
		{Temperature: 1, TopP: 1e-9, RepetitionPenalty: 1},
		{Temperature: 1.5, TopK: 20, TopP: 0.8, RepetitionPenalty: 1.1},
		{Temperature: 0.9, TopK: 40, TopP: 0.95, RepetitionPenalty: 0.8},
		{Temperature: 1, TopP: 1, MinP: 0.1, RepetitionPenalty: 1},
		{Temperature: 1, TopP: 1, MinP: 1, RepetitionPenalty: 1},
		{Temperature: 0.8, TopK: 30, TopP: 0.95, MinP: 0.05, RepetitionPenalty: 1.1},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			cfg.Seed = uint64(i)
			s := sampler(t, cfg)
			count := make([]float64, len(logits))
			for range draws {
				id, err := s.Next(logits, history)
				if err != nil {
					t.Fatal(err)
				}
				count[id]++
			}
			var chi, freedom float64
			for id, p := range plain(cfg, logits, history) {
				if p == 0 {
					if count[id] > 0 {
						t.Errorf("token %d was drawn %v times and is not to be kept", id, count[id])
					}
					continue
				}
				want := p * draws
				chi += (count[id] - want) * (count[id] - want) / want
				freedom++
			}
			if freedom--; chi > freedom+5*math.Sqrt(2*freedom)+1e-9 {
				t.Errorf("chi-squared %.1f at %v degrees of freedom", chi, freedom)
			}
		})
	}
}

// TestKept compares the set of tokens that top-k and top-p keep with the full sort, on vocabularies large
// enough for many splits, with ties.
func TestKept(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for trial := range 200 {
		n := 1 + r.IntN(3000)
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = float32(r.NormFloat64() * 3)
			if trial%2 == 0 {
				logits[i] = float32(math.Round(float64(logits[i])))
			}
		}
		cfg := Config{Temperature: 0.5 + r.Float64(), TopK: r.IntN(n+2) >> r.IntN(8), TopP: 1 - r.Float64()*0.99, RepetitionPenalty: 1}
		s := sampler(t, cfg)
		kept, total := s.keep(logits, slices.Max(logits))
		weight := make([]float64, n)
		for _, c := range kept {
			weight[c.id] = c.weight
			total -= c.weight
		}
		if math.Abs(total) > 1e-9 {
			t.Errorf("trial %d: the weights and their sum differ by %g", trial, total)
		}
		differ := 0
		for id, p := range plain(cfg, logits, nil) {
			if (p > 0) != (weight[id] > 0) {
				differ++
			}
		}
		// The two sum in different orders, so the mass may be reached one token sooner or later.
		if differ > 1 {
			t.Errorf("trial %d, %d tokens, %+v: %d tokens are kept by one and not by the other", trial, n, cfg, differ)
		}
	}
}

func TestExtremeTemperatures(t *testing.T) {
	logits := []float32{-3e38, 1, 3e38, 2}
	for temperature, want := range map[float64]int32{5e-324: 2, 1e-30: 2, 1e300: -1} {
		s := sampler(t, Config{Temperature: temperature, TopP: 0.99, RepetitionPenalty: 1})
		seen := map[int32]bool{}
		for range 200 {
			id, err := s.Next(logits, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen[id] = true
		}
		if want >= 0 && (len(seen) != 1 || !seen[want]) || want < 0 && len(seen) != 4 {
			t.Errorf("temperature %g: drew %v", temperature, seen)
		}
	}
}

func TestSeed(t *testing.T) {
	logits := make([]float32, 1000)
	draw := func(seed uint64, ws *Workspace) (ids []int32) {
		s, err := New(Config{Temperature: 1, TopP: 0.9, RepetitionPenalty: 1, Seed: seed}, ws)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			id, err := s.Next(logits, ids)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	ws := new(Workspace)
	first := draw(1, ws)
	if again := draw(1, nil); !slices.Equal(first, again) {
		t.Errorf("the same seed drew %v, then %v", first, again)
	}
	if other := draw(2, ws); slices.Equal(first, other) {
		t.Errorf("seeds 1 and 2 both drew %v", first)
	}
}

func TestNoAllocation(t *testing.T) {
	logits := randomLogits(5000)
	for _, cfg := range []Config{
		Default(),
		{Temperature: 0.8, TopK: 50, TopP: 0.9, RepetitionPenalty: 1.1},
		{Temperature: 0.8, TopP: 0.9, RepetitionPenalty: 1},
	} {
		s := sampler(t, cfg)
		history := []int32{1, 2, 3}
		n := testing.AllocsPerRun(20, func() {
			if _, err := s.Next(logits, history); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%+v: %v allocations a token", cfg, n)
		}
	}
}

func TestLogProb(t *testing.T) {
	logits := []float32{1, 2, -inf, 1000}
	for _, tc := range []struct {
		logits []float32
		id     int32
		want   float64
	}{
		{[]float32{0, 0, 0, 0}, 2, -math.Log(4)},
		{[]float32{1, 2}, 0, -math.Log(1 + math.E)},
		{logits, 3, 0},
		{logits, 2, math.Inf(-1)},
		{logits, 0, -999},
	} {
		if got, err := LogProb(tc.logits, tc.id); err != nil || got != tc.want && !(math.Abs(got-tc.want) < 1e-12) {
			t.Errorf("LogProb(%v, %d) = %v, %v, want %v", tc.logits, tc.id, got, err, tc.want)
		}
	}
	for _, id := range []int32{-1, 4} {
		if _, err := LogProb(logits, id); err == nil {
			t.Errorf("token %d: no error", id)
		}
	}
	if _, err := LogProb([]float32{0, float32(math.NaN())}, 0); err == nil {
		t.Error("NaN: no error")
	}
}

func TestLastOfBadPivots(t *testing.T) {
	// Weights of 1 and every rank asked for, on orders that favour and mislead the median of three.
	for name, logit := range map[string]func(i, n int) float32{
		"rising":  func(i, _ int) float32 { return float32(i) },
		"falling": func(i, n int) float32 { return float32(n - i) },
		"equal":   func(int, int) float32 { return 1 },
		"organ":   func(i, n int) float32 { return float32(min(i, n-i)) },
	} {
		const n = 300
		all := make([]candidate, n)
		for i := range all {
			all[i] = candidate{logit: logit(i, n), id: int32(i), weight: 1}
		}
		sorted := slices.Clone(all)
		slices.SortFunc(sorted, candidate.compare)
		for k := 1; k <= n; k++ {
			if got := lastOf(slices.Clone(all), float64(k)); got != sorted[k-1] {
				t.Fatalf("%s: rank %d is %+v, want %+v", name, k, got, sorted[k-1])
			}
		}
	}
}

func randomLogits(n int) []float32 {
	r := rand.New(rand.NewPCG(5, 6))
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	return logits
}

func BenchmarkNext(b *testing.B) {
	logits := randomLogits(151936)
	history := make([]int32, 4096)
	for _, cfg := range []Config{
		Default(),
		{Temperature: 1, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 0.7, TopK: 20, TopP: 0.8, RepetitionPenalty: 1.05},
		{Temperature: 0.7, TopP: 0.9, RepetitionPenalty: 1},
	} {
		b.Run(fmt.Sprintf("T=%v,k=%d,p=%v", cfg.Temperature, cfg.TopK, cfg.TopP), func(b *testing.B) {
			s := sampler(b, cfg)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Next(logits, history); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
