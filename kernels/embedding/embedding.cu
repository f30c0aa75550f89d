// Rows of a table by token, and the sum of gradients by row. Constants: FEATURES, TYPE and, forward, TABLE, the table's type.
#include "gojet.cuh"

typedef TYPE T;
typedef TABLE TW;
constexpr int D = FEATURES;

constexpr int W = D % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;
constexpr int COLUMNS = D / W;  // accesses of a row

// gather: y [N, D] gets rows of table [vocab, D]. A token that is no row gives NaN.
extern "C" __global__ void __launch_bounds__(256) gather(T* y, const TW* table, const int* ids, int n, int vocab) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  const long long token = i / COLUMNS;
  const int at = (int)(i % COLUMNS) * W;
  if (token >= n) return;
  const int id = ids[token];
  Vec<T, W> r;
  if (id < 0 || id >= vocab) {
#pragma unroll
    for (int k = 0; k < W; k++) r[k] = T(__uint_as_float(0x7fc00000u));
  } else {
    const Vec<TW, W> a = loadv<W>(table + (size_t)id * D + at);
#pragma unroll
    for (int k = 0; k < W; k++) r[k] = T(float(a[k]));
  }
  storev(y + token * D + at, r);
}

// For each token: how many tokens before it have its id, how many have it at all, and the first of them.
struct Place {
  int rank, count, first, start;
};

// rank fills in all but start. A block does 64 tokens, a quarter of its threads each quarter of the ids.
extern "C" __global__ void __launch_bounds__(256) rank(Place* places, const int* ids, int n) {
  constexpr int TILE = 1024;
  SHARED(memory);
  int* tile = (int*)memory;
  Place* found = (Place*)(tile + TILE);  // [256]
  const int mine = threadIdx.x & 63, quarter = threadIdx.x >> 6;
  const int token = blockIdx.x * 64 + mine;
  const int id = token < n ? ids[token] : -1;
  Place p{0, 0, n, 0};
  for (int base = 0; base < n; base += TILE) {
    sync_block();
    for (int i = threadIdx.x; i < TILE; i += 256) tile[i] = base + i < n ? ids[base + i] : 0;
    sync_block();
    const int lo = quarter * (TILE / 4);
#pragma unroll 4
    for (int i = lo; i < lo + TILE / 4; i += 4) {
      const int4 t = *(const int4*)(tile + i);
      const int other[4] = {t.x, t.y, t.z, t.w};
#pragma unroll
      for (int k = 0; k < 4; k++) {
        const int at = base + i + k;
        if (other[k] != id || at >= n) continue;
        p.rank += at < token;
        p.count++;
        p.first = min(p.first, at);
      }
    }
  }
  found[threadIdx.x] = p;
  sync_block();
  if (quarter == 0 && token < n) {
    for (int k = 1; k < 4; k++) {
      const Place o = found[k * 64 + mine];
      p.rank += o.rank;
      p.count += o.count;
      p.first = min(p.first, o.first);
    }
    places[token] = p;
  }
}

// order lists the tokens by id, those of one id in their order, and fills in where the list of an id starts. One block.
extern "C" __global__ void __launch_bounds__(1024) order(int* list, Place* places, int n) {
  __shared__ int parts[32];
  int before = 0;
  for (int base = 0; base < n; base += 1024) {
    const int token = base + threadIdx.x;
    int own = token < n && places[token].rank == 0 ? places[token].count : 0, upto = own;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      const int other = shfl_up(upto, d);
      if (lane_id() >= d) upto += other;
    }
    if (lane_id() == 31) parts[warp_id()] = upto;
    sync_block();
    int all = 0;
    for (int w = 0; w < 32; w++) {
      if (w < warp_id()) upto += parts[w];
      all += parts[w];
    }
    if (token < n) places[token].start = before + upto - own;
    before += all;
    sync_block();
  }
  for (int token = threadIdx.x; token < n; token += 1024) list[places[places[token].first].start + places[token].rank] = token;
}

constexpr int LANES = 32, GROUPS = 8;

// sum_rows: block (t, c) adds rows dy of all tokens with the id of token t, if t is the first of them, in columns c·32·W and
// up. Group k of its threads adds tokens k, k+8, … of the list; the groups are added in order.
extern "C" __global__ void __launch_bounds__(256) sum_rows(T* dw, const T* dy, const int* ids, const int* list, const Place* places, int vocab) {
  __shared__ float partial[GROUPS][LANES * W];
  const Place p = places[blockIdx.x];
  const int id = ids[blockIdx.x];
  if (p.rank != 0 || id < 0 || id >= vocab) return;
  const int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
  const int column = blockIdx.y * LANES + lane;
  float sum[W];
#pragma unroll
  for (int k = 0; k < W; k++) sum[k] = 0.f;
  if (column < COLUMNS) {
#pragma unroll 4
    for (int i = group; i < p.count; i += GROUPS) {
      const Vec<T, W> a = loadv<W>(dy + (size_t)list[p.start + i] * D + column * W);
#pragma unroll
      for (int k = 0; k < W; k++) sum[k] += float(a[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < W; k++) partial[group][lane * W + k] = sum[k];
  sync_block();
  if (group != 0 || column >= COLUMNS) return;
  const int groups = min(GROUPS, p.count);
  for (int g = 1; g < groups; g++) {
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] += partial[g][lane * W + k];
  }
  Vec<T, W> r;
#pragma unroll
  for (int k = 0; k < W; k++) r[k] = T(sum[k]);
  storev(dw + (size_t)id * D + column * W, r);
}
