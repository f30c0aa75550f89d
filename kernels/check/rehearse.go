package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gojet/gojet/kernels/device"
)

// rehearse compiles what the cases launch for the compute capabilities that gojet serves, and holds launches to their
// limits. It is what a build for GPUs tests where there is none.
func rehearse(t TB, cases []Case, large []func() []Case) {
	t.Helper()
	for _, capability := range [][2]int{{8, 0}, {9, 0}} {
		d, err := device.Rehearse(capability[0], capability[1])
		if err != nil {
			t.Logf("not compiled: %v", err)
			return
		}
		cases, large = withLarge(cases, large), nil
		for i := range cases {
			for _, kind := range cases[i].Types() {
				if cases[i].GPU == nil {
					continue
				}
				if err := cases[i].rehearse(d, kind); err != nil {
					t.Fatal(fmt.Sprintf("%s (%s) on %s in %s: %v", cases[i].Op, cases[i].Size, d.Info().Name, kind, err))
				}
			}
		}
		kernels := d.Kernels()
		slices.SortFunc(kernels, func(a, b *device.Kernel) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range kernels {
			r := k.Resources
			t.Logf("%s %v: %d registers, %d bytes of local memory, %d of shared memory fixed, compiled in %.1f s", d.Info().Name, k, r.Registers, r.Local, r.Shared, r.Seconds)
		}
	}
}

// rehearse queues the case on a device that is not there.
func (c *Case) rehearse(d *device.Device, t device.Type) error {
	args := make([]device.Tensor, len(c.Args))
	for i, a := range c.Args {
		var whole device.Tensor
		whole, args[i] = place(d, a, a.Type(t))
		defer d.Free(whole)
	}
	var scratch device.Tensor
	if c.Scratch != nil {
		if n := c.Scratch(t); n > 0 {
			scratch = d.New(device.Float32, int(device.Aligned(n)/4))
			defer d.Free(scratch)
		}
	}
	c.GPU(d, args, scratch)
	return d.Err()
}
