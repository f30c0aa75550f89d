// The recurrence token by token, with the state in registers: for sequences of one token or few. REAL is the type of q, k,
// v and o; states are float32.
//
// With c = exp(g) and the state S before a token, u = beta (v - c S'k), o = c S'q + (k.q) u, S <- c S + k u': one reading
// of S serves both products.

constexpr int EACH = VALUE % 4 == 0 ? 4 : VALUE % 2 == 0 ? 2 : 1;  // columns of a thread
constexpr int WARPS = KEY <= 32 ? 1 : KEY <= 64 ? 2 : KEY <= 128 ? 4 : KEY <= 256 ? 8 : 16;
constexpr int THREADS = WARPS * 32;
constexpr int ROWS = (KEY + WARPS - 1) / WARPS;  // rows of the state of a warp
constexpr int WIDE = 32 * EACH;                  // columns of a block

// gated_delta_step: blocks are [column blocks, H, S]. Lanes go along the value dim, warps share the key dim.
extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_step(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const REAL* __restrict__ v, const float* __restrict__ g,
    const float* __restrict__ beta, const int* __restrict__ seqs, int N, int S, const float* h0, float* hT, REAL* __restrict__ o) {
  __shared__ float qs[KEY], ks[KEY];
  __shared__ alignas(16) float parts[WARPS][2][WIDE];
  int head = blockIdx.y, seq = blockIdx.z, warp = warp_id(), lane = lane_id();
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], last = all.cu[seq + 1], from = all.cu[0], to = all.cu[S];
  int column = blockIdx.x * WIDE + lane * EACH;
  bool there = column < VALUE;

  if (o && warp == 0 && there)
    for (int t = seq; t < N; t += S)
      if (t < from || t >= to) {
        Vec<REAL, EACH> zero;
#pragma unroll
        for (int e = 0; e < EACH; e++) zero[e] = REAL(0.f);
        storev(o + ((size_t)t * HEADS + head) * VALUE + column, zero);
      }
  if (first == last && (!hT || hT == h0)) return;

  size_t at = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE + (size_t)(warp * ROWS) * VALUE + column;
  Vec<float, EACH> s[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    bool real = there && (KEY % WARPS == 0 || warp * ROWS + r < KEY);
    if (h0 && real) {
      s[r] = loadv_once<EACH>(h0 + at + (size_t)r * VALUE);
    } else {
#pragma unroll
      for (int e = 0; e < EACH; e++) s[r][e] = 0.f;
    }
  }

  for (int t = first; t < last; t++) {
    size_t token = (size_t)t * HEADS + head;
    // every warp sums over all of q and k; the first writes them as the rule sees them
    constexpr int PER = (KEY + 31) / 32;
    float qv[PER], kv[PER], qq = 0.f, kk = 0.f, qk = 0.f;
#pragma unroll
    for (int i = 0; i < PER; i++) {
      int e = lane + 32 * i;
      qv[i] = e < KEY ? load(q + token * KEY + e) : 0.f;
      kv[i] = e < KEY ? load(k + token * KEY + e) : 0.f;
      qq += qv[i] * qv[i];
      kk += kv[i] * kv[i];
      qk += qv[i] * kv[i];
    }
    float qn = SCALE, kn = 1.f;
    if (NORM) {
      qn = SCALE / sqrtf(warp_sum(qq) + EPS);
      kn = 1.f / sqrtf(warp_sum(kk) + EPS);
    }
    qk = warp_sum(qk) * qn * kn;
    if (warp == 0)
#pragma unroll
      for (int i = 0; i < PER; i++) {
        int e = lane + 32 * i;
        if (e < KEY) {
          qs[e] = qv[i] * qn;
          ks[e] = kv[i] * kn;
        }
      }
    float decay = exp_(g[token]), be = beta[token];
    sync_block();

    float su[EACH] = {}, so[EACH] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      int row = warp * ROWS + r;
      float kr = KEY % WARPS == 0 || row < KEY ? ks[row] : 0.f, qr = KEY % WARPS == 0 || row < KEY ? qs[row] : 0.f;
#pragma unroll
      for (int e = 0; e < EACH; e++) {
        su[e] += kr * s[r][e];
        so[e] += qr * s[r][e];
      }
    }
#pragma unroll
    for (int e = 0; e < EACH; e++) {
      parts[warp][0][lane * EACH + e] = su[e];
      parts[warp][1][lane * EACH + e] = so[e];
    }
    sync_block();
#pragma unroll
    for (int e = 0; e < EACH; e++) {
      float a = 0.f, b = 0.f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        a += parts[w][0][lane * EACH + e];
        b += parts[w][1][lane * EACH + e];
      }
      su[e] = a;
      so[e] = b;
    }
    if (there) {
      Vec<REAL, EACH> value = loadv<EACH>(v + token * VALUE + column), result;
#pragma unroll
      for (int e = 0; e < EACH; e++) {
        su[e] = be * (float(value[e]) - decay * su[e]);
        result[e] = REAL(decay * so[e] + qk * su[e]);
      }
      if (o && warp == 0) storev(o + token * VALUE + column, result);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      int row = warp * ROWS + r;
      float kr = KEY % WARPS == 0 || row < KEY ? ks[row] : 0.f;
#pragma unroll
      for (int e = 0; e < EACH; e++) s[r][e] = decay * s[r][e] + kr * su[e];
    }
    sync_block();
  }

  if (hT && there)
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      if (KEY % WARPS == 0 || warp * ROWS + r < KEY) storev_once(hT + at + (size_t)r * VALUE, s[r]);
}
