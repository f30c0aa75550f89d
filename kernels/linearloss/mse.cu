// The squared distance of rows, with its gradient. Constants: TYPE, FEATURES.
#include "joins.cuh"

typedef TYPE T;
constexpr int D = FEATURES;

constexpr int IGNORE = -100;
constexpr int W = D % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;

// mse: block b adds up rows b, b + gridDim.x, …; sums [blocks] gets Σ (a − b)² over those that count.
extern "C" __global__ void __launch_bounds__(256) mse(T* da, double* sums, const T* a, const T* b, const int* labels, const int* counted, float weight, int n) {
  const float scale = *counted ? (float)(2. * weight / ((double)*counted * D)) : 0.f;
  double sum = 0;
  for (int row = blockIdx.x; row < n; row += gridDim.x) {
    const size_t at = (size_t)row * D;
    const bool counts = !labels || labels[row] != IGNORE;
    for (int i = threadIdx.x * W; i < D; i += 256 * W) {
      Vec<T, W> r;
      float part = 0.f;
      if (counts) {
        const Vec<T, W> x = loadv<W>(a + at + i), y = loadv<W>(b + at + i);
#pragma unroll
        for (int k = 0; k < W; k++) {
          const float d = float(x[k]) - float(y[k]);
          part = fmaf(d, d, part);
          r[k] = T(scale * d);
        }
      } else {
#pragma unroll
        for (int k = 0; k < W; k++) r[k] = T(0.f);
      }
      sum += part;
      if (da) storev(da + at + i, r);
    }
  }
  sum = total<256>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// finish adds up the blocks' sums. One block.
extern "C" __global__ void __launch_bounds__(256) finish(float* loss, float* counts, const double* sums, const int* counted, float weight, int blocks) {
  double sum = 0;
  for (int i = threadIdx.x; i < blocks; i += 256) sum += sums[i];
  sum = total<256>(sum);
  if (threadIdx.x != 0) return;
  if (loss) *loss = (float)(*counted ? sum * weight / ((double)*counted * D) : 0.);
  if (counts) {
    counts[0] = (float)*counted;
    counts[1] = 0.f;
  }
}
