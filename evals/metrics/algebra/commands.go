package algebra

import (
	"math/big"
	"slices"
	"strings"
)

// argument is what a command takes: something in braces, or one digit, letter or command.
func (p *parser) argument() (*expression, error) {
	t := p.peek()
	if t == "{" {
		return p.bracketed()
	}
	if len(t) > 1 && isDigit(t[0]) { // \frac12 has two arguments
		p.tokens = slices.Insert(slices.Clone(p.tokens), p.at+1, t[1:])
		p.tokens[p.at] = t[:1]
	}
	return p.atom()
}

// command is a fraction, a root or a binomial coefficient.
func (p *parser) command() (*expression, error) {
	name := p.peek()
	p.at++
	if name == `\sqrt` {
		index := whole(2)
		if p.peek() == "[" {
			var err error
			if index, err = p.bracketed(); err != nil {
				return nil, err
			}
		}
		e, err := p.argument()
		return of(power, e, of(quotient, whole(1), index)), err
	}
	a, err := p.argument()
	if err != nil {
		return nil, err
	}
	b, err := p.argument()
	if strings.HasSuffix(name, "binom") {
		return of(binomial, a, b), err
	}
	return of(quotient, a, b), err
}

// function is one with its exponent, its base and its argument.
func (p *parser) function() (*expression, error) {
	name := p.peek()
	p.at++
	var base, exponent *expression
	var err error
	for err == nil && (p.peek() == "^" || p.peek() == "_" && name == `\log`) {
		if p.accept("^") {
			exponent, err = p.script()
		} else {
			p.at++
			base, err = p.script()
		}
	}
	if err != nil {
		return nil, err
	}
	if to, ok := inverse[name]; ok && exponent != nil && isMinusOne(exponent) {
		name, exponent = to, nil
	}
	var x *expression
	if _, ok := closing[p.peek()]; ok {
		x, err = p.bracketed()
	} else {
		x, err = p.signed(true)
	}
	if err != nil {
		return nil, err
	}
	var e *expression
	switch name {
	case `\ln`:
		e = of(`\ln`, x)
	case `\log`, `\lg`:
		if base == nil {
			base = whole(10)
		}
		e = of(logarithm, x, base)
	default:
		e = of(name, x)
	}
	if exponent != nil {
		e = of(power, e, exponent)
	}
	return e, nil
}

func isMinusOne(e *expression) bool {
	return e.kind == negation && e.args[0].kind == number && e.args[0].value.Cmp(big.NewRat(1, 1)) == 0
}
