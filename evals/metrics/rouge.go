package metrics

import (
	"strings"

	"github.com/gojet/gojet/evals/metrics/python"
)

// RougeL is the F1 of ROUGE-L at summary level (https://aclanthology.org/W04-1013) as the Python package rouge, which
// LongBench uses, computes it: sentences end at full stops, and words count once however often they occur. For each
// sentence of the target, what counts is the union of its longest common subsequences with all sentences of the
// answer, less what sentences before it had. It is 0 if either text has no sentence.
//
// The package finds subsequences by recursion, and gives 0 where a pair of sentences has about a thousand words and
// Python's stack runs out. This does not.
func RougeL(answer, target string) float64 {
	a, t := sentences(answer), sentences(target)
	if len(a) == 0 || len(t) == 0 {
		return 0
	}
	union := map[string]bool{}
	for _, reference := range t {
		for _, candidate := range a {
			for _, w := range subsequence(reference, candidate) {
				union[w] = true
			}
		}
	}
	recall := float64(len(union)) / float64(distinct(t))
	precision := float64(len(union)) / float64(distinct(a))
	return 2 * (precision * recall / (precision + recall + 1e-8))
}

// CharacterRougeL is RougeL for Chinese, with characters for words, as CharacterF1 has them.
func CharacterRougeL(answer, target string) float64 { return RougeL(spaced(answer), spaced(target)) }

// sentences are the words between full stops. A sentence of white space is one of one empty word.
func sentences(s string) [][]string {
	var all [][]string
	for _, part := range strings.Split(s, ".") {
		if part == "" {
			continue
		}
		words := python.Split(part)
		if len(words) == 0 {
			words = []string{""}
		}
		all = append(all, words)
	}
	return all
}

func distinct(sentences [][]string) int {
	words := map[string]bool{}
	for _, s := range sentences {
		for _, w := range s {
			words[w] = true
		}
	}
	return len(words)
}

// subsequence is a longest common one. Of several it is the one that is found from the end, going back in y before x.
func subsequence(x, y []string) []string {
	width := len(y) + 1
	lengths := make([]int32, (len(x)+1)*width)
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			if x[i-1] == y[j-1] {
				lengths[i*width+j] = lengths[(i-1)*width+j-1] + 1
			} else {
				lengths[i*width+j] = max(lengths[(i-1)*width+j], lengths[i*width+j-1])
			}
		}
	}
	var words []string
	for i, j := len(x), len(y); i > 0 && j > 0; {
		switch {
		case x[i-1] == y[j-1]:
			words = append(words, x[i-1])
			i, j = i-1, j-1
		case lengths[(i-1)*width+j] > lengths[i*width+j-1]:
			i--
		default:
			j--
		}
	}
	return words
}
