// Gated linear attention token by token, with the state in registers; see gatedlinear.go for the rule. REAL is the type of
// q, k, v, a, b and o and of their gradients; gates and states are float.
//
// A block has COLUMNS columns of the state of a head of a sequence. LANES neighbouring threads share a column and take every
// LANES-th row of it. What tokens bring is staged in shared memory, BATCH tokens at a time.
#include "gojet.cuh"

constexpr int CHUNK = 64, BATCH = 8;
constexpr int ROWS = (KEY + LANES - 1) / LANES;
constexpr int PITCH = ROWS * LANES;  // rows beyond KEY are zero
constexpr int THREADS = COLUMNS * LANES, WARPS = THREADS / 32;
constexpr int GATES = CHANNELS ? KEY : 1;

struct Stage {
  float q[BATCH][PITCH], k[BATCH][PITCH], decay[BATCH][PITCH];
  float a[LOWRANK ? BATCH : 1][PITCH], b[LOWRANK ? BATCH : 1][PITCH];
  float v[BATCH][COLUMNS], d[BATCH][COLUMNS];
};

// At is where a block and a thread of it stand.
struct At {
  int head, seq, first, tokens;
  int from, to;  // tokens that belong to some sequence
  int column, lane;
  bool there;
  size_t row;  // of the state, in values
};

GOJET_FN At place(const int* seqs, int S) {
  At at;
  at.head = blockIdx.y;
  at.seq = blockIdx.z;
  Sequences all = sequences(seqs, S);
  at.first = all.cu[at.seq];
  at.tokens = all.cu[at.seq + 1] - at.first;
  at.from = all.cu[0];
  at.to = all.cu[S];
  at.column = blockIdx.x * COLUMNS + threadIdx.x / LANES;
  at.lane = threadIdx.x % LANES;
  at.there = at.column < VALUE;
  at.row = ((size_t)all.slot[at.seq] * HEADS + at.head) * KEY * VALUE;
  return at;
}

// slot_of is where among the kept states that before chunk c of a sequence stands, in values: as on the CPU.
GOJET_FN size_t slot_of(const At& at, int c) {
  return ((size_t)(at.first / CHUNK + at.seq + c) * HEADS + at.head) * KEY * VALUE;
}

GOJET_FN bool is_row(int r, int lane) { return KEY % LANES == 0 || r * LANES + lane < KEY; }

// take reads a state and give writes one.
GOJET_FN void take(float* s, const float* state, const At& at) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) s[r] = state && at.there && is_row(r, at.lane) ? state[(size_t)(r * LANES + at.lane) * VALUE + at.column] : 0.f;
}

GOJET_FN void give(float* state, const float* s, const At& at) {
  if (!at.there) return;
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    if (is_row(r, at.lane)) state[(size_t)(r * LANES + at.lane) * VALUE + at.column] = s[r];
}

struct Inputs {
  const REAL *q, *k, *v;
  const float* g;
  const REAL *a, *b;
};

// stage brings count tokens from number token on to shared memory; d is dO or null.
GOJET_FN void stage(Stage& st, const Inputs& in, const REAL* d, const At& at, int token, int count) {
  sync_block();
  for (int i = threadIdx.x; i < BATCH * PITCH; i += THREADS) {
    int j = i / PITCH, e = i % PITCH;
    bool real = j < count && e < KEY;
    size_t head = (size_t)(token + j) * HEADS + at.head, from = head * KEY + e;
    st.q[j][e] = real ? SCALE * load(in.q + from) : 0.f;
    st.k[j][e] = real ? load(in.k + from) : 0.f;
    st.decay[j][e] = real ? exp_(in.g[CHANNELS ? from : head]) : 1.f;
    if (LOWRANK) {
      st.a[j][e] = real ? load(in.a + from) : 0.f;
      st.b[j][e] = real ? load(in.b + from) : 0.f;
    }
  }
  for (int i = threadIdx.x; i < BATCH * COLUMNS; i += THREADS) {
    int j = i / COLUMNS, column = blockIdx.x * COLUMNS + i % COLUMNS;
    bool real = j < count && column < VALUE;
    size_t from = ((size_t)(token + j) * HEADS + at.head) * VALUE + column;
    st.v[j][i % COLUMNS] = real ? load(in.v + from) : 0.f;
    st.d[j][i % COLUMNS] = real && d ? load(d + from) : 0.f;
  }
  sync_block();
}

// over_lanes adds up a column.
GOJET_FN float over_lanes(float x) {
#pragma unroll
  for (int d = LANES / 2; d > 0; d /= 2) x += shfl_xor(x, d);
  return x;
}

