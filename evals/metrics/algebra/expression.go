package algebra

import "math/big"

// Kinds of expressions. Functions of one argument have their LaTeX name as their kind.
const (
	number    = "number"
	variable  = "variable"
	sum       = "+"
	product   = "*"
	quotient  = "/"
	power     = "^"
	negation  = "neg"
	factor    = "!" // n!
	binomial  = "binom"
	logarithm = "log" // of the first argument to the base of the second
	absolute  = "abs"
	floor     = "floor"
	ceiling   = "ceil"
	pi        = "pi"
)

// expression is a tree.
type expression struct {
	kind  string
	args  []*expression
	value *big.Rat // of a number
	name  string   // of a variable
}

func of(kind string, args ...*expression) *expression { return &expression{kind: kind, args: args} }

func whole(n int64) *expression { return &expression{kind: number, value: big.NewRat(n, 1)} }

func (e *expression) variables(names map[string]bool) {
	if e.kind == variable {
		names[e.name] = true
	}
	for _, a := range e.args {
		a.variables(names)
	}
}
