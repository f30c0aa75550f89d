// The decay gate: a is of type ELEMENT, all else float. HEADS is H.
#include "gojet.cuh"

typedef ELEMENT T;
constexpr int THREADS = 256;

// forward sets g [n], n = N·H: −exp(A_log)·softplus(a + dt_bias).
extern "C" __global__ void __launch_bounds__(THREADS) forward(float* g, const T* a, const float* aLog, const float* dtBias, int n) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  const int h = i % HEADS;
  g[i] = -exp_(aLog[h]) * softplus(float(a[i]) + dtBias[h]);
}

// backward sets da [N, H] where it is not null and, for its TOKENS tokens, the sums of a block for dA_log and ddt_bias,
// each [blocks, H]. A thread keeps to one head; threads of one head take every LANES-th token.
#ifdef TOKENS
constexpr int COLUMNS = HEADS < THREADS ? HEADS : THREADS;
constexpr int LANES = THREADS / COLUMNS;
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* da, float* sumLog, float* sumBias, const float* dg, const T* a, const float* aLog, const float* dtBias, int tokens) {
  __shared__ float log[THREADS], bias[THREADS];
  const int column = threadIdx.x % COLUMNS, lane = threadIdx.x / COLUMNS;
  const int first = blockIdx.x * TOKENS, last = min(tokens, first + TOKENS);
  for (int h = column; h - column < HEADS; h += COLUMNS) {
    float toLog = 0, toBias = 0;
    if (h < HEADS && lane < LANES) {
      const float rate = -exp_(aLog[h]), shift = dtBias[h];
#pragma unroll 4
      for (int t = first + lane; t < last; t += LANES) {
        const long long i = (long long)t * HEADS + h;
        const float x = float(a[i]) + shift, d = dg[i] * rate;
        const float slope = d * sigmoid(x);
        toLog += d * softplus(x);
        toBias += slope;
        if (da) da[i] = T(slope);
      }
    }
    sync_block();
    log[threadIdx.x] = toLog;
    bias[threadIdx.x] = toBias;
    sync_block();
    if (h < HEADS && lane == 0) {
      for (int k = 1; k < LANES; k++) {
        toLog += log[k * COLUMNS + column];
        toBias += bias[k * COLUMNS + column];
      }
      sumLog[blockIdx.x * HEADS + h] = toLog;
      sumBias[blockIdx.x * HEADS + h] = toBias;
    }
  }
}
#endif
