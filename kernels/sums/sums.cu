// Sums of rows. IN is the type of the matrix, OUT that of the sum.
#include "gojet.cuh"

// add sets y [d] to the sum of the rows of x [rows, d]. A block has 32 columns and as many lanes of rows.
extern "C" __global__ void __launch_bounds__(1024) add(OUT* y, const IN* x, int rows, int d) {
  __shared__ float part[32][33];
  const int column = threadIdx.x % 32, lane = threadIdx.x / 32;
  const int at = blockIdx.x * 32 + column;
  float sum = 0;
  if (at < d) {
#pragma unroll 8
    for (int r = lane; r < rows; r += 32) sum += float(x[(long long)r * d + at]);
  }
  part[lane][column] = sum;
  sync_block();
  sum = warp_sum(part[column][lane]); // warp `lane` has that column now
  const int out = blockIdx.x * 32 + lane;
  if (column == 0 && out < d) y[out] = OUT(sum);
}
