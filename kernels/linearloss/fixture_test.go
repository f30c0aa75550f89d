package linearloss_test

import (
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/linearloss"
)

func TestFixtures(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, path := range fixtures.Glob(t, "ops/linear_losses.safetensors") {
		f := fixtures.Load(t, path)
		n, ds := f.Shape("hs")[0], f.Shape("hs")[1]
		vocab, dt := f.Shape("wt")[0], f.Shape("wt")[1]
		labels := make([]int32, n)
		for i, l := range f.Int64("labels") {
			labels[i] = int32(l)
		}
		scratch := make([]float32, linearloss.KLScratch(n, vocab))
		dh, dw := make([]float32, n*ds), make([]float32, vocab*ds)

		r := linearloss.CrossEntropy(c, &linearloss.CrossEntropyArgs[float32]{Vocab: vocab, D: ds, Labels: labels,
			H: f.Float32("hs"), W: linearloss.Head[float32]{Full: f.Float32("ws")}, GradScale: 1, DH: dh, DW: dw, Scratch: scratch})
		check.Close(t, "ce", []float64{r.Loss}, f.Float32("ce"), check.Loss32)
		check.Close(t, "ce_dhs", dh, f.Float32("ce_dhs"), check.Fixture32)
		check.Close(t, "ce_dws", dw, f.Float32("ce_dws"), check.Fixture32)

		r = linearloss.KL(c, &linearloss.KLArgs[float32]{Vocab: vocab, DTeacher: dt, DStudent: ds, Temperature: 1,
			HTeacher: f.Float32("ht"), WTeacher: linearloss.Head[float32]{Full: f.Float32("wt")}, HStudent: f.Float32("hs"), WStudent: linearloss.Head[float32]{Full: f.Float32("ws")}, GradScale: 1,
			DH: dh, DW: dw, Scratch: scratch})
		check.Close(t, "kl", []float64{r.Loss}, f.Float32("kl"), check.Loss32)
		check.Close(t, "kl_dhs", dh, f.Float32("kl_dhs"), check.Fixture32)
		check.Close(t, "kl_dws", dw, f.Float32("kl_dws"), check.Fixture32)
	}
}
