package algebra

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// functions of one argument, as in LaTeX, and what they stand for.
var functions = map[string]bool{
	`\sin`: true, `\cos`: true, `\tan`: true, `\cot`: true, `\sec`: true, `\csc`: true, `\arcsin`: true, `\arccos`: true,
	`\arctan`: true, `\sinh`: true, `\cosh`: true, `\tanh`: true, `\exp`: true, `\ln`: true, `\log`: true, `\lg`: true,
}

// inverse of a function with the exponent -1.
var inverse = map[string]string{`\sin`: `\arcsin`, `\cos`: `\arccos`, `\tan`: `\arctan`}

var greek = strings.Fields(`\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \iota \kappa \lambda
	\mu \nu \xi \rho \sigma \tau \upsilon \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi
	\Omega \ell \hbar`)

// ignored are commands that change how things look and nothing else.
var ignored = []string{`\left`, `\right`, `\big`, `\Big`, `\bigl`, `\bigr`, `\Bigl`, `\Bigr`, `\displaystyle`, `\,`, `\!`, `\;`, `\:`, `\ `, `\quad`}

// closing brackets by what opens.
var closing = map[string]string{"(": ")", "[": "]", "{": "}", "|": "|", `\lvert`: `\rvert`, `\lfloor`: `\rfloor`, `\lceil`: `\rceil`, `\{`: `\}`}

// round are the kinds of brackets that do more than hold together.
var round = map[string]string{"|": absolute, `\lvert`: absolute, `\lfloor`: floor, `\lceil`: ceiling}

// tokens splits LaTeX into numbers, letters, commands and signs.
func tokens(text string) ([]string, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(text), maxText)
	}
	var all []string
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '$' || c == '~':
			i++
			continue
		case isDigit(c) || c == '.' && i+1 < len(text) && isDigit(text[i+1]):
			i = numberEnd(text, i)
		case c == '\\':
			i++
			for i < len(text) && isLetter(text[i]) {
				i++
			}
			if i == start+1 && i < len(text) {
				_, n := utf8.DecodeRuneInString(text[i:])
				i += n
			}
			if slices.Contains(ignored, text[start:i]) {
				continue
			}
		default:
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
		}
		all = append(all, text[start:i])
	}
	return all, nil
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// numberEnd goes over digits, commas between groups of three, and one decimal point.
func numberEnd(text string, i int) int {
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	for i+3 < len(text) && text[i] == ',' && isDigit(text[i+1]) && isDigit(text[i+2]) && isDigit(text[i+3]) &&
		(i+4 == len(text) || !isDigit(text[i+4])) {
		i += 4
	}
	if i+1 < len(text) && text[i] == '.' && isDigit(text[i+1]) {
		for i++; i < len(text) && isDigit(text[i]); i++ {
		}
	}
	return i
}

type parser struct {
	tokens []string
	at     int
	depth  int
	bars   int // that are open
}

// parse reads a whole text.
func parse(text string) (*expression, error) {
	ts, err := tokens(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: ts}
	e, err := p.sum()
	if err == nil && p.at < len(ts) {
		err = p.unexpected()
	}
	return e, err
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) accept(t string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at] == t {
		p.at++
		return true
	}
	return false
}

func (p *parser) unexpected() error {
	if p.at == len(p.tokens) {
		return fmt.Errorf("ends too early")
	}
	return fmt.Errorf("%q is not expected", p.peek())
}

// sum is terms with signs between.
func (p *parser) sum() (*expression, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e, err := p.term()
	for err == nil {
		minus := p.peek() == "-"
		if !minus && p.peek() != "+" {
			break
		}
		p.at++
		var t *expression
		if t, err = p.term(); err == nil {
			if minus {
				t = of(negation, t)
			}
			e = of(sum, e, t)
		}
	}
	return e, err
}

// term is factors with signs of multiplication or division between.
func (p *parser) term() (*expression, error) {
	e, err := p.signed(false)
	for err == nil {
		kind := ""
		switch p.peek() {
		case "*", `\cdot`, `\times`, "·", "×":
			kind = product
		case "/", `\div`, ":", "÷":
			kind = quotient
		default:
			return e, nil
		}
		p.at++
		var f *expression
		if f, err = p.signed(false); err == nil {
			e = of(kind, e, f)
		}
	}
	return nil, err
}

