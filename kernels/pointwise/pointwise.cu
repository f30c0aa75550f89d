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

#ifdef FUNCTION
// f is the function number FUNCTION of a variable, slope its derivative.
GOJET_FN float f(float x) {
  if (FUNCTION == 0) return silu(x);
  if (FUNCTION == 1) return sigmoid(x);
  if (FUNCTION == 2) return softplus(x);
  if (FUNCTION == 3) return -softplus(-x);
  return 2.f * sigmoid(2.f * x) - 1.f;
}

GOJET_FN float slope(float x) {
  float s = sigmoid(FUNCTION == 3 ? -x : FUNCTION == 4 ? 2.f * x : x);
  if (FUNCTION == 0) return s * (1.f + x * (1.f - s));
  if (FUNCTION == 1) return s * (1.f - s);
  if (FUNCTION == 4) return 4.f * s * (1.f - s);
  return s;
}

// forward sets y [n] to f(x).
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
    for (int j = 0; j < PACK; j++) out.set(j, f(in[u][j]));
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
      in[u].set(j, grad[u][j] * slope(in[u][j]));
    }
    in[u].write(dx + place(u));
  }
}
#endif

#ifdef FILL
// fill sets y [n], by patterns of length values, where the pattern's values at to at+count belong.
extern "C" __global__ void __launch_bounds__(THREADS) fill(OUT* y, float p0, float p1, float p2, float p3, float p4, float p5, float p6, float p7, int at, int count, int length, long long n) {
  long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  int p = (int)(i % length) - at;
  if (i >= n || p < 0 || p >= count) return;
  store(y + i, p < 4 ? (p < 2 ? (p == 0 ? p0 : p1) : p == 2 ? p2 : p3) : p < 6 ? (p == 4 ? p4 : p5) : p == 6 ? p6 : p7);
}
#endif
