// Rows picked out of [N, D]. Constants: TYPE, FEATURES.
#include "gojet.cuh"

typedef TYPE T;
constexpr int D = FEATURES;

constexpr int W = D % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;

// last: block s copies the last row of sequence s, or zeros if it has none.
extern "C" __global__ void __launch_bounds__(128) last(T* y, const T* x, const int* packed, int S) {
  const Sequences q = sequences(packed, S);
  const int s = blockIdx.x, lo = q.cu[s], hi = q.cu[s + 1];
  for (int i = threadIdx.x * W; i < D; i += 128 * W) {
    Vec<T, W> a;
    if (lo < hi) {
      a = loadv<W>(x + (size_t)(hi - 1) * D + i);
    } else {
#pragma unroll
      for (int k = 0; k < W; k++) a[k] = T(0.f);
    }
    storev(y + (size_t)s * D + i, a);
  }
}
