// The recurrence token by token, with the state in registers: for sequences of one token or few, where moving the states is all
// there is to it. See gatedlinear.go for the rule; gatedlinear.cu has the same for long sequences. REAL is the type of q, k, v, a,
// b and o; gates and states are float.
//
// LANES neighbouring threads read LANES * EACH neighbouring columns of a row of the state, and GROUPS of them share the rows.
#include "gojet.cuh"

constexpr int EACH = VALUE % 4 == 0 ? 4 : VALUE % 2 == 0 ? 2 : 1;  // columns of a thread
constexpr int WIDE = LANES * EACH;                                 // columns of a block
constexpr int THREADS = 32 * WARPS, GROUPS = THREADS / LANES;
constexpr int ROWS = (KEY + GROUPS - 1) / GROUPS;  // of a thread
constexpr int PITCH = ROWS * GROUPS;               // rows beyond KEY are zero
static_assert(WIDE <= THREADS, "");

// share leaves the sums of the rows of a warp, column by column, and seen adds them up over the warps.
GOJET_FN void share(float (*parts)[WIDE], float (&x)[EACH]) {
#pragma unroll
  for (int d = LANES; d < 32; d *= 2)
#pragma unroll
    for (int c = 0; c < EACH; c++) x[c] += shfl_xor(x[c], d);
  if (lane_id() < LANES)
#pragma unroll
    for (int c = 0; c < EACH; c++) parts[warp_id()][lane_id() * EACH + c] = x[c];
}
GOJET_FN float seen(const float (*parts)[WIDE], int column) {
  float sum = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; w++) sum += parts[w][column];
  return sum;
}

// step: blocks are [column blocks, H, S].
extern "C" __global__ void __launch_bounds__(THREADS) step(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const REAL* __restrict__ v, const float* __restrict__ g,
    const REAL* __restrict__ a, const REAL* __restrict__ b, const int* __restrict__ seqs, int N, int S, const float* h0, float* hT,
    REAL* __restrict__ o) {
  __shared__ float qs[PITCH], ks[PITCH], decays[PITCH], as[LOWRANK ? PITCH : 1], bs[LOWRANK ? PITCH : 1], vs[WIDE];
  __shared__ alignas(16) float sums[WARPS][WIDE], more[LOWRANK ? WARPS : 1][WIDE];
  int head = blockIdx.y, seq = blockIdx.z, begin = blockIdx.x * WIDE;
  int group = threadIdx.x / LANES, own = threadIdx.x % LANES * EACH;
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], last = all.cu[seq + 1], from = all.cu[0], to = all.cu[S];
  bool moves = first < last || (hT && hT != h0);
  size_t at = (((size_t)all.slot[seq] * HEADS + head) * KEY + group) * VALUE + begin + own;
  bool there = moves && begin + own < VALUE;
  Vec<float, EACH> s[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    if (h0 && there && (KEY == PITCH || r * GROUPS + group < KEY)) {
      s[r] = loadv_once<EACH>(h0 + at + (size_t)(r * GROUPS) * VALUE);
    } else {
#pragma unroll
      for (int c = 0; c < EACH; c++) s[r][c] = 0.f;
    }
  }

  // v comes and o goes a column a thread
  int column = begin + threadIdx.x;
  bool brings = threadIdx.x < WIDE && column < VALUE;
  for (int t = seq; o && brings && t < N; t += S)
    if (t < from || t >= to) o[((size_t)t * HEADS + head) * VALUE + column] = REAL(0.f);

  for (int t = first; t < last; t++) {
    size_t token = (size_t)t * HEADS + head;
    REAL value = brings ? v[token * VALUE + column] : REAL(0.f);
#pragma unroll
    for (int i = 0; i < PITCH; i += THREADS) {
      int e = i + threadIdx.x;
      if (e >= PITCH) continue;
      bool real = e < KEY;
      qs[e] = real ? SCALE * load(q + token * KEY + e) : 0.f;
      ks[e] = real ? load(k + token * KEY + e) : 0.f;
      decays[e] = real ? exp_(g[CHANNELS ? token * KEY + e : token]) : 0.f;
      if (LOWRANK) {
        as[e] = real ? load(a + token * KEY + e) : 0.f;
        bs[e] = real ? load(b + token * KEY + e) : 0.f;
      }
    }
    if (threadIdx.x < WIDE) vs[threadIdx.x] = float(value);
    sync_block();

    float x[EACH], u[EACH] = {}, sum[EACH] = {};
    if (LOWRANK) {
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < EACH; c++) u[c] += as[r * GROUPS + group] * s[r][c];
      share(more, u);
      sync_block();
    }
#pragma unroll
    for (int c = 0; c < EACH; c++) {
      x[c] = vs[own + c];
      if (LOWRANK) u[c] = seen(more, own + c);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      int e = r * GROUPS + group;
      float decay = decays[e], ke = ks[e], qe = qs[e], be = LOWRANK ? bs[e] : 0.f;
#pragma unroll
      for (int c = 0; c < EACH; c++) {
        s[r][c] = decay * s[r][c] + ke * x[c];
        if (LOWRANK) s[r][c] += be * u[c];
        sum[c] += qe * s[r][c];
      }
    }
    if (!o) {
      sync_block();
      continue;
    }
    share(sums, sum);
    sync_block();
    if (brings) store(o + token * VALUE + column, seen(sums, threadIdx.x));
  }

  if (hT && there)
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (KEY == PITCH || r * GROUPS + group < KEY) storev_once(hT + at + (size_t)(r * GROUPS) * VALUE, s[r]);
}
