// Gated linear attention token by token, with the state in registers; see gatedlinear.go for the rule. REAL is the type of
// q, k, v, a, b and o and of their gradients; gates and states are float.
//
// A block has COLUMNS columns of the state of a head of a sequence. LANES neighbouring threads share EACH of them and take every
// LANES-th row. What tokens bring is staged in shared memory, BATCH tokens at a time, and so is what they leave.
#include "gojet.cuh"

constexpr int CHUNK = 64, EACH = 4, THREADS = 128;
constexpr int ROWS = (KEY + LANES - 1) / LANES;
constexpr int PITCH = ROWS * LANES;  // rows beyond KEY are zero
constexpr int COLUMNS = THREADS / LANES * EACH;
static_assert(LANES >= EACH && CHUNK % BATCH == 0, "");

struct Stage {
  alignas(16) float v[BATCH][COLUMNS], sum[BATCH][COLUMNS], more[LOWRANK ? BATCH : 1][COLUMNS];
  float q[BATCH][PITCH], k[BATCH][PITCH], decay[BATCH][PITCH];
  float a[LOWRANK ? BATCH : 1][PITCH], b[LOWRANK ? BATCH : 1][PITCH];
};

// At is where a block and a thread of it stand.
struct At {
  int head, seq, first, tokens;
  int from, to;  // tokens that belong to some sequence
  int group, column, lane;  // the thread's first column, in the block and in [V]
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
  at.group = threadIdx.x / LANES * EACH;
  at.column = blockIdx.x * COLUMNS + at.group;
  at.lane = threadIdx.x % LANES;
  at.row = ((size_t)all.slot[at.seq] * HEADS + at.head) * KEY * VALUE;
  return at;
}

// slot_of is where among the kept states that before chunk c of a sequence stands, in values: as on the CPU.
GOJET_FN size_t slot_of(const At& at, int c) {
  return ((size_t)(at.first / CHUNK + at.seq + c) * HEADS + at.head) * KEY * VALUE;
}

// take reads a state and give writes one.
GOJET_FN void take(float (&s)[ROWS][EACH], const float* state, const At& at) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int e = r * LANES + at.lane;
    const float* row = state + (size_t)e * VALUE + at.column;
    bool there = state && e < KEY;
    if (VALUE % EACH == 0) {
      Vec<float, EACH> x;
      there = there && at.column < VALUE;
      if (there) x = loadv<EACH>(row);
#pragma unroll
      for (int c = 0; c < EACH; c++) s[r][c] = there ? x[c] : 0.f;
    } else {
#pragma unroll
      for (int c = 0; c < EACH; c++) s[r][c] = there && at.column + c < VALUE ? row[c] : 0.f;
    }
  }
}

GOJET_FN void give(float* state, const float (&s)[ROWS][EACH], const At& at) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int e = r * LANES + at.lane;
    float* row = state + (size_t)e * VALUE + at.column;
    if (VALUE % EACH == 0) {
      Vec<float, EACH> x;
#pragma unroll
      for (int c = 0; c < EACH; c++) x[c] = s[r][c];
      if (e < KEY && at.column < VALUE) storev(row, x);
    } else {
#pragma unroll
      for (int c = 0; c < EACH; c++)
        if (e < KEY && at.column + c < VALUE) row[c] = s[r][c];
    }
  }
}

// Ahead is a thread's share of what a batch of tokens brings, on its way. v is v or dO.
struct Ahead {
  static constexpr int KEYS = (BATCH * PITCH + THREADS - 1) / THREADS, VALUES = (BATCH * COLUMNS + THREADS - 1) / THREADS;
  REAL q[KEYS], k[KEYS], a[LOWRANK ? KEYS : 1], b[LOWRANK ? KEYS : 1], v[VALUES];
  float g[KEYS];
};

struct Inputs {
  const REAL *q, *k, *v;
  const float* g;
  const REAL *a, *b;
};

