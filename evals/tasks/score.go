package tasks

import "math"

// Prediction is what a model says at a place: minus the logarithm of the wanted token's probability, and whether it is
// the likeliest one.
type Prediction struct {
	Loss  float64
	First bool
}

// Predict reads logits [vocab] at a place.
func Predict(logits []float32, want int32) Prediction {
	most, first := math.Inf(-1), true
	w := float64(logits[want])
	for i, x := range logits {
		most = max(most, float64(x))
		if float64(x) > w || float64(x) == w && i < int(want) {
			first = false
		}
	}
	var sum float64
	for _, x := range logits {
		sum += math.Exp(float64(x) - most)
	}
	return Prediction{Loss: most + math.Log(sum) - w, First: first}
}

// Scores are the means over the questions of a task.
type Scores struct {
	// Loss of the right answer, a mean over its tokens.
	Loss float64 `json:"loss"`
	// Accuracy is the share of questions whose right answer is the likeliest of the choices by its mean loss or, where
	// there is no choice, every token of which is the model's first.
	Accuracy  float64 `json:"accuracy"`
	Questions int     `json:"questions"`
}

// Tally collects the predictions for items, in any order of batches.
type Tally struct {
	items  []Item
	losses map[[3]int]float64
	first  map[[3]int]bool
}

// NewTally begins a tally for items.
func NewTally(items []Item) *Tally {
	return &Tally{items: items, losses: map[[3]int]float64{}, first: map[[3]int]bool{}}
}

// Add takes what was predicted at the places of a batch.
func (t *Tally) Add(b Batch, at []Prediction) {
	for _, s := range b.Spans {
		key := [3]int{s.Item, s.Turn, s.Choice}
		sum, all := 0.0, true
		for _, p := range at[s.From:s.To] {
			sum += p.Loss
			all = all && p.First
		}
		t.losses[key], t.first[key] = sum/float64(s.To-s.From), all
	}
}

// Scores are those of all that was added.
func (t *Tally) Scores() Scores {
	var s Scores
	for i, it := range t.items {
		for k, turn := range it.Turns {
			right := [3]int{i, k, turn.Answer}
			s.Questions++
			s.Loss += t.losses[right]
			ok := t.first[right]
			if len(turn.Choices) > 1 {
				ok = true
				for c := range turn.Choices {
					ok = ok && (c == turn.Answer || t.losses[[3]int{i, k, c}] > t.losses[right])
				}
			}
			if ok {
				s.Accuracy++
			}
		}
	}
	n := math.Max(1, float64(s.Questions))
	s.Loss /= n
	s.Accuracy /= n
	return s
}
