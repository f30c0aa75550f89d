package device_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gojet/gojet/bf16"
	"github.com/gojet/gojet/kernels/device"
)

const productText = `#include "hopper.cuh"

// d [64, COLUMNS] = A·B over 128 of the contraction. A is [64, 128], or [128, 64] if TA; B is [COLUMNS, 128], or [128, COLUMNS] if TB.
// A tile [128, 64] is one box; one of 128 columns is two. FROM registers: A goes through ordinary loads.
extern "C" __global__ void __launch_bounds__(128, 1) product(float* d, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
  SHARED(memory);
  constexpr int aRows = TA ? 128 : 64, aBoxes = TA ? 1 : 2, bRows = TB ? 128 : COLUMNS, bBoxes = TB ? (COLUMNS + 63) / 64 : 2;
  constexpr int aBytes = aRows * aBoxes * 128, bBytes = bRows * bBoxes * 128;
  char *as = memory, *bs = memory + aBytes;
  Barrier* full = (Barrier*)(bs + (bBytes + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    barrier_init(full, 1);
    fence_barriers();
  }
  sync_block();
  if (threadIdx.x == 0) {
    barrier_expect(full, aBytes + bBytes);
    for (int i = 0; i < aBoxes; i++) tma_load(as + i * aRows * 128, &a, 64 * i, 0, full);
    for (int i = 0; i < bBoxes; i++) tma_load(bs + i * bRows * 128, &b, 64 * i, 0, full);
  }
  barrier_wait(full, 0);
  float acc[COLUMNS / 2];
#if FROM
  unsigned x[8][4];
  for (int k = 0; k < 8; k++)
    for (int i = 0; i < 4; i++) {
      const int row = 16 * warp_id() + lane_id() / 4 + 8 * (i & 1), at = 16 * k + 2 * (lane_id() % 4) + 8 * (i >> 1);
      x[k][i] = *(const unsigned*)(as + at / 64 * aRows * 128 + swizzle128(row, at % 64 / 8) + at % 8 * 2);
    }
#endif
  const u64 left = TA ? down_rows(as, aRows * 128) : along_row(as), right = TB ? down_rows(bs, bRows * 128) : along_row(bs);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 8; k++) {
    const u64 r = right + (TB ? k * 128 : k / 4 * (bRows * 8) + k % 4 * 2);
#if FROM
    Wgmma<COLUMNS>::rs<TB>(acc, x[k], r, k > 0);
#else
    Wgmma<COLUMNS>::ss<TA, TB>(acc, left + (TA ? k * 128 : k / 4 * (aRows * 8) + k % 4 * 2), r, k > 0);
#endif
  }
  wgmma_commit();
  wgmma_wait<0>(acc);
#pragma unroll
  for (int i = 0; i < COLUMNS / 2; i++) {
    const int row = 16 * warp_id() + lane_id() / 4 + 8 * (i / 2 % 2), column = i / 4 * 8 + lane_id() % 4 * 2 + i % 2;
    d[row * COLUMNS + column] = acc[i];
  }
}
`

// Products of a warpgroup, with each operand stored both ways and from registers, through the bulk copy engine.
func TestHopperProduct(t *testing.T) {
	d := open(t)
	if d.Info().Major != 9 {
		t.Skip("not a Hopper GPU")
	}
	r := rand.New(rand.NewPCG(1, 2))
	matrix := func(rows, cols, boxRows int) ([]bf16.BF16, device.Descriptor) {
		h := make([]bf16.BF16, rows*cols)
		for i := range h {
			h[i] = bf16.From(float32(r.IntN(9) - 4)) // sums are exact
		}
		x := d.New(device.BF16, len(h))
		device.Upload(d, x, h)
		return h, d.Describe(device.TensorMap{T: x, Rows: rows, Cols: cols, BoxRows: boxRows, BoxCols: 64, Swizzle: 128})
	}
	for _, c := range []struct {
		columns     int
		ta, tb, reg bool
	}{
		{8, false, false, false}, {16, false, false, true}, {64, false, false, false}, {96, false, false, false}, {128, false, false, false}, {256, false, false, true},
		{64, false, true, false}, {96, false, true, true}, {128, false, true, true}, {192, false, true, false}, {256, false, true, false},
		{64, true, false, false}, {128, true, false, false}, {64, true, true, false}, {128, true, true, false}, {176, true, false, false},
	} {
		name := fmt.Sprintf("columns %d, A transposed %t, B transposed %t, A from registers %t", c.columns, c.ta, c.tb, c.reg)
		aRows, bRows := 64, c.columns
		aCols, bCols := 128, 128
		if c.ta {
			aRows, aCols = 128, 64
		}
		if c.tb {
			bRows, bCols = 128, c.columns
		}
		a, aMap := matrix(aRows, aCols, aRows)
		b, bMap := matrix(bRows, bCols, bRows)
		out := d.New(device.Float32, 64*c.columns)
		d.Poison(out)
		k := d.Kernel(&device.Source{File: "product.cu", Text: productText}, "product", device.Define{Name: "COLUMNS", Value: c.columns},
			device.Define{Name: "TA", Value: c.ta}, device.Define{Name: "TB", Value: c.tb}, device.Define{Name: "FROM", Value: c.reg})
		d.Launch(k, device.Grid{X: 1, Threads: 128, Shared: 16<<10 + 64<<10 + 2048}, out, aMap, bMap)
		got := make([]float32, out.Len)
		if err := device.Download(d, got, out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		at := func(m []bf16.BF16, cols, i, k int, transposed bool) float32 {
			if transposed {
				i, k = k, i
			}
			return m[i*cols+k].Float32()
		}
		wrong := 0
		for i := range 64 {
			for j := range c.columns {
				var want float32
				for k := range 128 {
					want += at(a, aCols, i, k, c.ta) * at(b, bCols, j, k, c.tb)
				}
				if got[i*c.columns+j] != want {
					wrong++
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d elements are wrong", name, wrong, 64*c.columns)
		}
	}
}
