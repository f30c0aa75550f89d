// The norm of many tensors: block b adds up part parts[2b+1], of PART elements, of tensor parts[2b], and clip the blocks.
// Sums are double, in a fixed order.
#include "joins.cuh"

// Constants: BLOCK (threads), LENGTH (of a part).
constexpr int THREADS = BLOCK, PART = LENGTH;

constexpr int BF16 = 1, WIDE = 2;

struct Gradient {
  const void* g;
  long long n;
  int kind, pad;
};

// squares adds eight, in float where that can neither overflow nor vanish.
template <class G> GOJET_FN double squares(const Vec<G, 8>& x) {
  float s = 0.f;
#pragma unroll
  for (int k = 0; k < 8; k++) s = fmaf(float(x[k]), float(x[k]), s);
  if (s > 1e-25f && s < 1e35f) return s;
  double exact = 0;
#pragma unroll
  for (int k = 0; k < 8; k++) exact += (double)float(x[k]) * (double)float(x[k]);
  return exact;
}

template <class G> GOJET_FN double squares_part(const Gradient& e, long long lo, long long hi) {
  const G* g = (const G*)e.g;
  double sum = 0;
  long long i = lo;
  if (e.kind & WIDE) {
    const long long end = lo + (hi - lo) / 8 * 8;
#pragma unroll 4
    for (i = lo + 8 * (int)threadIdx.x; i < end; i += 8 * THREADS) sum += squares(loadv<8>(g + i));
    i = end;
  }
  for (i += threadIdx.x; i < hi; i += THREADS) sum += (double)float(g[i]) * (double)float(g[i]);
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) sum_squares(const Gradient* entries, const int* parts, double* sums) {
  const Gradient e = entries[parts[2 * blockIdx.x]];
  const long long lo = (long long)parts[2 * blockIdx.x + 1] * PART, hi = e.n < lo + PART ? e.n : lo + PART;
  double sum = e.kind & BF16 ? squares_part<bf16>(e, lo, hi) : squares_part<float>(e, lo, hi);
  sum = total<THREADS>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// clip writes the norm and min(1, limit/(norm+1e-6)), or 1 where limit is 0. One block.
extern "C" __global__ void __launch_bounds__(1024) clip(float* result, const double* sums, int blocks, float limit) {
  double sum = 0;
  for (int i = threadIdx.x; i < blocks; i += 1024) sum += sums[i];
  sum = total<1024>(sum);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum), factor = (double)limit / (norm + 1e-6);
  result[0] = (float)norm;
  result[1] = limit > 0.f && !(factor >= 1.) ? (float)factor : 1.f;
}
