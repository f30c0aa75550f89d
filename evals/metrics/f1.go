package metrics

import (
	"strings"

	"github.com/gojet/gojet/evals/metrics/python"
)

var articles = python.MustCompile(`\b(a|an|the)\b`)

// Normalise is SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.
func Normalise(s string) string {
	s = python.Without(python.Lower(s), python.Punctuation)
	words, err := articles.Sub(s, func(python.Match) string { return " " })
	if err != nil {
		words = s // the pattern looks at each character once: only a text of more than 100 MB can be too hard
	}
	return strings.Join(python.Split(words), " ")
}

// TokenF1 is the harmonic mean of precision and recall of the words in common, after Normalise (SQuAD,
// https://arxiv.org/abs/1606.05250). Without a word in common, and between two empty texts, it is 0.
func TokenF1(answer, target string) float64 {
	return f1(python.Split(Normalise(answer)), python.Split(Normalise(target)))
}

// CharacterF1 is TokenF1 for Chinese, with characters for words: jieba, by which LongBench finds words, needs a
// dictionary. Scores are higher than with words, as characters of different words may agree.
func CharacterF1(answer, target string) float64 {
	return f1(characters(answer), characters(target))
}

// chinesePunctuation is passed over in Chinese texts, beside ASCII's.
const chinesePunctuation = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."

func characters(s string) []string {
	s = python.Without(python.Lower(s), python.Punctuation+chinesePunctuation)
	return python.Split(spaced(s))
}

// spaced puts spaces around the characters of scripts that have none between words.
func spaced(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x2e80 {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func f1(answer, target []string) float64 {
	counts := map[string]int{}
	for _, w := range target {
		counts[w]++
	}
	same := 0
	for _, w := range answer {
		if counts[w] > 0 {
			counts[w]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	precision := float64(same) / float64(len(answer))
	recall := float64(same) / float64(len(target))
	return 2 * precision * recall / (precision + recall)
}
