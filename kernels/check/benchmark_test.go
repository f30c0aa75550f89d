package check

import (
	"errors"
	"math"
	"testing"

	"github.com/gojet/gojet/kernels/device"
)

func TestQuantiles(t *testing.T) {
	p10, p50, p90 := quantiles([]float64{11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	if p10 != 2 || p50 != 6 || p90 != 10 {
		t.Errorf("got %v, %v, %v", p10, p50, p90)
	}
}

func TestFloor(t *testing.T) {
	c := Ceilings{Square: 500, Wide: 400, Copy: 2}
	if c.Floor(1e12, 1e9) != 2 || c.Floor(1e9, 4e9) != 2 || (Ceilings{}).Floor(1, 1) != 0 {
		t.Errorf("got %v, %v", c.Floor(1e12, 1e9), c.Floor(1e9, 4e9))
	}
}

// TestMeasure runs where there is a device or the emulator of one, whose times mean nothing.
func TestMeasure(t *testing.T) {
	d := OpenDevice(t)
	for _, replays := range []bool{false, true} {
		runs, freed := 0, false
		b := Benchmark{Name: "copy", Bytes: 2 << 20, Replays: replays, Setup: func(d *device.Device) (func(*device.Queue), func()) {
			from, to := Random(d, device.BF16, 3<<18, 1), d.New(device.BF16, 3<<18)
			return func(q *device.Queue) { runs++; q.Copy(to, from) }, func() { freed = true; d.Free(from); d.Free(to) }
		}}
		m := b.Measure(d, Ceilings{Square: 1, Copy: 1})
		if m.Error != "" || !(m.P10 <= m.Median && m.Median <= m.P90) || m.Median <= 0 || m.TBS <= 0 || m.Memory < 3<<20 || !freed {
			t.Errorf("got %+v", m)
		}
		if want := map[bool]int{false: 2, true: 2 + warmUps + repetitions}[replays]; runs != want {
			t.Errorf("%d runs, want %d", runs, want)
		}
	}
	failing := Benchmark{Setup: func(d *device.Device) (func(*device.Queue), func()) {
		return func(q *device.Queue) { q.Fail(errors.New("no")) }, func() {}
	}}
	if m := failing.Measure(d, Ceilings{}); m.Error != "no" {
		t.Errorf("got %q", m.Error)
	}
}

func TestRandom(t *testing.T) {
	d, err := device.Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	const n = 3<<20 + 5
	x := make([]float32, n)
	if err := device.Download(d, x, Random(d, device.Float32, n, 2)); err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if std := math.Sqrt(sum / n); math.Abs(std-2) > 0.02 {
		t.Errorf("the deviation is %v, want 2", std)
	}
}