// fetch begins to read count tokens from number token on, and put leaves them in shared memory.
GOJET_FN void fetch(Ahead& to, const Inputs& in, const At& at, int token, int count) {
#pragma unroll
  for (int n = 0; n < Ahead::KEYS; n++) {
    int i = n * THREADS + threadIdx.x, j = i / PITCH, e = i % PITCH;
    bool real = j < count && e < KEY;
    size_t head = (size_t)(token + j) * HEADS + at.head, from = head * KEY + e;
    to.q[n] = real ? in.q[from] : REAL(0.f);
    to.k[n] = real ? in.k[from] : REAL(0.f);
    to.g[n] = real ? in.g[CHANNELS ? from : head] : 0.f;
    if (LOWRANK) {
      to.a[n] = real ? in.a[from] : REAL(0.f);
      to.b[n] = real ? in.b[from] : REAL(0.f);
    }
  }
#pragma unroll
  for (int n = 0; n < Ahead::VALUES; n++) {
    int i = n * THREADS + threadIdx.x, j = i / COLUMNS, column = blockIdx.x * COLUMNS + i % COLUMNS;
    to.v[n] = j < count && column < VALUE ? in.v[((size_t)(token + j) * HEADS + at.head) * VALUE + column] : REAL(0.f);
  }
}

GOJET_FN void put(Stage& st, const Ahead& x) {
#pragma unroll
  for (int n = 0; n < Ahead::KEYS; n++) {
    int i = n * THREADS + threadIdx.x, j = i / PITCH, e = i % PITCH;
    if (i >= BATCH * PITCH) continue;
    st.q[j][e] = SCALE * float(x.q[n]);
    st.k[j][e] = float(x.k[n]);
    st.decay[j][e] = exp_(x.g[n]);
    if (LOWRANK) {
      st.a[j][e] = float(x.a[n]);
      st.b[j][e] = float(x.b[n]);
    }
  }
#pragma unroll
  for (int n = 0; n < Ahead::VALUES; n++) {
    int i = n * THREADS + threadIdx.x;
    if (i < BATCH * COLUMNS) st.v[i / COLUMNS][i % COLUMNS] = float(x.v[n]);
  }
}

// flush writes what count tokens from number token on left in sum.
template <class T> GOJET_FN void flush(T* to, const float (*sum)[COLUMNS], const At& at, int token, int count) {
  for (int i = threadIdx.x; i < count * COLUMNS; i += THREADS) {
    int j = i / COLUMNS, column = blockIdx.x * COLUMNS + i % COLUMNS;
    if (column < VALUE) store(to + ((size_t)(token + j) * HEADS + at.head) * VALUE + column, sum[j][i % COLUMNS]);
  }
}

// all adds up the columns of the threads that share them, for all of those, and leave leaves them in shared memory.
GOJET_FN void all(float (&x)[EACH]) {
#pragma unroll
  for (int c = 0; c < EACH; c++) x[c] = warp_sum<LANES>(x[c]);
}
GOJET_FN void leave(float* sum, float (&x)[EACH], const At& at) {
#pragma unroll
  for (int n = 1; n < 3; n++) {
    const int h = EACH >> n, d = LANES >> n;
    bool upper = at.lane & d;
#pragma unroll
    for (int i = 0; i < EACH / 2; i++) {
      if (i >= h) continue;
      float mine = upper ? x[i + h] : x[i], other = upper ? x[i] : x[i + h];
      x[i] = mine + shfl_xor(other, d);
    }
  }
  x[0] = warp_sum<LANES / EACH>(x[0]);
  if (at.lane % (LANES / EACH) == 0) sum[at.group + at.lane / (LANES / EACH)] = x[0];
}

