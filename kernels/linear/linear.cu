// Sums over the tokens, for the gradient of a bias. ELEMENT is the type of the matrix; a thread takes PACK neighbouring
// columns.
#include "gojet.cuh"

#define LANES 32 // threads along a row
#define ROWS 8   // rows that a block reads at a time

// columns sets part [gridDim.y, d] to the sums of the columns of x [n, d], over so many rows each.
extern "C" __global__ void __launch_bounds__(LANES* ROWS) columns(float* part, const ELEMENT* x, int n, int d, int rows) {
  __shared__ float sums[ROWS][LANES * PACK];
  const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
  const int first = blockIdx.x * LANES * PACK, column = first + lane * PACK;
  const int from = blockIdx.y * rows, to = min(from + rows, n);
  float sum[PACK];
#pragma unroll
  for (int i = 0; i < PACK; i++) sum[i] = 0;
  if (column < d) {
#pragma unroll 8
    for (int r = from + row; r < to; r += ROWS) {
      const Vec<ELEMENT, PACK> v = loadv<PACK>(x + (long long)r * d + column);
#pragma unroll
      for (int i = 0; i < PACK; i++) sum[i] += float(v[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < PACK; i++) sums[row][lane * PACK + i] = sum[i];
  sync_block();
  for (int c = threadIdx.x; c < LANES * PACK && first + c < d; c += LANES * ROWS) {
    float total = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++) total += sums[r][c];
    part[(long long)blockIdx.y * d + first + c] = total;
  }
}
