package gateddelta

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

// TestForwardTimes prints how long each kernel of the forward pass takes, cut up in several ways.
func TestForwardTimes(t *testing.T) {
	if os.Getenv("GOJET_TIMES") == "" {
		t.Skip("GOJET_TIMES is not set")
	}
	d, err := device.Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	two := Config{Heads: 12, KeyDim: 96, ValueDim: 256, NormQK: true}
	four := Config{Heads: 16, KeyDim: 128, ValueDim: 256, NormQK: true}
	for _, shape := range []struct {
		f    Config
		b, t int
	}{{two, 4, 4096}, {four, 4, 4096}, {two, 1, 32768}, {Config{Heads: 6, KeyDim: 256, ValueDim: 512, NormQK: true}, 16, 4096}, {two, 128, 1}} {
		f, b, length := shape.f, shape.b, shape.t
		if d.Info().Emulated {
			length = min(length, 130)
		}
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
		x := on{d, f, kind}
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
			fmt.Printf("%s: %-36s %.3f ms (%.3f to %.3f)\n", size, name, ms[5], ms[0], ms[9])
		}
		if length == 1 {
			fw.H0 = keep(check.Random(d, device.Float32, b*f.StateLen(), 1))
			fw.HT = fw.H0
			report("step", func() { x.step(fw, n, b) })
		}
		kept, _ := f.carve(fw.States, kind, slotsOf(n, b), true)
		bare := kept
		bare.states, bare.values, bare.gates = device.Tensor{}, device.Tensor{}, device.Tensor{}
		report("chunks", func() { x.chunks(fw, &bare, n, b) })
		report("chunks, gates kept", func() { x.chunks(fw, &kept, n, b) })
		k, _ := f.padded()
		for _, warps := range []int{1, 2, 4, 8} {
			by := tiling{16 * warps, 2, 2 * (2*(2*Chunk*(k+8)+Chunk*(16*warps+8)+2*triangle) + 4*coefs)}
			if by.shared <= d.Info().SharedMax {
				report(fmt.Sprint("pass, warps ", warps), func() { x.pass(fw, &bare, b, false, by) })
			}
		}
		for _, warps := range []int{4, 8} {
			if x.warpgroups() {
				boxes := 2*(k/64) + k%64/32 + 2
				by := tiling{16 * warps, 2, 2 * ((2*(boxes*Chunk*64+Chunk*(16*warps+8)) + 4*coefs + 1023) &^ 1023)}
				report(fmt.Sprint("pass, warpgroups ", warps/4), func() { x.pass(fw, &bare, b, true, by) })
				report(fmt.Sprint("pass, warpgroups, states kept ", warps/4), func() { x.pass(fw, &kept, b, true, by) })
			}
		}
		for _, x := range all {
			d.Free(x)
		}
		if err := d.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
