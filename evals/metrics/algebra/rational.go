package algebra

import "math/big"

// Limits of exact values.
const (
	maxBits     = 1 << 14
	maxExponent = 1 << 10
)

// rationals evaluates exactly at one of several points. What is not rational, or too large, is beyond it; what is not
// defined, as 1/0, is nil.
type rationals struct {
	point  uint64
	beyond bool
}

func (r *rationals) value(e *expression) *big.Rat {
	args := make([]*big.Rat, len(e.args))
	for i, a := range e.args {
		if args[i] = r.value(a); args[i] == nil {
			return nil
		}
	}
	v := r.apply(e, args)
	if v != nil && v.Num().BitLen()+v.Denom().BitLen() > maxBits {
		r.beyond = true
		return nil
	}
	return v
}

func (r *rationals) apply(e *expression, x []*big.Rat) *big.Rat {
	switch e.kind {
	case number:
		return e.value
	case variable:
		// From -50 to 50 in ninety-sevenths: no quotient is zero by accident.
		return big.NewRat(int64(draw(e.name, r.point, 0)*9700)-4850, 97)
	case sum:
		return new(big.Rat).Add(x[0], x[1])
	case product:
		return new(big.Rat).Mul(x[0], x[1])
	case negation:
		return new(big.Rat).Neg(x[0])
	case quotient:
		if x[1].Sign() == 0 {
			return nil
		}
		return new(big.Rat).Quo(x[0], x[1])
	case power:
		return r.power(x[0], x[1])
	case factor:
		return r.ofWhole(x[0], func(n int64) *big.Int { return new(big.Int).MulRange(1, n) })
	case binomial:
		if x[1].IsInt() && x[1].Sign() >= 0 && x[1].Num().IsInt64() && x[1].Cmp(x[0]) <= 0 {
			return r.ofWhole(x[0], func(n int64) *big.Int { return new(big.Int).Binomial(n, x[1].Num().Int64()) })
		}
	}
	r.beyond = true
	return nil
}

// ofWhole applies a function of small whole numbers.
func (r *rationals) ofWhole(x *big.Rat, f func(int64) *big.Int) *big.Rat {
	if !x.IsInt() || x.Sign() < 0 || x.Cmp(big.NewRat(maxExponent, 1)) > 0 {
		r.beyond = true
		return nil
	}
	return new(big.Rat).SetInt(f(x.Num().Int64()))
}

func (r *rationals) power(x, n *big.Rat) *big.Rat {
	if !n.IsInt() || new(big.Int).Abs(n.Num()).Cmp(big.NewInt(maxExponent)) > 0 {
		r.beyond = true
		return nil
	}
	k := new(big.Int).Abs(n.Num())
	if (x.Num().BitLen()+x.Denom().BitLen())*int(k.Int64()) > 2*maxBits {
		r.beyond = true
		return nil
	}
	v := new(big.Rat).SetFrac(new(big.Int).Exp(x.Num(), k, nil), new(big.Int).Exp(x.Denom(), k, nil))
	if n.Sign() >= 0 {
		return v
	}
	if v.Sign() == 0 {
		return nil
	}
	return v.Inv(v)
}