// signed is factors side by side, after signs. Those of a function's argument end before the next function.
func (p *parser) signed(argument bool) (*expression, error) {
	minus := false
	for p.peek() == "-" || p.peek() == "+" {
		minus = minus != (p.peek() == "-")
		p.at++
	}
	e, err := p.powered()
	for err == nil && p.begins() && !(argument && functions[p.peek()]) {
		var f *expression
		if f, err = p.powered(); err == nil {
			e = of(product, e, f)
		}
	}
	if err == nil && minus {
		e = of(negation, e)
	}
	return e, err
}

// begins tells whether a factor can begin here.
func (p *parser) begins() bool {
	t := p.peek()
	switch {
	case t == "":
		return false
	case t == "|":
		return p.bars == 0
	case isDigit(t[0]) || t[0] == '.' && len(t) > 1:
		return true
	case t[0] == '\\':
		_, opens := closing[t]
		return opens || functions[t] || slices.Contains(greek, t) || slices.Contains(others, t)
	}
	r, _ := utf8.DecodeRuneInString(t)
	return t == "(" || t == "[" || t == "{" || unicode.IsLetter(r)
}

var others = []string{`\frac`, `\dfrac`, `\tfrac`, `\cfrac`, `\sqrt`, `\binom`, `\dbinom`, `\tbinom`, `\pi`}

// powered is an atom with exponents and exclamation marks after it.
func (p *parser) powered() (*expression, error) {
	e, err := p.atom()
	for err == nil {
		switch {
		case p.accept("!"):
			e = of(factor, e)
		case p.accept("^"):
			var n *expression
			if n, err = p.script(); err == nil {
				e = of(power, e, n)
			}
		default:
			return e, nil
		}
	}
	return nil, err
}

// script is an exponent or a subscript: in braces, or one token with signs.
func (p *parser) script() (*expression, error) {
	if p.peek() == "{" {
		return p.bracketed()
	}
	minus := false
	for p.peek() == "-" || p.peek() == "+" {
		minus = minus != (p.peek() == "-")
		p.at++
	}
	e, err := p.atom()
	if err == nil && minus {
		e = of(negation, e)
	}
	return e, err
}

func (p *parser) atom() (*expression, error) {
	t := p.peek()
	if t == "" {
		return nil, p.unexpected()
	}
	r, _ := utf8.DecodeRuneInString(t)
	switch {
	case isDigit(t[0]) || t[0] == '.' && len(t) > 1:
		p.at++
		v, ok := new(big.Rat).SetString(strings.ReplaceAll(t, ",", ""))
		if !ok {
			return nil, fmt.Errorf("%q is no number", t)
		}
		_, err := p.subscript() // the base of a numeral
		return &expression{kind: number, value: v}, err
	case t[0] != '\\' && unicode.IsLetter(r), slices.Contains(greek, t):
		p.at++
		sub, err := p.subscript()
		return &expression{kind: variable, name: t + sub}, err
	case t == `\pi`:
		p.at++
		return of(pi), nil
	case functions[t]:
		return p.function()
	case slices.Contains(others, t):
		return p.command()
	}
	if _, ok := closing[t]; ok {
		return p.bracketed()
	}
	return nil, p.unexpected()
}

// subscript is its text, "" where there is none.
func (p *parser) subscript() (string, error) {
	if !p.accept("_") {
		return "", nil
	}
	if !p.accept("{") {
		if p.at == len(p.tokens) {
			return "", p.unexpected()
		}
		p.at++
		return "_" + p.tokens[p.at-1], nil
	}
	end := slices.Index(p.tokens[p.at:], "}")
	if end < 1 {
		return "", p.unexpected()
	}
	text := strings.Join(p.tokens[p.at:p.at+end], " ")
	p.at += end + 1
	return "_" + text, nil
}

// bracketed is an expression in brackets of any kind.
func (p *parser) bracketed() (*expression, error) {
	opening := p.peek()
	end, ok := closing[opening]
	if !ok {
		return nil, p.unexpected()
	}
	p.at++
	bars := p.bars
	if p.bars = 0; opening == "|" {
		p.bars = 1
	}
	e, err := p.sum()
	p.bars = bars
	if err != nil {
		return nil, err
	}
	if !p.accept(end) {
		return nil, p.unexpected()
	}
	if kind, ok := round[opening]; ok {
		return of(kind, e), nil
	}
	return e, nil
}