// predict is a'S of the thread's column.
GOJET_FN float predict(const Stage& st, int j, int lane, const float* s) {
  float u = 0.f;
#pragma unroll
  for (int r = 0; r < ROWS; r++) u += st.a[j][r * LANES + lane] * s[r];
  return over_lanes(u);
}

// step takes the state over token j of the stage.
GOJET_FN void step(const Stage& st, int j, int lane, float* s) {
  float u = LOWRANK ? predict(st, j, lane, s) : 0.f, v = st.v[j][threadIdx.x / LANES];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int e = r * LANES + lane;
    s[r] = st.decay[j][e] * s[r] + st.k[j][e] * v;
    if (LOWRANK) s[r] += st.b[j][e] * u;
  }
}

// zero_outside writes zeros for the tokens outside every sequence: each sequence's blocks take every S-th, and width values
// from at on of the row of the head.
template <class T> GOJET_FN void zero_outside(T* x, const At& at, int S, int N, int all, int begin, int width) {
  for (int t = at.seq; t < N; t += S)
    if (t < at.from || t >= at.to)
      for (int i = threadIdx.x; i < width; i += THREADS)
        if (begin + i < all) x[((size_t)t * HEADS + at.head) * all + begin + i] = T(0.f);
}

// forward: blocks are [column blocks, H, S].
extern "C" __global__ void __launch_bounds__(THREADS) forward(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const REAL* __restrict__ v, const float* __restrict__ g,
    const REAL* __restrict__ a, const REAL* __restrict__ b, const int* __restrict__ seqs, int N, int S, const float* h0, float* hT,
    REAL* __restrict__ o, float* __restrict__ states) {
  SHARED(shared);
  Stage& st = *reinterpret_cast<Stage*>(shared);
  At at = place(seqs, S);
  Inputs in = {q, k, v, g, a, b};
  if (o) zero_outside(o, at, S, N, VALUE, blockIdx.x * COLUMNS, COLUMNS);
  if (at.tokens == 0 && (!hT || hT == h0)) return;

  float s[ROWS];
  take(s, h0 ? h0 + at.row : nullptr, at);
  for (int t = 0; t < at.tokens; t += BATCH) {
    int count = min(BATCH, at.tokens - t);
    if (states && t % CHUNK == 0) give(states + slot_of(at, t / CHUNK), s, at);
    stage(st, in, nullptr, at, at.first + t, count);
    for (int j = 0; j < count; j++) {
      step(st, j, at.lane, s);
      float sum = 0.f;
#pragma unroll
      for (int r = 0; r < ROWS; r++) sum += st.q[j][r * LANES + at.lane] * s[r];
      sum = over_lanes(sum);
      if (o && at.there && at.lane == 0) store(o + ((size_t)(at.first + t + j) * HEADS + at.head) * VALUE + at.column, sum);
    }
  }
  if (hT) give(hT + at.row, s, at);
}

#ifdef PARTS
// Gradients of q, k, g, a and b add up over the columns: within a block here; where there are several, every one leaves its
// part, [PARTS, N, H, ·], to be added up.
#if PARTS > 1
typedef float SUM;
#else
typedef REAL SUM;
#endif

constexpr int VECTORS = LOWRANK ? 5 : 3;  // q, k, g, a, b

struct Sums {
  float x[VECTORS][WARPS][PITCH];
};

// over_columns adds up row r of a vector over the columns of a warp and leaves it for the others to see.
GOJET_FN void over_columns(float* x, int r, int lane, float p) {
#pragma unroll
  for (int d = LANES; d < 32; d *= 2) p += shfl_xor(p, d);
  if (lane_id() < LANES) x[r * LANES + lane] = p;
}

