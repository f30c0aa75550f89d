package gateddelta

import (
	"path/filepath"
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

func TestConformance(t *testing.T) { check.Battery(t, Conformance(), Large) }

// TestDeviceFixtures holds the kernels of a device against the stored reference values, in float32.
func TestDeviceFixtures(t *testing.T) {
	d := check.OpenDevice(t)
	for _, path := range fixtures.Glob(t, "ops/gated_delta_rule_*.safetensors") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := fixtures.Load(t, path)
			q, v := f.Shape("q"), f.Shape("v")
			config := Config{Heads: q[2], KeyDim: q[3], ValueDim: v[3], NormQK: true}
			n, s := q[0]*q[1], q[0]
			given := func(name string) device.Tensor {
				if !f.Has(name) {
					return device.Tensor{}
				}
				x := d.New(device.Float32, len(f.Float32(name)))
				device.Upload(d, x, f.Float32(name))
				return x
			}
			poisoned := func(length int) device.Tensor {
				x := d.New(device.Float32, length)
				d.Poison(x)
				return x
			}
			states := poisoned(DeviceStatesLen(config, n, s, device.Float32))
			fw := &DeviceForwardArgs{Config: config, Sequences: check.Ints(d, batch(s, q[1])), Q: given("q"), K: given("k"), V: given("v"),
				G: given("g"), Beta: given("beta"), H0: given("h0"), O: poisoned(n * v[2] * v[3]), HT: poisoned(s * config.StateLen()), States: states}
			bw := &DeviceBackwardArgs{Config: config, Sequences: fw.Sequences, Q: fw.Q, K: fw.K, States: states, DO: given("do"), DHT: given("dhT"),
				DQ: poisoned(fw.Q.Len), DK: poisoned(fw.K.Len), DV: poisoned(fw.V.Len), DG: poisoned(fw.G.Len), DBeta: poisoned(fw.G.Len),
				Scratch: poisoned(int(DeviceBackwardScratch(config, n, s, device.Float32)+3) / 4)}
			if f.Has("dh0") {
				bw.DH0 = poisoned(s * config.StateLen())
			}
			DeviceForward(d, fw)
			DeviceBackward(d, bw)
			for _, result := range []struct {
				name string
				x    device.Tensor
			}{{"o", fw.O}, {"hT", fw.HT}, {"dq", bw.DQ}, {"dk", bw.DK}, {"dv", bw.DV}, {"dg", bw.DG}, {"dbeta", bw.DBeta}, {"dh0", bw.DH0}} {
				if !f.Has(result.name) {
					continue
				}
				got := make([]float32, result.x.Len)
				if err := device.Download(d, got, result.x); err != nil {
					t.Fatal(err)
				}
				check.Close(t, result.name, got, f.Float32(result.name), check.Fixture32)
			}
		})
	}
}
