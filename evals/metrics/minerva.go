package metrics

import (
	"strings"

	"github.com/gojet/gojet/evals/metrics/algebra"
	"github.com/gojet/gojet/evals/metrics/python"
)

// Minerva judges an answer to a problem of MATH (https://arxiv.org/abs/2103.03874) by its last line, "Final Answer: The
// final answer is … I hope it is correct.", as the Minerva paper does (https://arxiv.org/abs/2206.14858, appendix D). The
// target is the solution with its \boxed{} answer, or the bare answer.
func Minerva(answer, target string) bool {
	if boxed, ok := LastBoxed(target); ok {
		target = boxed
	}
	return MathEquivalent(NormaliseFinal(finalAnswer(answer)), NormaliseFinal(target))
}

// MathEquivalent tells whether two normalised answers are equal: as texts, or as expressions whose difference vanishes.
// See package algebra for what counts as an expression.
func MathEquivalent(a, b string) bool {
	return a != "" && a == b || algebra.Equal(a, b)
}

var finalLine = python.MustCompile(`Final Answer: The final answer is(.*?). I hope it is correct.`)

// finalAnswer is what stands in the last line that the examples teach, though the model may have stopped within it.
func finalAnswer(answer string) string {
	m, err := finalLine.Search(answer + "I hope it is correct.")
	if err != nil || m == nil {
		return "[invalidanswer]"
	}
	return python.Strip(m.Text[1])
}

// LastBoxed is what stands in the last \boxed{} of a solution, or else \fbox{}, or after the last "\boxed " up to a
// dollar sign.
func LastBoxed(s string) (string, bool) {
	const bare = `\boxed `
	if at := strings.LastIndex(s, bare); at >= 0 {
		inner, _, _ := strings.Cut(s[at+len(bare):], "$")
		return inner, true
	}
	at := strings.LastIndex(s, `\boxed`)
	if at < 0 {
		if at = strings.LastIndex(s, `\fbox`); at < 0 {
			return "", false
		}
	}
	depth, opened := 0, -1
	for i := at; i < len(s); i++ {
		switch s[i] {
		case '{':
			if opened < 0 {
				opened = i + 1
			}
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[opened:i], true
			}
		}
	}
	return "", false
}

// replaced are texts that go before units do, in this order.
var replaced = [][2]string{
	{"an ", ""}, {"a ", ""}, {".$", "$"}, {`\$`, ""}, {`\ `, ""}, {" ", ""}, {"mbox", "text"},
	{`,\text{and}`, ","}, {`\text{and}`, ","}, {`\text{m}`, `\text{}`},
}

// removed are units and other words without value, in this order: first as whole words, then within what is left.
var removed = []string{
	"square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", `\ldots`, "sue", "points",
	"feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
	"childrentickets", "multiples", `\text{s}`, `\text{.}`, "\\text{\ns}", `\text{}^2`, `\text{}^3`, "\\text{\n}",
	`\text{}`, `\mathrm{th}`, `^\circ`, `^{\circ}`, `\;`, `,\!`, "{,}", `"`, `\dots`,
}

// rewriting is one step on the way of a final answer.
type rewriting struct {
	pattern *python.Regexp
	with    func(m python.Match) string
}

func rewrite(pattern string, with func(g []string) string) rewriting {
	return rewriting{python.MustCompile(pattern), func(m python.Match) string { return with(m.Text) }}
}

var (
	wholeUnits = rewritings(removed, func(unit string) (string, bool) { return `(?<!\\)\b` + unit + `\b`, isAlpha(unit) })
	commands   = python.MustCompile(`\\[a-zA-Z]+`)
	thousands  = python.MustCompile(`^-?\d{1,3}(,\d{3})+\Z`)
	// shapes are what remains of decorations, and shorthand of fractions and roots written out.
	shapes = []rewriting{
		rewrite(`(.*?)(\$)(.*?)(\$)(.*)`, func(g []string) string { return "$" + g[3] + "$" }),
		rewrite(`(\\text\{)(.*?)(\})`, func(g []string) string { return g[2] }),
		rewrite(`(\\textbf\{)(.*?)(\})`, func(g []string) string { return g[2] }),
		rewrite(`(\\overline\{)(.*?)(\})`, func(g []string) string { return g[2] }),
		rewrite(`(\\boxed\{)(.*)(\})`, func(g []string) string { return g[2] }),
		rewrite(`(frac)([^{])(.)`, func(g []string) string { return "frac{" + g[2] + "}{" + g[3] + "}" }),
		rewrite(`(sqrt)(\[[^\]]*\])(\w)`, func(g []string) string { return g[1] + g[2] + "{" + g[3] + "}" }),
		rewrite(`(sqrt)(?!\[)([^{])`, func(g []string) string { return "sqrt{" + g[2] + "}" }),
	}
)

func isAlpha(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}

func rewritings(of []string, pattern func(string) (string, bool)) []rewriting {
	var all []rewriting
	for _, s := range of {
		if p, ok := pattern(s); ok {
			all = append(all, rewrite(p, func([]string) string { return "" }))
		}
	}
	return all
}

func apply(steps []rewriting, s string) string {
	for _, step := range steps {
		if changed, err := step.pattern.Sub(s, step.with); err == nil { // it can fail on megabytes only
			s = changed
		}
	}
	return s
}

// NormaliseFinal brings a final answer into the form in which answers are compared: what follows the last equals sign,
// without units, dollars, decorations and commas between thousands, and with \frac and \sqrt written out.
func NormaliseFinal(s string) string {
	s = s[strings.LastIndex(s, "=")+1:]
	s = apply(wholeUnits, s)
	for _, r := range replaced {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	for _, unit := range removed {
		if isAlpha(unit) {
			s = outsideCommands(s, unit)
		} else {
			s = strings.ReplaceAll(s, unit, "")
		}
	}
	s = strings.ReplaceAll(apply(shapes, s), "$", "")
	if m, err := thousands.Search(s); err == nil && m != nil {
		s = strings.ReplaceAll(s, ",", "")
	}
	return s
}

// outsideCommands drops a word wherever it is no part of a LaTeX command.
func outsideCommands(s, word string) string {
	found, err := commands.FindAll(s)
	if err != nil || len(found) == 0 {
		return strings.ReplaceAll(s, word, "")
	}
	var b strings.Builder
	runes, at := []rune(s), 0
	for _, m := range found {
		b.WriteString(strings.ReplaceAll(string(runes[at:m.Start]), word, ""))
		b.WriteString(m.Text[0])
		at = m.End
	}
	b.WriteString(strings.ReplaceAll(string(runes[at:]), word, ""))
	return b.String()
}
