package gateddelta

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// TestTimes prints how long each kernel of the backward pass takes, cut up in several ways.
func TestTimes(t *testing.T) {
	if os.Getenv("GOJET_TIMES") == "" {
		t.Skip("GOJET_TIMES is not set")
	}
	d, err := device.Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	if d.Info().Emulated {
		t.Skip("times of an emulator")
	}
	two := Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}
	four := Config{Heads: 16, KeyDim: 128, ValueDim: 256, NormQK: true}
	for _, shape := range []struct {
		f    Config
		b, t int
	}{{two, 4, 4096}, {four, 4, 4096}, {two, 1, 32768}, {Config{Heads: 6, KeyDim: 256, ValueDim: 512, NormQK: true}, 4, 4096}} {
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
		c, _ := f.carve(a.States, kind, slotsOf(n, b), true)
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
			fmt.Printf("%s: %-24s %.3f ms (%.3f to %.3f)\n", size, name, ms[5], ms[0], ms[9])
		}
		report("forward", func() { DeviceForward(d, fw) })
		for _, warps := range []int{1, 2, 4, 8} {
			kp, _ := f.padded()
			stage := 2*(2*Chunk*(kp+8)+Chunk*(16*warps+8)+2*triangle) + 4*coefs
			if 2*stage <= d.Info().SharedMax {
				report(fmt.Sprint("retreat, warps ", warps), func() { x.retreat(a, &c, dStates, b, tiling{16 * warps, 2, 2 * stage}) })
			}
		}
		for _, try := range [][2]int{{16, 2}, {16, 4}, {32, 2}, {32, 3}, {32, 4}, {64, 2}} {
			by := x.tile(try[0], try[1])
			if by.shared <= d.Info().SharedMax {
				report(fmt.Sprint("gradients, tiles ", try), func() { x.gradients(a, &c, dStates, n, b, by) })
			}
		}
		report("backward", func() { DeviceBackward(d, a) })
		for _, x := range all {
			d.Free(x)
		}
		if err := d.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
