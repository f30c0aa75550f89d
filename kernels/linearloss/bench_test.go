package linearloss_test

import (
	"testing"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/linearloss"
)

// A head an eighth as tall as Qwen2.5's and half as wide, with 256 tokens.
func benchProblem() *problem {
	return newProblem("", 256, 151936/8, 768, 768, 2, func(int) bool { return false })
}

func BenchmarkCrossEntropy(b *testing.B) {
	c := cpu.New(0)
	defer c.Close()
	p := benchProblem()
	a := crossEntropyArgs(p, make([]float32, len(p.hs)), make([]float32, len(p.ws)), nil)
	for b.Loop() {
		linearloss.CrossEntropy(c, a)
	}
	report(b, 6*float64(p.n)*float64(len(p.ws)))
}

func BenchmarkKL(b *testing.B) {
	c := cpu.New(0)
	defer c.Close()
	p := benchProblem()
	a := klArgs(p, make([]float32, len(p.hs)), make([]float32, len(p.ws)), nil)
	for b.Loop() {
		linearloss.KL(c, a)
	}
	report(b, 8*float64(p.n)*float64(len(p.ws)))
}

func report(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
