// Gradients of gated linear attention, all chunks at once, from the states before them and the gradients dS of the states after
// them; see gatedlinear.go for the rule. Within a chunk it goes on token by token: over the states S, then back over their gradients.
// With S the state before a token, D its decay and q with the scale in it, the next state is D S + b u' + k v', u = S'a, and
//
//   x = D S dO    dq = scale (x + b (u.dO) + k (v.dO))    da = S du, du the next gradient times b
//   y = dS v      dk = y + q (v.dO)
//   z = dS u      db = z + q (u.dO)                       dS before the token's own share q dO' is taken in
//
// The gradient of g needs no state: with e the sum of S dS over the value dim after a token, channel by channel, dg = e + q x - k y -
// b z, and e after the token before is dg + a da. Each chunk begins with its own e, and that without what its last token added to S.
// So what a token adds to both S and dS, which would cancel here, is nowhere in it.
//
// A block has COLUMNS columns of the state of a head. A warp has EACH of them, a lane of it every 32nd row, so that sums over columns
// meet only between warps. REAL is the type of q, k, v, a, b, dO and of their gradients, and BATCH how many tokens are staged in
// shared memory at a time. Where several blocks share a head, every one leaves its part of the gradients, [PARTS, N, H, .].
#include "gojet.cuh"

constexpr int CHUNK = 64;
constexpr int ROWS = (KEY + 31) / 32, PITCH = ROWS * 32;  // rows beyond KEY are zero
constexpr int COLUMNS = WARPS * EACH, THREADS = WARPS * 32;
constexpr int GATES = CHANNELS ? KEY : 1;
constexpr int VECTORS = LOWRANK ? 2 : 1;  // summed at a time: dq and da, or dk and db
static_assert(EACH == 4 || EACH == 8 || EACH == 16, "");

#if PARTS > 1
typedef float SUM;
#else
typedef REAL SUM;
#endif

struct Work {
  float sums[VECTORS][BATCH][WARPS][PITCH];
  float q[BATCH][PITCH], k[BATCH][PITCH], decay[BATCH][PITCH];
  float a[LOWRANK ? BATCH : 1][PITCH], b[LOWRANK ? BATCH : 1][PITCH];
  alignas(16) float v[BATCH][COLUMNS], d[BATCH][COLUMNS];
  alignas(16) float u[LOWRANK ? BATCH : 1][COLUMNS], du[LOWRANK ? BATCH : 1][COLUMNS];
  float dots[VECTORS][BATCH][WARPS];  // v.dO and u.dO
  float carried[PITCH];  // e
};

// columns reads a thread's columns of a row.
GOJET_FN void columns(float (&x)[EACH], const float* row) {
#pragma unroll
  for (int i = 0; i < EACH; i += 4) {
    Vec<float, 4> y = loadv<4>(row + warp_id() * EACH + i);
#pragma unroll
    for (int e = 0; e < 4; e++) x[i + e] = y[e];
  }
}

// over_rows adds up each of EACH values over the lanes of the warp; lane l gets the sum of number l / (32 / EACH).
GOJET_FN float over_rows(float (&x)[EACH]) {
  int lane = lane_id();
#pragma unroll
  for (int n = 1; n < 5; n++) {
    const int h = EACH >> n, d = 32 >> n;
    bool upper = lane & d;
#pragma unroll
    for (int i = 0; i < EACH / 2; i++) {
      if (i >= h) continue;
      float mine = upper ? x[i + h] : x[i], other = upper ? x[i] : x[i + h];
      x[i] = mine + shfl_xor(other, d);
    }
  }
  return warp_sum<32 / EACH>(x[0]);
}

template <int WIDTH, class T> GOJET_FN void zero_outside(T* x, const int* cu, int S, int N) {
  int last = min(N, (int)(blockIdx.x + 1) * CHUNK);
  for (int t = blockIdx.x * CHUNK; x && t < last; t++)
    if (t < cu[0] || t >= cu[S])
      for (int i = threadIdx.x; i < WIDTH; i += THREADS) x[((size_t)t * HEADS + blockIdx.y) * WIDTH + i] = T(0.f);
}

// dot is that of a thread's columns, left for the others to see.
GOJET_FN void dot(float& to, const float (&x)[EACH], const float (&y)[EACH]) {
  float sum = 0.f;
#pragma unroll
  for (int i = 0; i < EACH; i++) sum += x[i] * y[i];
  if (lane_id() == 0) to = sum;
}

