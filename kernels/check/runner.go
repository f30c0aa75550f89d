package check

import (
	"errors"
	"slices"

	"github.com/gojet/gojet/kernels/cpu"
	"github.com/gojet/gojet/kernels/device"
)

// TB is the part of testing.T that running a battery needs.
type TB interface {
	T
	Logf(format string, args ...any)
	Fatal(args ...any)
}

// Large makes the cases that the emulator and the CPU leave out, where they would take too long.
func Large(battery func() []Case) []Case {
	cases := battery()
	for i := range cases {
		cases[i].large = true
	}
	return cases
}

// Battery runs cases on this machine's CPU and, where the build has a driver and the machine a device, on that, with the large
// ones. It is what tests call; doctor prints the same verdicts as a table.
func Battery(t TB, cases []Case, large ...func() []Case) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("the battery is empty")
	}
	cores := cpu.New(2)
	d, err := device.Open(0)
	if errors.Is(err, device.ErrNone) {
		t.Logf("on the CPU only: %v", err)
		rehearse(t, cases, large)
	} else if err != nil {
		t.Fatal(err)
	} else {
		defer d.Close()
		if !d.Info().Emulated {
			cases = withLarge(cases, large)
		}
	}
	references := func(c *Case) []device.Type { return References(c.RunsOn(d)) }
	for c := range Ahead(slices.Values(cases), references) {
		onCPU, types := c.RunsOn(d)
		if onCPU {
			report(t, c.OnCPU(cores))
		}
		for _, kind := range types {
			t.Logf("%s (%s) in %s", c.Op, c.Size, kind) // before it runs: a kernel may never end
			v := c.OnDevice(d, kind)
			report(t, v)
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func withLarge(cases []Case, large []func() []Case) []Case {
	for _, battery := range large {
		cases = append(cases, Large(battery)...)
	}
	return cases
}

func report(t T, v Verdict) {
	t.Helper()
	if v.Err != nil {
		t.Errorf("%s (%s) on %s in %s: %v", v.Op, v.Size, v.Machine, v.Type, v.Err)
	}
}

// Skipper is the part of testing.T that opening a device needs.
type Skipper interface {
	TB
	Skip(args ...any)
	Cleanup(f func())
}

// OpenDevice opens a device for a test, which is skipped where there is none.
func OpenDevice(t Skipper) *device.Device {
	t.Helper()
	d, err := device.Open(0)
	if errors.Is(err, device.ErrNone) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing the device: %v", err)
		}
	})
	return d
}
