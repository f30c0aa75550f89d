package rmsnorm

import (
	"testing"

	"github.com/gojet/gojet/internal/fixtures"
	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/cpu"
)

func TestFixtures(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		eps     float64
	}{
		{"ops/rms_norm.safetensors", 1e-6},
		{"ops/rms_norm_swish_gate.safetensors", 1e-5},
	} {
		t.Run(tc.pattern, func(t *testing.T) {
			for _, path := range fixtures.Glob(t, tc.pattern) {
				againstFixture(t, fixtures.Load(t, path), tc.eps)
			}
		})
	}
}

func againstFixture(t *testing.T, f *fixtures.File, eps float64) {
	x, w := f.Float32("x"), f.Float32("w")
	y, dx, dw := check.Poisoned[float32](len(x)), check.Poisoned[float32](len(x)), check.Poisoned[float32](len(w))
	var gate []float32
	var dgate check.Out[float32]
	if f.Has("gate") {
		gate, dgate = f.Float32("gate"), check.Poisoned[float32](len(x))
	}
	c := cpu.New(2)
	defer c.Close()
	Forward(c, &ForwardArgs[float32]{Y: y.Data, X: x, W: w, Gate: gate, Eps: eps})
	Backward(c, &BackwardArgs[float32]{DX: dx.Data, DW: dw.Data, DGate: dgate.Data, DY: f.Float32("do"), X: x, W: w, Gate: gate,
		Eps: eps, Scratch: make([]float32, ScratchLen(len(x)/len(w), len(w)))})
	check.Written(t, "o", y, f.Float32("o"), check.Fixture32)
	check.Written(t, "dx", dx, f.Float32("dx"), check.Fixture32)
	check.Written(t, "dw", dw, f.Float32("dw"), check.Fixture32)
	if gate != nil {
		check.Written(t, "dgate", dgate, f.Float32("dgate"), check.Fixture32)
	}
}
