// Package algebra compares expressions that are written in LaTeX: whether two answers to a problem of mathematics are
// the same value or the same function.
//
// Equal follows what lm-evaluation-harness does with SymPy, parse_latex and simplify, in its reading: every letter is a
// variable of its own, e and i too, and \pi is the number; what stands without a sign between is multiplied, before
// explicit signs are looked at (1/2x is 1/(2x)), a mixed number too (2\frac12 is 1); a colon divides; a subscript makes
// another variable, and after a number it is passed over. A relation, a list, a point, an interval, a matrix is no
// expression.
//
// It does not simplify but compares values at several points: exactly, with rational numbers, where there are only sums,
// products, quotients and whole powers, and else with complex numbers in double precision. So it finds identities that
// SymPy does not, and could take two numbers for equal that differ only behind the tenth digit. Where it differs by
// intention: a text has to be an expression to its end, SymPy reads "3,4" as 3; x(x+1) is a product, for SymPy a
// function called x; numbers may begin with the decimal point; and commands that it does not know, and sums, limits
// and integrals, are no expressions, where SymPy multiplies by a variable called mathbf.
package algebra

import (
	"math"
	"math/cmplx"
)

const (
	maxText   = 4096
	maxDepth  = 200
	points    = 8
	tolerance = 1e-10
)

// Equal tells whether both texts are expressions and their difference vanishes.
func Equal(a, b string) bool {
	x, err := parse(a)
	if err != nil {
		return false
	}
	y, err := parse(b)
	if err != nil {
		return false
	}
	names := map[string]bool{}
	x.variables(names)
	y.variables(names)
	count := points
	if len(names) == 0 {
		count = 1
	}
	if equal, sure := sameExactly(x, y, count); sure {
		return equal
	}
	return sameNearly(x, y, count)
}

// sameExactly compares with rational numbers. It is not sure where there is anything else, or nothing is defined.
func sameExactly(x, y *expression, count int) (equal, sure bool) {
	tried := 0
	for i := range count {
		at := rationals{point: uint64(i)}
		p, q := at.value(x), at.value(y)
		if at.beyond {
			return false, false
		}
		if p == nil || q == nil { // a quotient by zero
			continue
		}
		if tried++; p.Cmp(q) != 0 {
			return false, true
		}
	}
	return true, tried > 0
}

// sameNearly compares with complex numbers.
func sameNearly(x, y *expression, count int) bool {
	tried := 0
	for i := range count {
		at := numbers{point: uint64(i)}
		p, q := at.value(x), at.value(y)
		if at.beyond {
			return false
		}
		if !finite(p) || !finite(q) {
			continue
		}
		tried++
		near := tolerance*math.Max(cmplx.Abs(p), cmplx.Abs(q)) + 1e-13*at.largest
		if cmplx.Abs(p-q) > near {
			return false
		}
	}
	return tried > 0 && tried >= count/3
}

func finite(z complex128) bool { return !cmplx.IsNaN(z) && !cmplx.IsInf(z) }

// draw is a number from 0 to 1 for a variable at a point: the same whenever it is asked for.
func draw(name string, point, which uint64) float64 {
	h := 0x9e3779b97f4a7c15 * (point*4 + which + 1)
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 0xbf58476d1ce4e5b9
		h ^= h >> 29
	}
	h = (h ^ h>>32) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}
