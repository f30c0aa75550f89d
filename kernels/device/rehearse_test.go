//go:build gpu

package device

import (
	"errors"
	"strings"
	"testing"
)

func rehearse(t *testing.T, major, minor int) *Device {
	t.Helper()
	d, err := Rehearse(major, minor)
	if errors.Is(err, ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRehearsalCompiles(t *testing.T) {
	src := &Source{File: "noun/noun.cu", Text: `#include "gojet.cuh"
extern "C" __global__ void other(float* y) { y[0] = 1; }
extern "C" __global__ void twice(ELEMENT* y, const ELEMENT* x, int n)
{
	__shared__ float s[256];
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) s[threadIdx.x] = load(x + i);
	__syncthreads();
	if (i < n) store(y + i, 2 * s[threadIdx.x]);
}
`}
	for _, capability := range [][2]int{{8, 0}, {9, 0}} {
		d := rehearse(t, capability[0], capability[1])
		x := d.New(BF16, 100)
		k := d.Kernel(src, "twice", Define{"ELEMENT", BF16})
		d.Launch(k, Grid{X: 1, Threads: 128}, x, x, 100)
		if err := d.Err(); err != nil {
			t.Fatal(err)
		}
		if r := k.Resources; r.Registers == 0 || r.Shared < 1024 || r.Local != 0 || r.Seconds == 0 {
			t.Errorf("%s: %+v", d.Info().Name, r)
		}
		d.Launch(k, Grid{X: 1, Threads: 128, Shared: 240 << 10}, x, x, 100)
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), "bytes of shared memory") {
			t.Errorf("240 KiB of shared memory: %v", err)
		}
	}
}

func TestArchitectures(t *testing.T) {
	for want, c := range map[string][2]int{"sm_80": {8, 0}, "sm_89": {8, 9}, "sm_90a": {9, 0}, "sm_100a": {10, 0}} {
		if got := architecture(c[0], c[1]); got != want {
			t.Errorf("%v: %s, want %s", c, got, want)
		}
	}
}
