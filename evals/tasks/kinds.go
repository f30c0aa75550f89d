package tasks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

func keysOf(width int) float64 { return math.Pow(float64(len(letters)), float64(width)) }

func draw(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// distinct draws n different keys.
func distinct(r *rand.Rand, n, width int) []string {
	seen := map[string]bool{}
	var keys []string
	for len(keys) < n {
		if k := draw(r, letters, width); !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	return keys
}

func (s *Set) encode(text string) []int32 { return s.with.Tokenizer.EncodeOrdinary(text) }

// ask is a turn with one answer.
func (s *Set) ask(context, answer string) Turn {
	return Turn{Context: s.encode(context), Choices: [][]int32{s.encode(answer)}}
}

// recall: "k=4 q=7 … ? q=", "7", " k=", "4" …
func (s *Set) recall(r *rand.Rand) Item {
	keys := distinct(r, s.Pairs, s.Width)
	values := map[string]string{}
	var b strings.Builder
	for _, k := range keys {
		values[k] = draw(r, digits, s.Width)
		fmt.Fprintf(&b, "%s=%s ", k, values[k])
	}
	b.WriteString("?")
	var it Item
	for _, i := range r.Perm(s.Pairs)[:s.Queries] {
		fmt.Fprintf(&b, " %s=", keys[i])
		it.Turns = append(it.Turns, s.ask(b.String(), values[keys[i]]))
		b.Reset()
	}
	return it
}

// Words of the haystack: sentences that say nothing.
var (
	subjects = []string{"The river", "A train", "The garden", "The old clock", "A letter", "The harbour", "The road", "A neighbour", "The window", "The orchestra"}
	verbs    = []string{"waits near", "turns towards", "belongs to", "follows", "looks over", "stands behind", "remembers", "passes", "leads to", "begins at"}
	objects  = []string{"the hill", "an empty square", "the northern bridge", "a quiet street", "the market", "the early light", "a row of trees", "the station", "the library", "the sea"}
)

func sentence(r *rand.Rand) string {
	return subjects[r.IntN(len(subjects))] + " " + verbs[r.IntN(len(verbs))] + " " + objects[r.IntN(len(objects))] + ". "
}

// needle hides one sentence at any depth of Length tokens of others, and asks for it at the end.
func (s *Set) needle(r *rand.Rand) Item {
	name, code := draw(r, letters, s.Width), draw(r, digits, s.Width)
	fact := fmt.Sprintf("The code of %s is %s. ", name, code)
	var hay []string
	for n := len(s.encode(fact)); n < s.Length; {
		t := sentence(r)
		n += len(s.encode(t))
		hay = append(hay, t)
	}
	hay = slices.Insert(hay, r.IntN(len(hay)+1), fact)
	return Item{[]Turn{s.ask(strings.Join(hay, "")+fmt.Sprintf("The code of %s is ", name), code)}}
}

// lookup: a JSON object of long keys and values, and one key again.
func (s *Set) lookup(r *rand.Rand) Item {
	keys := distinct(r, s.Pairs, s.Width)
	values := make([]string, len(keys))
	var b strings.Builder
	b.WriteString("{")
	for i, k := range keys {
		values[i] = draw(r, digits, s.Width)
		fmt.Fprintf(&b, "%q: %q, ", k, values[i])
	}
	at := r.IntN(len(keys))
	fmt.Fprintf(&b, "}\n%q: \"", keys[at])
	return Item{[]Turn{s.ask(b.String(), values[at])}}
}

// arithmetic: "a=3; b=a+4; c=b-2; c=", in digits modulo 10.
func (s *Set) arithmetic(r *rand.Rand) Item {
	names := r.Perm(len(letters))
	x := r.IntN(10)
	last := letters[names[0]]
	text := fmt.Sprintf("mod 10: %c=%d;", last, x)
	for i := range s.Steps {
		y, sign, name := r.IntN(10), byte('+'), letters[names[i+1]]
		if r.IntN(2) == 1 {
			sign = '-'
			x = (x + 10 - y) % 10
		} else {
			x = (x + y) % 10
		}
		text += fmt.Sprintf(" %c=%c%c%d;", name, last, sign, y)
		last = name
	}
	return Item{[]Turn{s.ask(fmt.Sprintf("%s %c=", text, last), fmt.Sprint(x))}}
}

// continuation: Length tokens of text, what follows there, and what follows elsewhere.
func (s *Set) continuation(r *rand.Rand) Item {
	most := max(4, s.Length/4)
	t := Turn{Answer: r.IntN(s.Choices)}
	for i := range s.Choices {
		text := s.with.Text(r.Uint64(), s.Length+most)
		if i == t.Answer {
			t.Context = text[:s.Length]
		}
		t.Choices = append(t.Choices, text[s.Length:s.Length+most])
	}
	return Item{[]Turn{t}}
}
