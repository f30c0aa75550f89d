// Group norm; see groupnorm.go. REAL is the type of x, y and their gradients, weights are float; DIM features in groups of
// GROUP. A warp takes a group.
#include "gojet.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int GROUPS = DIM / GROUP;
constexpr int EACH = (GROUP + 31) / 32;  // features of a lane

// Moments are those of a group whose features the lanes of a warp have.
struct Moments {
  float mean, r;
};

GOJET_FN Moments moments(float* n, const REAL* x, float eps) {
  float sum = 0.f, squares = 0.f;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    int e = lane_id() + 32 * i;
    n[i] = e < GROUP ? load(x + e) : 0.f;
    sum += n[i];
  }
  Moments m;
  m.mean = warp_sum(sum) / GROUP;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    n[i] = lane_id() + 32 * i < GROUP ? n[i] - m.mean : 0.f;
    squares += n[i] * n[i];
  }
  m.r = 1.f / sqrtf(warp_sum(squares) / GROUP + eps);
#pragma unroll
  for (int i = 0; i < EACH; i++) n[i] *= m.r;
  return m;
}

// forward sets y [groups, GROUP].
extern "C" __global__ void __launch_bounds__(THREADS) forward(REAL* y, const REAL* x, const float* w, const float* b, int groups, float eps) {
  int group = blockIdx.x * WARPS + warp_id();
  size_t at = (size_t)min(group, groups - 1) * GROUP;
  int first = group % GROUPS * GROUP;
  float n[EACH];
  moments(n, x + at, eps);
  if (group >= groups) return;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    int e = lane_id() + 32 * i;
    if (e < GROUP) store(y + at + e, n[i] * w[first + e] + b[first + e]);
  }
}

// backward sets dx where it is not null, and stats [groups] to each group's mean and 1/√(var+eps).
extern "C" __global__ void __launch_bounds__(THREADS) backward(REAL* dx, float2* stats, const REAL* x, const float* w, const REAL* dy, int groups, float eps) {
  int group = blockIdx.x * WARPS + warp_id();
  size_t at = (size_t)min(group, groups - 1) * GROUP;
  int first = group % GROUPS * GROUP;
  float n[EACH], u[EACH], sum = 0.f, along = 0.f;
  Moments m = moments(n, x + at, eps);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    int e = lane_id() + 32 * i;
    u[i] = e < GROUP ? load(dy + at + e) * w[first + e] : 0.f;
    sum += u[i];
    along += u[i] * n[i];
  }
  sum = warp_sum(sum) / GROUP;
  along = warp_sum(along) / GROUP;
  if (group >= groups) return;
  if (lane_id() == 0) stats[group] = make_float2(m.mean, m.r);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    int e = lane_id() + 32 * i;
    if (dx && e < GROUP) store(dx + at + e, m.r * (u[i] - sum - n[i] * along));
  }
}

// weights sets part [gridDim.y, 2, DIM] to the sums for dw and db over a block's share of the tokens. Blocks are [32 columns,
// shares].
extern "C" __global__ void __launch_bounds__(THREADS) weights(float* dw, float* db, const float2* stats, const REAL* x, const REAL* dy, int tokens) {
  __shared__ float ws[WARPS][32], bs[WARPS][32];
  int column = blockIdx.x * 32 + lane_id(), lane = warp_id();
  int each = (tokens + gridDim.y - 1) / gridDim.y, first = blockIdx.y * each, last = min(tokens, first + each);
  float sw = 0.f, sb = 0.f;
  if (column < DIM)
    for (int t = first + lane; t < last; t += WARPS) {
      float2 m = stats[(size_t)t * GROUPS + column / GROUP];
      float d = load(dy + (size_t)t * DIM + column);
      sw += d * (load(x + (size_t)t * DIM + column) - m.x) * m.y;
      sb += d;
    }
  ws[lane][lane_id()] = sw;
  bs[lane][lane_id()] = sb;
  sync_block();
  if (lane == 0 && column < DIM) {
    for (int k = 1; k < WARPS; k++) {
      sw += ws[k][lane_id()];
      sb += bs[k][lane_id()];
    }
    dw[(size_t)blockIdx.y * DIM + column] = sw;
    db[(size_t)blockIdx.y * DIM + column] = sb;
  }
}
