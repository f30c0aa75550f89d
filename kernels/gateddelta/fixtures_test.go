package gateddelta

import (
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/packed"
)

func TestFixtures(t *testing.T) {
	c := cpu.New(2)
	defer c.Close()
	for _, path := range fixtures.Glob(t, "ops/gated_delta_rule_*.safetensors") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := fixtures.Load(t, path)
			optional := func(name string) []float32 {
				if !f.Has(name) {
					return nil
				}
				return f.Float32(name)
			}
			q, v := f.Shape("q"), f.Shape("v")
			config := Config{Heads: q[2], KeyDim: q[3], ValueDim: v[3], NormQK: true}
			fw := &ForwardArgs[float32]{Config: config, Seqs: packed.Batch(q[0], q[1]),
				Q: f.Float32("q"), K: f.Float32("k"), V: f.Float32("v"), G: f.Float32("g"), Beta: f.Float32("beta"), H0: optional("h0")}
			o, hT := check.Poisoned[float32](len(fw.V)), check.Poisoned[float32](q[0]*config.StateLen())
			fw.O, fw.HT = o.Data, hT.Data
			Forward(c, fw)
			check.Written(t, "o", o, f.Float32("o"), check.Fixture32)
			check.Written(t, "hT", hT, f.Float32("hT"), check.Fixture32)

			bw := &BackwardArgs[float32]{Config: config, Seqs: fw.Seqs, Q: fw.Q, K: fw.K, V: fw.V, G: fw.G, Beta: fw.Beta,
				H0: fw.H0, DO: f.Float32("do"), DHT: optional("dhT")}
			for _, result := range []struct {
				name string
				dst  *[]float32
			}{{"dq", &bw.DQ}, {"dk", &bw.DK}, {"dv", &bw.DV}, {"dg", &bw.DG}, {"dbeta", &bw.DBeta}, {"dh0", &bw.DH0}} {
				if !f.Has(result.name) {
					continue
				}
				want := f.Float32(result.name)
				out := check.Poisoned[float32](len(want))
				*result.dst = out.Data
				defer check.Written(t, result.name, out, want, check.Fixture32)
			}
			Backward(c, bw)
		})
	}
}
