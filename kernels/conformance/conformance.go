// Package conformance lists the operations that have to prove themselves on every machine: gojet doctor and gojet bench
// read it, so that no operation is left out of one of them.
package conformance

import (
	"iter"

	"github.com/gojet/gojet/kernels/adamw"
	"github.com/gojet/gojet/kernels/attention"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/conv"
	"github.com/gojet/gojet/kernels/decay"
	"github.com/gojet/gojet/kernels/embedding"
	"github.com/gojet/gojet/kernels/gateddelta"
	"github.com/gojet/gojet/kernels/gatedlinear"
	"github.com/gojet/gojet/kernels/gradnorm"
	"github.com/gojet/gojet/kernels/groupnorm"
	"github.com/gojet/gojet/kernels/heads"
	"github.com/gojet/gojet/kernels/l2norm"
	"github.com/gojet/gojet/kernels/linear"
	"github.com/gojet/gojet/kernels/linearloss"
	"github.com/gojet/gojet/kernels/normal"
	"github.com/gojet/gojet/kernels/pointwise"
	"github.com/gojet/gojet/kernels/rmsnorm"
	"github.com/gojet/gojet/kernels/rope"
	"github.com/gojet/gojet/kernels/rows"
	"github.com/gojet/gojet/kernels/sampling"
	"github.com/gojet/gojet/kernels/sums"
	"github.com/gojet/gojet/kernels/swiglu"
)

// Cases goes over the battery of every operation, with those for a GPU alone if it is asked for. Operands are large: those of
// one operation exist at a time.
func Cases(large bool) iter.Seq[check.Case] {
	all := batteries()
	if large {
		for _, battery := range largeBatteries() {
			all = append(all, func() []check.Case { return check.Large(battery) })
		}
	}
	return func(yield func(check.Case) bool) {
		for _, battery := range all {
			for _, c := range battery() {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// Benchmarks returns the rows of every operation.
func Benchmarks() []check.Benchmark {
	var all []check.Benchmark
	for _, rows := range benchmarks() {
		all = append(all, rows()...)
	}
	return all
}

func batteries() []func() []check.Case {
	return []func() []check.Case{
		adamw.Conformance, attention.Conformance, conv.Conformance, decay.Conformance, embedding.Conformance,
		gateddelta.Conformance, gatedlinear.Conformance, gradnorm.Conformance, groupnorm.Conformance, heads.Conformance,
		l2norm.Conformance, linear.Conformance, linearloss.Conformance,
		normal.Conformance, pointwise.Conformance, rmsnorm.Conformance, rope.Conformance, rows.Conformance,
		sampling.Conformance, sums.Conformance, swiglu.Conformance,
	}
}

func largeBatteries() []func() []check.Case {
	return []func() []check.Case{attention.Large, conv.Large, gateddelta.Large, gatedlinear.Large, linear.Large, rmsnorm.Large, sampling.Large}
}

func benchmarks() []func() []check.Benchmark {
	return []func() []check.Benchmark{
		adamw.Benchmarks, attention.Benchmarks, conv.Benchmarks, embedding.Benchmarks, gateddelta.Benchmarks, gatedlinear.Benchmarks,
		gradnorm.Benchmarks, linear.Benchmarks, linearloss.Benchmarks, rmsnorm.Benchmarks, rope.Benchmarks, sampling.Benchmarks,
		swiglu.Benchmarks,
	}
}
