// Operations on every element alike. OUT is the type of results and IN that of inputs; a thread takes COUNT packs of PACK
// neighbours, packs of neighbouring threads lying side by side. Results may be inputs where they are of one type.
#include "rows.cuh"

constexpr int THREADS = 256;
constexpr int COUNT = 2;
typedef Pack<IN, PACK> Source;
typedef Pack<OUT, PACK> Result;

// place is where pack u of this thread begins.
GOJET_FN long long place(int u) { return (((long long)blockIdx.x * COUNT + u) * THREADS + threadIdx.x) * PACK; }

// sum sets y [n] to the sum of TERMS of the inputs, from left to right.
#ifdef TERMS
extern "C" __global__ void __launch_bounds__(THREADS) sum(OUT* y, const IN* a0, const IN* a1, const IN* a2, const IN* a3, const IN* a4, const IN* a5, const IN* a6, const IN* a7, long long n) {
  const IN* const terms[8] = {a0, a1, a2, a3, a4, a5, a6, a7};
  Source in[TERMS][COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++)
#pragma unroll
    for (int i = 0; i < TERMS; i++)
      if (place(u) < n) in[i][u].read(terms[i] + place(u));
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    Result out;
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      float v = in[0][u][j];
#pragma unroll
      for (int i = 1; i < TERMS; i++) v += in[i][u][j];
      out.set(j, v);
    }
    out.write(y + place(u));
  }
}
#endif

// scale sets y [n] to factor·x, times *by where that is not null.
extern "C" __global__ void __launch_bounds__(THREADS) scale(OUT* y, const IN* x, float factor, const float* by, long long n) {
  Source in[COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++)
    if (place(u) < n) in[u].read(x + place(u));
  if (by) factor *= *by;
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    Result out;
#pragma unroll
    for (int j = 0; j < PACK; j++) out.set(j, factor * in[u][j]);
    out.write(y + place(u));
  }
}

#ifdef SILU
// forward sets y [n] to silu(x), or to sigmoid(x) unless SILU.
extern "C" __global__ void __launch_bounds__(THREADS) forward(OUT* y, const IN* x, long long n) {
  Source in[COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++)
    if (place(u) < n) in[u].read(x + place(u));
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    Result out;
#pragma unroll
    for (int j = 0; j < PACK; j++) out.set(j, SILU ? silu(in[u][j]) : sigmoid(in[u][j]));
    out.write(y + place(u));
  }
}

// backward sets dx [n] to dy·f'(x); x and dx are IN, dy is OUT.
extern "C" __global__ void __launch_bounds__(THREADS) backward(IN* dx, const OUT* dy, const IN* x, long long n) {
  Source in[COUNT];
  Result grad[COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    in[u].read(x + place(u));
    grad[u].read(dy + place(u));
  }
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      const float v = in[u][j], s = sigmoid(v);
      in[u].set(j, grad[u][j] * s * (SILU ? 1 + v * (1 - s) : 1 - s));
    }
    in[u].write(dx + place(u));
  }
}
#endif
