package ruler

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// commonWords is how many words are asked for.
const commonWords = 10

// longFrom is the length from which words are repeated as often as RULER does with its longer prompts.
const longFrom = 4096

// common is a numbered list in which ten words come more often than all others, with an example of the same kind. A
// unit is a word.
func common(r *source, c Config, units int) draft {
	var example, d draft
	if c.Length < longFrom {
		example, d = list(r, 20, 3, 1), list(r, units, 6, 1)
	} else {
		example, d = list(r, 40, 10, 3), list(r, units, 30, 3)
	}
	d.input = example.input + " " + example.prefix + " " + numbered(example.outputs) + "\n" + d.input
	return d
}

// list has so many different words: ten that are repeated often, the others seldom.
func list(r *source, different, often, seldom int) draft {
	words := r.words(max(different, commonWords))
	frequent, rare := words[:commonWords], words[commonWords:]
	all := slices.Concat(slices.Repeat(frequent, often), slices.Repeat(rare, seldom))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return draft{
		input: "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that appear most often.\n" +
			numbered(all) + "\nQuestion: What are the 10 most common words in the above list?",
		prefix:  "Answer: The top 10 words that appear most often in the list are:",
		outputs: frequent,
		depth:   -1,
	}
}

func numbered(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d. %s", i+1, w)
	}
	return b.String()
}

// words draws n different words: plain ones as far as there are any, then compounds.
func (r *source) words(n int) []string {
	plain := slices.Concat(adjectives, nouns, verbs)
	r.Shuffle(len(plain), func(i, j int) { plain[i], plain[j] = plain[j], plain[i] })
	if n <= len(plain)/2 {
		return plain[:n]
	}
	seen := map[string]bool{}
	words := slices.Clone(plain[:len(plain)/2])
	for tries := 0; len(words) < n; tries++ {
		w := pick(r, adjectives) + pick(r, nouns)
		if tries > 2*len(adjectives)*len(nouns) { // there are hardly any left
			w += fmt.Sprint(tries)
		}
		if !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return words
}

const (
	codedLetters  = 6
	zipf          = 2.0
	wordsInLength = 50 // tokens for each coded word that there is
)

// frequent is a text of made-up words, whose frequencies fall with the square of their rank; the most frequent of all
// is dots. Which three come next? A unit is a word of the text, about.
func frequent(r *source, c Config, units int) draft {
	vocabulary := distinct(max(8, c.Length/wordsInLength), func() string {
		b := make([]byte, codedLetters)
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		return string(b)
	})
	vocabulary[0] = "..."
	var text []string
	for k, w := range vocabulary {
		n := int(float64(units) / math.Pow(float64(k+1), zipf) / (math.Pi * math.Pi / 6))
		text = append(text, slices.Repeat([]string{w}, n)...)
	}
	r.Shuffle(len(text), func(i, j int) { text[i], text[j] = text[j], text[i] })
	return draft{
		input: "Read the following coded text and track the frequency of each coded word. Find the three most frequently appeared coded words. " +
			strings.Join(text, " ") + "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared words in the above coded text?",
		prefix:  "Answer: According to the coded text above, the three most frequently appeared words are:",
		outputs: vocabulary[1:4],
		depth:   -1,
	}
}
