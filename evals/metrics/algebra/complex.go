package algebra

import (
	"math"
	"math/cmplx"
)

// numbers evaluates with complex numbers at one of several points. largest is the greatest value on the way, to which
// rounding errors are compared; beyond says that a function is not defined for such numbers.
type numbers struct {
	point   uint64
	largest float64
	beyond  bool
}

func (n *numbers) value(e *expression) complex128 {
	var x [2]complex128
	for i, a := range e.args {
		x[i] = n.value(a)
	}
	v := n.apply(e, x[0], x[1])
	if a := cmplx.Abs(v); finite(v) && a > n.largest {
		n.largest = a
	}
	return v
}

// of one complex number
var analytic = map[string]func(complex128) complex128{
	`\sin`: cmplx.Sin, `\cos`: cmplx.Cos, `\tan`: cmplx.Tan, `\cot`: cmplx.Cot,
	`\sec`:    func(z complex128) complex128 { return 1 / cmplx.Cos(z) },
	`\csc`:    func(z complex128) complex128 { return 1 / cmplx.Sin(z) },
	`\arcsin`: cmplx.Asin, `\arccos`: cmplx.Acos, `\arctan`: cmplx.Atan,
	`\sinh`: cmplx.Sinh, `\cosh`: cmplx.Cosh, `\tanh`: cmplx.Tanh, `\exp`: cmplx.Exp, `\ln`: cmplx.Log,
	negation: func(z complex128) complex128 { return -z },
	absolute: func(z complex128) complex128 { return complex(cmplx.Abs(z), 0) },
}

func (n *numbers) apply(e *expression, x, y complex128) complex128 {
	if f, ok := analytic[e.kind]; ok {
		return f(x)
	}
	switch e.kind {
	case number:
		v, _ := e.value.Float64()
		return complex(v, 0)
	case variable:
		return complex(4*draw(e.name, n.point, 1)-2, 4*draw(e.name, n.point, 2)-2)
	case pi:
		return math.Pi
	case sum:
		return x + y
	case product:
		return x * y
	case quotient:
		return x / y
	case power:
		return cmplx.Pow(x, y)
	case logarithm:
		return cmplx.Log(x) / cmplx.Log(y)
	}
	return n.ofReal(e, x, y)
}

// ofReal are functions of real numbers, and of whole ones.
func (n *numbers) ofReal(e *expression, x, y complex128) complex128 {
	a, b := real(x), real(y)
	isWhole := a == math.Trunc(a) && b == math.Trunc(b)
	if imag(x) == 0 && imag(y) == 0 {
		switch {
		case e.kind == floor:
			return complex(math.Floor(a), 0)
		case e.kind == ceiling:
			return complex(math.Ceil(a), 0)
		case e.kind == factor && isWhole && a >= 0:
			return complex(math.Gamma(a+1), 0)
		case e.kind == binomial && isWhole && b >= 0 && a >= b:
			p, _ := math.Lgamma(a + 1)
			q, _ := math.Lgamma(b + 1)
			r, _ := math.Lgamma(a - b + 1)
			return complex(math.Exp(p-q-r), 0)
		}
	}
	n.beyond = true
	return cmplx.NaN()
}