// gradients: blocks are [N/CHUNK + S, H, PARTS]. along [PARTS, VECTORS, N, H, K] is for q x and a da, and u [N, H, V] for u.
extern "C" __global__ void __launch_bounds__(THREADS) gradients(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const REAL* __restrict__ v, const float* __restrict__ g,
    const REAL* __restrict__ a, const REAL* __restrict__ b, const int* __restrict__ seqs, int N, int S, const float* __restrict__ states,
    const float* __restrict__ dstates, const REAL* __restrict__ dO, const float* __restrict__ du, SUM* dq, SUM* dk, float* dg, SUM* da, SUM* db,
    float* along, float* u) {
  SHARED(shared);
  Work& w = *reinterpret_cast<Work*>(shared);
  const int* cu = sequences(seqs, S).cu;
  int head = blockIdx.y, thread = threadIdx.x, lane = lane_id(), warp = warp_id();
  size_t part = (size_t)blockIdx.z * N * HEADS;
  dq = dq ? dq + part * KEY : dq;
  dk = dk ? dk + part * KEY : dk;
  dg = dg ? dg + part * GATES : dg;
  da = da ? da + part * KEY : da;
  db = db ? db + part * KEY : db;
  along += part * (VECTORS * KEY);
  zero_outside<KEY>(dq, cu, S, N);
  zero_outside<KEY>(dk, cu, S, N);
  zero_outside<GATES>(dg, cu, S, N);
  if (LOWRANK) {
    zero_outside<KEY>(da, cu, S, N);
    zero_outside<KEY>(db, cu, S, N);
  }
  int seq, first, tokens;
  find_chunk(cu, S, CHUNK, blockIdx.x, seq, first, tokens);
  if (seq < 0) return;
  size_t state = ((size_t)(cu[seq] / CHUNK + seq + (first - cu[seq]) / CHUNK) * HEADS + head) * KEY * VALUE;
  int column = blockIdx.z * COLUMNS + warp * EACH;  // the thread's first

  // read reads row r of the thread's part of a state.
  auto read = [&](float (&x)[EACH], const float* from, int r) {
    int e = r * 32 + lane;
    from += state + (size_t)e * VALUE + column;
    if (VALUE % 4 == 0) {
#pragma unroll
      for (int i = 0; i < EACH; i += 4) {
        bool there = e < KEY && column + i < VALUE;
        Vec<float, 4> y;
        if (there) y = loadv<4>(from + i);
#pragma unroll
        for (int c = 0; c < 4; c++) x[i + c] = there ? y[c] : 0.f;
      }
    } else {
#pragma unroll
      for (int i = 0; i < EACH; i++) x[i] = e < KEY && column + i < VALUE ? from[i] : 0.f;
    }
  };
  auto stage = [&](int token, int count, bool back) {
    sync_block();
#pragma unroll 2
    for (int i = thread; i < BATCH * PITCH; i += THREADS) {
      int j = i / PITCH, e = i % PITCH;
      bool real = j < count && e < KEY;
      size_t row = (size_t)(token + j) * HEADS + head, from = row * KEY + e;
      w.q[j][e] = real ? SCALE * load(q + from) : 0.f;
      w.k[j][e] = real ? load(k + from) : 0.f;
      w.decay[j][e] = real ? exp_(g[CHANNELS ? from : row]) : 1.f;
      if (LOWRANK) {
        w.a[j][e] = real ? load(a + from) : 0.f;
        w.b[j][e] = real ? load(b + from) : 0.f;
      }
    }
#pragma unroll 2
    for (int i = thread; i < BATCH * COLUMNS; i += THREADS) {
      int j = i / COLUMNS, c = i % COLUMNS;
      bool real = j < count && blockIdx.z * COLUMNS + c < VALUE;
      size_t from = ((size_t)(token + j) * HEADS + head) * VALUE + blockIdx.z * COLUMNS + c;
      w.v[j][c] = real ? load(v + from) : 0.f;
      w.d[j][c] = real ? load(dO + from) : 0.f;
      if (LOWRANK) {
        w.du[j][c] = real ? du[from] : 0.f;
        if (back) w.u[j][c] = real ? u[from] : 0.f;
      }
    }
    sync_block();
  };
  auto total = [&](int x, int j, int e) {
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) sum += w.sums[x][j][i][e];
    return sum;
  };
  auto own = [&](int x, int j) {
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) sum += w.dots[x][j][i];
    return sum;
  };

  float s[ROWS][EACH];