// backward: blocks are [PARTS, H, S]. room has for every block 2·BATCH states as its threads hold them: before each batch
// of a chunk and before each token of a batch.
extern "C" __global__ void __launch_bounds__(THREADS) backward(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const REAL* __restrict__ v, const float* __restrict__ g,
    const REAL* __restrict__ a, const REAL* __restrict__ b, const int* __restrict__ seqs, int N, int S, const float* __restrict__ states,
    const REAL* __restrict__ dO, const float* dhT, SUM* dq, SUM* dk, REAL* dv, float* dg, SUM* da, SUM* db, float* dh0, float* room) {
  SHARED(shared);
  Stage& st = *reinterpret_cast<Stage*>(shared);
  Sums& sums = *reinterpret_cast<Sums*>(shared + sizeof(Stage));
  At at = place(seqs, S);
  Inputs in = {q, k, v, g, a, b};
  size_t part = (size_t)blockIdx.x * N * HEADS;
  SUM* vectors[5] = {dq, dk, nullptr, da, db};
#pragma unroll
  for (int x = 0; x < VECTORS; x++)
    if (vectors[x]) zero_outside(vectors[x] + part * KEY, at, S, N, KEY, 0, KEY);
  if (dg) zero_outside(dg + part * GATES, at, S, N, GATES, 0, GATES);
  if (dv) zero_outside(dv, at, S, N, VALUE, blockIdx.x * COLUMNS, COLUMNS);

  float* mine = room + ((size_t)(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * (2 * BATCH * ROWS * THREADS) + threadIdx.x;
  auto keep = [&](int place, const float* s) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) mine[(size_t)(place * ROWS + r) * THREADS] = s[r];
  };
  auto fetch = [&](int place, float* s) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) s[r] = mine[(size_t)(place * ROWS + r) * THREADS];
  };

  float dS[ROWS], s[ROWS], before[ROWS];
  take(dS, dhT ? dhT + at.row : nullptr, at);
  for (int c = (at.tokens + CHUNK - 1) / CHUNK - 1; c >= 0; c--) {
    int tokens = min(CHUNK, at.tokens - c * CHUNK), last = (tokens - 1) / BATCH;
    take(s, states + slot_of(at, c), at);
    for (int n = 0; n <= last; n++) {
      keep(n, s);
      if (n == last) break;
      stage(st, in, dO, at, at.first + c * CHUNK + n * BATCH, BATCH);
      for (int j = 0; j < BATCH; j++) step(st, j, at.lane, s);
    }
    for (int n = last; n >= 0; n--) {
      int token = at.first + c * CHUNK + n * BATCH, count = min(BATCH, tokens - n * BATCH);
      stage(st, in, dO, at, token, count);
      fetch(n, s);
      for (int j = 0; j < count; j++) {
        keep(BATCH + j, s);
        step(st, j, at.lane, s);
      }
      for (int j = count - 1; j >= 0; j--) {
        size_t head = (size_t)(token + j) * HEADS + at.head;
        fetch(BATCH + j, before);
        float value = st.v[j][threadIdx.x / LANES], d = st.d[j][threadIdx.x / LANES];
        float u = LOWRANK ? predict(st, j, at.lane, before) : 0.f, du = 0.f, sum = 0.f;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          int e = r * LANES + at.lane;
          over_columns(sums.x[0][warp_id()], r, at.lane, s[r] * d);
          dS[r] += st.q[j][e] * d;
          sum += st.k[j][e] * dS[r];
          over_columns(sums.x[1][warp_id()], r, at.lane, dS[r] * value);
          if (LOWRANK) {
            du += st.b[j][e] * dS[r];
            over_columns(sums.x[VECTORS - 1][warp_id()], r, at.lane, dS[r] * u);
          }
        }
        sum = over_lanes(sum);
        if (LOWRANK) du = over_lanes(du);
        if (dv && at.there && at.lane == 0) store(dv + head * VALUE + at.column, sum);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          int e = r * LANES + at.lane;
          float decay = st.decay[j][e];
          over_columns(sums.x[2][warp_id()], r, at.lane, decay * dS[r] * before[r]);
          dS[r] *= decay;
          if (LOWRANK) {
            over_columns(sums.x[VECTORS - 2][warp_id()], r, at.lane, before[r] * du);
            dS[r] += st.a[j][e] * du;
          }
          s[r] = before[r];
        }
        sync_block();
        for (int i = threadIdx.x; i < VECTORS * KEY; i += THREADS) {
          int x = i / KEY, e = i % KEY;
          if (x == 2 && !CHANNELS) continue;
          float total = 0.f;
#pragma unroll
          for (int w = 0; w < WARPS; w++) total += sums.x[x][w][e];
          if (x == 2) {
            if (dg) dg[(part + head) * KEY + e] = total;
          } else if (SUM* y = x == 0 ? dq : x == 1 ? dk : x == 3 ? da : db) {
            store(y + (part + head) * KEY + e, x == 0 ? SCALE * total : total);
          }
        }
        if (!CHANNELS && warp_id() == 0) {
          float total = 0.f;
          for (int i = lane_id(); i < WARPS * KEY; i += 32) total += sums.x[2][i / KEY][i % KEY];
          total = warp_sum(total);
          if (dg && lane_id() == 0) dg[part + head] = total;
        }
        sync_block();
      }
    }
  }
  if (dh0) give(dh0 + at.row, dS, at);
}
#endif
