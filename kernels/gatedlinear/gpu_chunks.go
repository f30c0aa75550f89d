package gatedlinear

import (
	"github.com/gojet/gojet/kernels/device"
	"github.com/gojet/gojet/kernels/gateddelta"
)

// With one gate for a head, the rule is the gated delta rule without its correction, and in bfloat16 the kernels of that are for
// it too: they take chunks of tokens by tensor cores.

// chunked says whether that is so.
func (f Config) chunked(t device.Type) bool {
	return t == device.BF16 && !f.Channels && !f.LowRank && f.KeyDim <= 256
}

func (f Config) uncorrected() gateddelta.Config {
	return gateddelta.Uncorrected(f.Heads, f.KeyDim, f.ValueDim, f.scale(), f.every)
}

// DeviceStatesLen is the length of DeviceForwardArgs.States for n tokens in s sequences.
func DeviceStatesLen(f Config, n, s int, t device.Type) int {
	if f.chunked(t) {
		return (gateddelta.DeviceStatesLen(f.uncorrected(), n, s, t)*t.Size() + 3) / 4
	}
	return StatesLen(f, n, s)
}

// DeviceForwardScratch returns the bytes of temporary memory of a DeviceForward without States on n tokens in s sequences.
func DeviceForwardScratch(f Config, n, s int, t device.Type) int64 {
	if !f.chunked(t) || few(n, s) {
		return 0
	}
	return gateddelta.DeviceForwardScratch(f.uncorrected(), n, s, t)
}

func (a *DeviceForwardArgs) chunks(q *device.Queue) {
	x := &gateddelta.DeviceForwardArgs{Config: a.uncorrected(), Sequences: a.Sequences, Q: a.Q, K: a.K, V: a.V, G: a.G,
		H0: a.H0, O: a.O, HT: a.HT, Scratch: a.Scratch}
	if !a.States.None() {
		x.States = a.States.As(a.V.Type)
	}
	gateddelta.DeviceForward(q, x)
}

func (a *DeviceBackwardArgs) chunks(q *device.Queue) {
	gateddelta.DeviceBackward(q, &gateddelta.DeviceBackwardArgs{Config: a.uncorrected(), Sequences: a.Sequences, Q: a.Q, K: a.K, V: a.V,
		States: a.States.As(a.V.Type), DO: a.DO, DHT: a.DHT, DQ: a.DQ, DK: a.DK, DV: a.DV, DG: a.DG, DH0: a.DH0, Scratch: a.Scratch})
}