// zero_outside writes zeros for the tokens outside every sequence, in the block's columns: each sequence's blocks take every S-th.
GOJET_FN void zero_outside(REAL* x, const At& at, int S, int N) {
  for (int t = at.seq; t < N; t += S)
    if (t < at.from || t >= at.to)
      for (int i = threadIdx.x, c = blockIdx.x * COLUMNS + i; i < COLUMNS && c < VALUE; i += THREADS, c += THREADS)
        x[((size_t)t * HEADS + at.head) * VALUE + c] = REAL(0.f);
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
  if (o) zero_outside(o, at, S, N);
  if (at.tokens == 0 && (!hT || hT == h0)) return;

  float s[ROWS][EACH];
  Ahead next;
  if (at.tokens > 0) fetch(next, in, at, at.first, min(BATCH, at.tokens));
  take(s, h0 ? h0 + at.row : nullptr, at);
  for (int t = 0; t < at.tokens; t += BATCH) {
    int count = min(BATCH, at.tokens - t);
    if (states && t % CHUNK == 0) give(states + slot_of(at, t / CHUNK), s, at);
    sync_block();
    if (o && t > 0) flush(o, st.sum, at, at.first + t - BATCH, BATCH);
    put(st, next);
    sync_block();
    if (t + BATCH < at.tokens) fetch(next, in, at, at.first + t + BATCH, min(BATCH, at.tokens - t - BATCH));
    for (int j = 0; j < count; j++) {
      float u[EACH] = {}, sum[EACH] = {};
      if (LOWRANK) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
          for (int c = 0; c < EACH; c++) u[c] += st.a[j][r * LANES + at.lane] * s[r][c];
        all(u);
      }
      Vec<float, EACH> x = loadv<EACH>(st.v[j] + at.group);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int e = r * LANES + at.lane;
        float decay = st.decay[j][e], ke = st.k[j][e], qe = st.q[j][e], be = LOWRANK ? st.b[j][e] : 0.f;
#pragma unroll
        for (int c = 0; c < EACH; c++) {
          s[r][c] = decay * s[r][c] + ke * x[c];
          if (LOWRANK) s[r][c] += be * u[c];
          sum[c] += qe * s[r][c];
        }
      }
      leave(st.sum[j], sum, at);
    }
  }
  sync_block();
  int last = (at.tokens + BATCH - 1) / BATCH * BATCH - BATCH;
  if (o && at.tokens > 0) flush(o, st.sum, at, at.first + last, at.tokens - last);
  if (hT) give(hT + at.row, s, at);
}

// retreat goes back over the tokens for the gradient dS of the state: it leaves dS after every chunk, laid out as the kept states,
// dv, and with LOWRANK du = dS'b [N, H, V]. Blocks are as for forward.
extern "C" __global__ void __launch_bounds__(THREADS) retreat(
    const REAL* __restrict__ q, const REAL* __restrict__ k, const float* __restrict__ g, const REAL* __restrict__ a,
    const REAL* __restrict__ b, const int* __restrict__ seqs, int N, int S, const REAL* __restrict__ dO, const float* dhT,
    REAL* __restrict__ dv, float* dh0, float* __restrict__ dstates, float* __restrict__ du) {
  SHARED(shared);
  Stage& st = *reinterpret_cast<Stage*>(shared);
  At at = place(seqs, S);
  Inputs in = {q, k, dO, g, a, b};
  if (dv) zero_outside(dv, at, S, N);

  float s[ROWS][EACH];
  Ahead next;
  int last = (at.tokens + BATCH - 1) / BATCH * BATCH - BATCH;
  if (at.tokens > 0) fetch(next, in, at, at.first + last, at.tokens - last);
  take(s, dhT ? dhT + at.row : nullptr, at);
  auto write = [&](int t) {
    int count = min(BATCH, at.tokens - t);
    if (dv) flush(dv, st.sum, at, at.first + t, count);
    if (LOWRANK) flush(du, st.more, at, at.first + t, count);
  };
  for (int t = last; t >= 0; t -= BATCH) {
    int count = min(BATCH, at.tokens - t);
    if ((t + count) % CHUNK == 0 || t == last) give(dstates + slot_of(at, t / CHUNK), s, at);
    sync_block();
    if (t < last) write(t + BATCH);
    put(st, next);
    sync_block();
    if (t > 0) fetch(next, in, at, at.first + t - BATCH, BATCH);
    for (int j = count - 1; j >= 0; j--) {
      Vec<float, EACH> d = loadv<EACH>(st.v[j] + at.group);
      float sum[EACH] = {}, u[EACH] = {};
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int e = r * LANES + at.lane;
        float qe = st.q[j][e], ke = st.k[j][e], be = LOWRANK ? st.b[j][e] : 0.f, decay = st.decay[j][e];
#pragma unroll
        for (int c = 0; c < EACH; c++) {
          s[r][c] += qe * d[c];
          sum[c] += ke * s[r][c];
          if (LOWRANK) u[c] += be * s[r][c];
          s[r][c] *= decay;
        }
      }
      leave(st.sum[j], sum, at);
      if (LOWRANK) {
        all(u);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
          for (int c = 0; c < EACH; c++) s[r][c] += st.a[j][r * LANES + at.lane] * u[c];
        if (at.lane == 0)
#pragma unroll
          for (int c = 0; c < EACH; c++) st.more[j][at.group + c] = u[c];
      }
    }
  }
  sync_block();
  if (at.tokens > 0) write(0);
  if (dh0) give(dh0 + at.row, s, at);
}
