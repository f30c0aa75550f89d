// What the losses add up over tokens.
#include "joins.cuh"

constexpr int IGNORE = -100;

// count writes how many of n tokens count. One block.
extern "C" __global__ void __launch_bounds__(1024) count(int* counted, const int* labels, int n) {
  double k = 0;
  for (int i = threadIdx.x; i < n; i += 1024) k += !labels || labels[i] != IGNORE;
  k = total<1024>(k);
  if (threadIdx.x == 0) *counted = (int)k;
}

// finish adds up the rows of n tokens: the weighted mean loss, how many counted, how many agreed. One block.
extern "C" __global__ void __launch_bounds__(1024) finish(float* loss, float* counts, const float* rows, const int* counted, float weight, int n) {
  double sum = 0, agree = 0;
  for (int i = threadIdx.x; i < n; i += 1024) {
    sum += rows[2 * (size_t)i];
    agree += rows[2 * (size_t)i + 1];
  }
  sum = total<1024>(sum);
  agree = total<1024>(agree);
  if (threadIdx.x != 0) return;
  if (loss) *loss = (float)(*counted ? sum * weight / *counted : 0.);
  if (counts) {
    counts[0] = (float)*counted;
    counts[1] = (float)agree;
  }
}

// narrow rounds n sums to bfloat16.
extern "C" __global__ void __launch_bounds__(256) narrow(bf16* y, const float* x, long long n) {
  const long long i = ((long long)blockIdx.x * 256 + threadIdx.x) * 8;
  if (i + 8 <= n) {
    const Vec<float, 8> a = loadv_once<8>(x + i);
    Vec<bf16, 8> r;
#pragma unroll
    for (int k = 0; k < 8; k++) r[k] = bf16(a[k]);
    storev(y + i, r);
  } else {
    for (long long k = i; k < n; k++) store(y + k, x[k]);
  }
}
