//go:build gpu

package gateddelta

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// TestTimes prints how long each kernel takes, cut up in several ways.
func TestTimes(t *testing.T) {
	if os.Getenv("GOJET_TIMES") == "" {
		t.Skip("GOJET_TIMES is not set")
	}
	d, err := device.Open(0)
	if err != nil {
		if d, err = device.Rehearse(9, 0); err != nil {
			t.Skip(err)
		}
	}
	defer d.Close()
	two := Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}
	four := Config{Heads: 16, KeyDim: 128, ValueDim: 256, NormQK: true}
	for _, shape := range []struct {
		f    Config
		b, t int
	}{{two, 1, 32768}, {two, 4, 4096}, {four, 4, 4096}} {
		f, b, length := shape.f, shape.b, shape.t
		n := b * length
		var all []device.Tensor
		keep := func(x device.Tensor) device.Tensor {
			all = append(all, x)
			return x
		}
		kind := device.BF16
		random := func(width int) device.Tensor { return keep(check.Random(d, kind, n*f.Heads*width, 1)) }
		empty := func(t device.Type, length int) device.Tensor { return keep(d.New(t, length)) }
		g, beta := gates(n * f.Heads)
		fw := &DeviceForwardArgs{Config: f, Sequences: keep(check.Ints(d, batch(b, length))), Q: random(f.KeyDim), K: random(f.KeyDim), V: random(f.ValueDim),
			O: empty(kind, n*f.Heads*f.ValueDim), G: empty(device.Float32, len(g)), Beta: empty(device.Float32, len(g)), States: empty(kind, DeviceStatesLen(f, n, b, kind))}
		device.Upload(d, fw.G, g)
		device.Upload(d, fw.Beta, beta)
		a := &DeviceBackwardArgs{Config: f, Sequences: fw.Sequences, Q: fw.Q, K: fw.K, States: fw.States, DO: random(f.ValueDim),
			DQ: empty(kind, fw.Q.Len), DK: empty(kind, fw.K.Len), DV: empty(kind, fw.V.Len), DG: empty(device.Float32, fw.G.Len), DBeta: empty(device.Float32, fw.G.Len),
			Scratch: empty(device.Float32, int(DeviceBackwardScratch(f, n, b, kind)+3)/4)}
		x := on{d, f, kind}
		kept, _ := f.carve(a.States, kind, slotsOf(n, b), true)
		bare := kept
		bare.states, bare.values, bare.gates = device.Tensor{}, device.Tensor{}, device.Tensor{}
		dStates, _ := a.Scratch.Carve(kind, f.stateGradients(n, b))
		size := fmt.Sprintf("B %d, T %d, H %d, K %d, V %d", b, length, f.Heads, f.KeyDim, f.ValueDim)
		report := func(name string, run func()) {
			run()
			var ms []float64
			for range 10 {
				from, to := d.NewEvent(), d.NewEvent()
				from.Record()
				run()
				to.Record()
				ms = append(ms, from.Milliseconds(to))
				from.Close()
				to.Close()
			}
			slices.Sort(ms)
			if err := d.Wait(); err != nil {
				t.Fatal(name, err)
			}
			fmt.Printf("%s: %-40s %.3f ms (%.3f to %.3f)\n", size, name, ms[5], ms[0], ms[9])
		}
		report("forward", func() {
			y := *fw
			y.States, y.Scratch = device.Tensor{}, fw.States
			DeviceForward(d, &y)
		})
		report("forward, kept", func() { DeviceForward(d, fw) })
		report("chunks", func() { x.chunks(fw, &bare, n, b) })
		report("chunks, kept", func() { x.chunks(fw, &kept, n, b) })
		ways := []tiling{x.apart(2, 2), x.apart(4, 2), x.ring(1, 3, 4), x.ring(1, 3, 2), x.ring(1, 3, 1), x.ring(1, 2, 4), x.ring(2, 3, 4), x.ring(2, 2, 4)}
		for _, by := range ways {
			if by.shared > d.Info().SharedMax {
				continue
			}
			name := fmt.Sprintf("columns %d, stages %d, loaders %d", by.width, by.stages, by.loaders)
			report("pass, "+name, func() { x.pass(fw, &bare, b, by) })
			report("pass, kept, "+name, func() { x.pass(fw, &kept, b, by) })
			report("retreat, "+name, func() { x.retreat(a, &kept, dStates, b, by) })
		}
		for _, try := range []tiling{x.tile(32, 3, false), x.tile(32, 2, false), x.tile(16, 4, false), x.tile(32, 4, false), x.tile(64, 2, false)} {
			if try.shared <= d.Info().SharedMax {
				report(fmt.Sprintf("gradients, tiles %d, stages %d", try.width, try.stages), func() { x.gradients(a, &kept, dStates, n, b, try) })
			}
		}
		report("backward", func() { DeviceBackward(d, a) })
		for _, x := range all {
			d.Free(x)
		}
	}
}