#pragma unroll
  for (int r = 0; r < ROWS; r++) read(s[r], states, r);
  for (int t = 0; t < tokens; t += BATCH) {
    int count = min(BATCH, tokens - t);
    stage(first + t, count, false);
    for (int j = 0; j < count; j++) {
      bool last = t + j + 1 == tokens;
      float value[EACH], x[EACH], y[EACH];
      columns(value, w.v[j]);
      if (LOWRANK) {
        columns(x, w.du[j]);
#pragma unroll
        for (int i = 0; i < EACH; i++) y[i] = 0.f;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          float sum = 0.f, ae = w.a[j][r * 32 + lane];
#pragma unroll
          for (int i = 0; i < EACH; i++) {
            sum += s[r][i] * x[i];
            y[i] += s[r][i] * ae;
          }
          w.sums[VECTORS - 1][j][warp][r * 32 + lane] = sum;
        }
        float seen = over_rows(y);
        if (lane % (32 / EACH) == 0) {
          int c = lane / (32 / EACH);
          w.u[j][warp * EACH + c] = seen;
          if (column + c < VALUE) u[((size_t)(first + t + j) * HEADS + head) * VALUE + column + c] = seen;
        }
        sync_warp();
        columns(y, w.u[j]);
      }
      columns(x, w.d[j]);
      dot(w.dots[0][j][warp], value, x);
      if (LOWRANK) dot(w.dots[VECTORS - 1][j][warp], y, x);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int e = r * 32 + lane;
        float decay = w.decay[j][e], ke = last ? 0.f : w.k[j][e], be = LOWRANK && !last ? w.b[j][e] : 0.f, sum = 0.f;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
          s[r][i] *= decay;
          sum += s[r][i] * x[i];
          s[r][i] += ke * value[i];
          if (LOWRANK) s[r][i] += be * y[i];
        }
        w.sums[0][j][warp][e] = sum;
      }
    }
    sync_block();
    for (int i = thread; i < count * KEY; i += THREADS) {
      int j = i / KEY, e = i % KEY;
      size_t at = ((size_t)(first + t + j) * HEADS + head) * KEY + e;
      float sum = total(0, j, e);
      along[at] = w.q[j][e] * sum;
      sum += w.k[j][e] * own(0, j);
      if (LOWRANK) sum += w.b[j][e] * own(VECTORS - 1, j);
      if (dq) store(dq + at, SCALE * sum);
      if (LOWRANK) {
        sum = total(VECTORS - 1, j, e);
        if (da) store(da + at, sum);
        along[(size_t)N * HEADS * KEY + at] = w.a[j][e] * sum;
      }
    }
  }

  // from S to dS
  sync_block();
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    float x[EACH], sum = 0.f;
    read(x, dstates, r);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      sum += s[r][i] * x[i];
      s[r][i] = x[i];
    }
    w.sums[0][0][warp][r * 32 + lane] = sum;
  }
  sync_block();
  for (int e = thread; e < KEY; e += THREADS) w.carried[e] = total(0, 0, e);

  for (int t = (tokens - 1) / BATCH * BATCH; t >= 0; t -= BATCH) {
    int count = min(BATCH, tokens - t);
    stage(first + t, count, true);
    for (int j = count - 1; j >= 0; j--) {
      float d[EACH], value[EACH], x[EACH], y[EACH];
      columns(d, w.d[j]);
      columns(value, w.v[j]);
      if (LOWRANK) {
        columns(x, w.u[j]);
        columns(y, w.du[j]);
        dot(w.dots[VECTORS - 1][j][warp], x, d);
      }
      dot(w.dots[0][j][warp], value, d);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int e = r * 32 + lane;
        float decay = w.decay[j][e], qe = w.q[j][e], ae = LOWRANK ? w.a[j][e] : 0.f, sum = 0.f, more = 0.f;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
          sum += s[r][i] * value[i];
          if (LOWRANK) more += s[r][i] * x[i];
          s[r][i] += qe * d[i];
          s[r][i] *= decay;
          if (LOWRANK) s[r][i] += ae * y[i];
        }
        w.sums[0][j][warp][e] = sum;
        if (LOWRANK) w.sums[VECTORS - 1][j][warp][e] = more;
      }
    }
    sync_block();
    for (int i = thread; i < count * KEY; i += THREADS) {
      int j = i / KEY, e = i % KEY;
      size_t at = ((size_t)(first + t + j) * HEADS + head) * KEY + e;
      float sum = total(0, j, e), taken = w.k[j][e] * sum;
      if (dk) store(dk + at, sum + w.q[j][e] * own(0, j));
      if (LOWRANK) {
        sum = total(VECTORS - 1, j, e);
        if (db) store(db + at, sum + w.q[j][e] * own(VECTORS - 1, j));
        taken += w.b[j][e] * sum;
      }
      w.sums[0][j][0][e] = t + j + 1 == tokens ? 0.f : taken;  // k y + b z
    }
    if (!dg) continue;
    sync_block();
    for (int e = thread; e < KEY; e += THREADS) {
      float carried = w.carried[e];
      for (int j = count - 1; j >= 0; j--) {
        size_t row = (size_t)(first + t + j) * HEADS + head, at = row * KEY + e;
        carried += along[at] - w.sums[0][j][0][e];
        if (CHANNELS)
          dg[at] = carried;
        else
          w.sums[0][j][0][e] = carried;
        if (LOWRANK) carried += along[(size_t)N * HEADS * KEY + at];
      }
      w.carried[e] = carried;
    }
    if (CHANNELS) continue;
    sync_block();
    for (int j = warp; j < count; j += WARPS) {
      float sum = 0.f;
      for (int e = lane; e < KEY; e += 32) sum += w.sums[0][j][0][e];
      sum = warp_sum(sum);
      if (lane == 0) dg[(size_t)(first + t + j) * HEADS + head] = sum;
    }
  }
}
