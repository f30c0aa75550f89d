package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gojet/gojet/evals/metrics/python"
)

var (
	numbers          = python.MustCompile(`\d+`)
	paragraph        = python.MustCompile(`Paragraph (\d+)`)
	paragraphChinese = python.MustCompile(`段落(\d+)`)
)

// Count is the share of the numbers in the answer that are the target.
func Count(answer, target string) float64 {
	found, err := numbers.FindAll(answer)
	if err != nil || len(found) == 0 {
		return 0
	}
	right := 0
	for _, n := range found {
		if n.Text[0] == target {
			right++
		}
	}
	return float64(right) / float64(len(found))
}

// Retrieval is the share of the numbers in the answer that are the target's, "Paragraph 7".
func Retrieval(answer, target string) (float64, error) { return retrieval(paragraph, answer, target) }

// RetrievalChinese is Retrieval with targets like "段落7".
func RetrievalChinese(answer, target string) (float64, error) {
	return retrieval(paragraphChinese, answer, target)
}

func retrieval(pattern *python.Regexp, answer, target string) (float64, error) {
	m, err := pattern.Search(target)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return 0, fmt.Errorf("target %.60q has no number, want one like %s", target, pattern)
	}
	return Count(answer, m.Text[1]), nil
}

// Classification looks for the classes that the answer names: 1/n if the target is among n of them. Classes that are
// a part of the target's name are passed over, but as in the original not always: of two that stand next to each
// other only the first.
func Classification(answer, target string, classes []string) float64 {
	var named []string
	for _, c := range classes {
		if strings.Contains(answer, c) {
			named = append(named, c)
		}
	}
	for i := 0; i < len(named); i++ {
		if c := named[i]; c != target && strings.Contains(target, c) {
			first := slices.Index(named, c)
			named = slices.Delete(named, first, first+1)
		}
	}
	if !slices.Contains(named, target) {
		return 0
	}
	return 1 / float64(len(named))
}

// CodeSimilarity is Similarity of the target and the first line of the answer that is code: not empty, and without
// `, # and //.
func CodeSimilarity(answer, target string) float64 {
	for line := range strings.SplitSeq(answer, "\n") {
		if python.Strip(line) != "" && !strings.Contains(line, "`") && !strings.Contains(line, "#") && !strings.Contains(line, "//") {
			return Similarity(line, target)
		}
	}
	return Similarity("", target)
}

// Similarity is fuzz.ratio of the Python package fuzzywuzzy over 100: difflib's ratio in whole hundredths. (Where
// python-Levenshtein is installed too, fuzzywuzzy takes its ratio, which is EditSimilarity's and now and then greater.)
func Similarity(a, b string) float64 {
	if a == b {
		return 1
	}
	if a == "" || b == "" {
		return 0
	}
	return math.RoundToEven(100*python.Ratio(a, b)) / 100
}

// EditSimilarity is 1 - d/(|a|+|b|), where d is the least number of characters to take out and put in to make b of a.
func EditSimilarity(a, b string) float64 {
	x, y := []rune(a), []rune(b)
	if len(x)+len(y) == 0 {
		return 1
	}
	row := make([]int, len(y)+1) // common subsequences with the first characters of y
	for _, r := range x {
		diagonal := 0
		for j, s := range y {
			above := row[j+1]
			if r == s {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return 2 * float64(row[len(y)]) / float64(len(x)+len(y))
}
