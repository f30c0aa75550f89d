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

#ifdef TOKENS
// backward sets da [N, H] where it is not null and, for its TOKENS tokens, part [blocks, 2, H]: the sums of a block for dA_log
// and ddt_bias. A thread keeps to one head; threads of one head take every LANES-th token.
constexpr int COLUMNS = HEADS < THREADS ? HEADS : THREADS;
constexpr int LANES = THREADS / COLUMNS;
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* da, float* part, const float* dg, const T* a, const float* aLog, const float* dtBias, int tokens) {
  __shared__ float log[THREADS], bias[THREADS];
  const int column = threadIdx.x % COLUMNS, lane = threadIdx.x / COLUMNS;
  const int first = blockIdx.x * TOKENS, last = min(tokens, first + TOKENS);
  float* const to = part + (long long)blockIdx.x * (2 * HEADS);
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
#pragma unroll
      for (int k = 1; k < LANES; k++) {
        toLog += log[k * COLUMNS + column];
        toBias += bias[k * COLUMNS + column];
      }
      to[h] = toLog;
      to[HEADS + h] = toBias;
    }
  }
}

// finish sets dA_log and ddt_bias, [H] each, where they are not null, to the sums over the blocks. A warp has one of the sums.
extern "C" __global__ void __launch_bounds__(THREADS) finish(float* dALog, float* dDTBias, const float* part, int blocks) {
  const int i = blockIdx.x * (THREADS / 32) + warp_id();
  if (i >= 2 * HEADS) return;
  float sum = 0;
#pragma unroll 4
  for (int b = lane_id(); b < blocks; b += 32) sum += part[(long long)b * (2 * HEADS) + i];
  sum = warp_sum(sum);
  float* const to = i < HEADS ? dALog : dDTBias;
  if (lane_id() == 0 && to) to[i % HEADS] = sum;
}
#endif
