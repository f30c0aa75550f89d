// Backward of causal attention with grouped queries for Hopper, head dims 64 and 128, 5 products in one kernel. For the
// equations and the statistics of the query rows see attention_backward_prepare.cu; for layouts hopper.cuh.
//
// A block owns 128 keys of one key head and walks over tiles of kQueries queries, from the last that sees them to the first,
// and in each tile over its kHeads query heads: a visit. Two warpgroups have 64 keys each: S = k·qᵀ, dP = v·doᵀ, both [keys,
// queries]; dv += P·do with P from registers. dS goes through shared memory for dk += dS·q and dq = dSᵀ·k of the visit, of
// which each warpgroup makes half. A third warpgroup moves data: one thread loads, two add dq to sums in device memory.
//
// The sums stay in order: blocks that see a tile of queries take turns, keys from left to right; the last, which owns the
// tile's own positions, adds its part to the sum and writes dq. Work is given out longest first and, within a sequence,
// from left to right, by a ticket, so that a block only waits for blocks that began before it. As all of them walk from the
// last queries to the first, they follow each other without waiting.
//
// FlashAttention-3 has the shape of the visit: https://arxiv.org/abs/2407.08608
//
// Constants, besides the common ones: SPLIT, blocks that share the query heads of a key head. With SPLIT > 1 dk and dv are
// parts, float32 [2, SPLIT, N, KV, D], which attention_backward_join adds.
#include "ordered.cuh"

constexpr int kKeys = 128, kQueries = 8192 / D; // of a tile
constexpr int kGroup = H / KV, kHeads = kGroup / SPLIT;
constexpr int kBoxes = D / 64;                       // across the features
constexpr int kDepthQ = 3, kDepthO = 2;              // tiles under way
constexpr int kTileBytes = kQueries * D * 2, kSumBytes = kQueries * D * 4, kStatBytes = 2 * kQueries * 4;
constexpr float kLog2e = 1.4426950408889634f;
constexpr bool kRounded = kQueries == 128;           // dS is made of the rounded probabilities, which saves registers

struct Shared {
  bf16 k[kKeys * D], v[kKeys * D];
  bf16 q[kDepthQ][kQueries * D], o[kDepthO][kQueries * D]; // o: do
  bf16 ds[2][kKeys * kQueries];
  float dq[kQueries * D]; // [warpgroup, 8, thread, 4] as the fragments are
  float stats[kDepthQ][2 * kQueries];
  Barrier kv, qFull[kDepthQ], qEmpty[kDepthQ], oFull[kDepthO], oEmpty[kDepthO], dqFull[2], dqEmpty, sum;
  int ticket;
};

// Work is what a block owns and the visits it makes.
struct Work {
  int begin, length; // of the sequence
  int tile;          // number of its first tile of queries
  int block, key;    // of the keys in the sequence; position of the first
  int head, part;    // key head, part of its query heads
  int last, visits;  // last tile of queries

  __device__ __forceinline__ Work(int4 item, int rest)
      : begin(item.x), length(item.y), tile(item.z), block(item.w), key(item.w * kKeys), head(rest % KV), part(rest / KV) {
    const int end = WINDOW > 0 ? min(length, key + kKeys - 1 + WINDOW) : length;
    last = (end - 1) / kQueries;
    visits = (last - key / kQueries + 1) * kHeads;
  }
};

// Visit is one visit, i from 0.
struct Visit {
  int tile, query; // of queries in the sequence; position of the first
  int head;
  int turn; // to add dq: blocks of keys before this one that see the tile
  bool final;

  __device__ __forceinline__ Visit(const Work& w, int i) : tile(w.last - i / kHeads), head(w.head * kGroup + w.part * kHeads + i % kHeads) {
    query = tile * kQueries;
    turn = w.block - (WINDOW > 0 ? max(0, query - WINDOW + 1) / kKeys : 0);
    final = (query + kQueries - 1) / kKeys == w.block;
  }
  // place numbers the tile and head among all.
  __device__ __forceinline__ size_t place(const Work& w) const { return (size_t)(w.tile + tile) * H + head; }
};

// scores begins d = own·walkedᵀ [64, kQueries] over the features; own is the warpgroup's first row of a tile of kKeys.
__device__ __forceinline__ void scores(float (&d)[kQueries / 2], const bf16* own, const bf16* walked) {
  const u64 a = along_row(own), b = along_row(walked);
#pragma unroll
  for (int k = 0; k < D / 16; k++)
    Wgmma<kQueries>::template ss<0, 0>(d, a + k / 4 * (kKeys * 8) + k % 4 * 2, b + k / 4 * (kQueries * 8) + k % 4 * 2, k > 0);
}

// accumulate begins d += a·walked [64, D] over the queries.
__device__ __forceinline__ void accumulate(float (&d)[D / 2], unsigned (&a)[kQueries / 16][4], const bf16* walked) {
  const u64 b = down_rows(walked, kQueries * 128);
#pragma unroll
  for (int k = 0; k < kQueries / 16; k++) Wgmma<D>::template rs<1>(d, a[k], b + k * 128, 1);
}

__device__ __forceinline__ void accumulate(float (&d)[D / 2], const bf16* own, const bf16* walked) {
  const u64 a = along_row(own), b = down_rows(walked, kQueries * 128);
#pragma unroll
  for (int k = 0; k < kQueries / 16; k++) Wgmma<D>::template ss<0, 1>(d, a + k / 4 * (kKeys * 8) + k % 4 * 2, b + k * 128, 1);
}

// pieces rounds a product to the operands of the next.
__device__ __forceinline__ void pieces(unsigned (&a)[kQueries / 16][4], const float (&d)[kQueries / 2]) {
#pragma unroll
  for (int k = 0; k < kQueries / 16; k++) {
#pragma unroll
    for (int i = 0; i < 4; i++) a[k][i] = pack2(d[8 * k + 2 * i], d[8 * k + 2 * i + 1]);
  }
}

__device__ __forceinline__ void load(Shared& s, const Work& w, const TensorMap* q, const TensorMap* k, const TensorMap* v, const TensorMap* o,
                                     const float* stats) {
  barrier_expect(&s.kv, 2 * kKeys * D * 2);
#pragma unroll
  for (int b = 0; b < kBoxes; b++) {
    tma_load(s.k + b * kKeys * 64, k, w.head * D + 64 * b, w.begin + w.key, &s.kv);
    tma_load(s.v + b * kKeys * 64, v, w.head * D + 64 * b, w.begin + w.key, &s.kv);
  }
  for (int i = 0; i < w.visits; i++) {
    const Visit x(w, i);
    const int qs = i % kDepthQ, os = i % kDepthO;
    if (i >= kDepthQ) barrier_wait(&s.qEmpty[qs], i / kDepthQ - 1 & 1);
    barrier_expect(&s.qFull[qs], kTileBytes + kStatBytes);
    bulk_load(s.stats[qs], stats + x.place(w) * (2 * kQueries), kStatBytes, &s.qFull[qs]);
#pragma unroll
    for (int b = 0; b < kBoxes; b++) tma_load(s.q[qs] + b * kQueries * 64, q, x.head * D + 64 * b, w.begin + x.query, &s.qFull[qs]);
    if (i >= kDepthO) barrier_wait(&s.oEmpty[os], i / kDepthO - 1 & 1);
    barrier_expect(&s.oFull[os], kTileBytes);
#pragma unroll
    for (int b = 0; b < kBoxes; b++) tma_load(s.o[os] + b * kQueries * 64, o, x.head * D + 64 * b, w.begin + x.query, &s.oFull[os]);
  }
}

// add moves the dq of every second visit to the sums in device memory, or, for final visits, the sum to shared memory.
__device__ __forceinline__ void add(Shared& s, const Work& w, int odd, float* sums, int* turns) {
  for (int i = odd; i < w.visits; i += 2) {
    const Visit x(w, i);
    float* const at = sums + x.place(w) * (kQueries * D);
    int* const turn = turns + x.place(w);
    if (x.turn > 0) turn_wait(turn, x.turn);
    if (x.final) {
      if (x.turn > 0) {
        if (i > 0) barrier_wait(&s.dqEmpty, i - 1 & 1);
        barrier_expect(&s.sum, kSumBytes);
        bulk_load(s.dq, at, kSumBytes, &s.sum);
      }
      barrier_wait(&s.dqFull[odd], i >> 1 & 1);
      barrier_arrive(&s.dqEmpty);
    } else {
      barrier_wait(&s.dqFull[odd], i >> 1 & 1);
      if (x.turn > 0)
        bulk_add(at, s.dq, kSumBytes);
      else
        bulk_store(at, s.dq, kSumBytes);
      bulk_commit();
      bulk_wait<0>();
      barrier_arrive(&s.dqEmpty);
      bulk_done<0>();
      turn_pass(turn, x.turn + 1);
    }
  }
}

// arrive says that the warp's lanes are done with something.
__device__ __forceinline__ void arrive(Barrier* b) {
  sync_warp();
  if (lane_id() == 0) barrier_arrive(b);
}

// deliver hands over the warpgroup's part g of a visit's dq: queries by features, of which it has one half.
__device__ __forceinline__ void deliver(Shared& s, const Work& w, const Visit& x, int i, int& sums, float (&g)[32], bf16* dq) {
  const int group = warp_id() / 4 - 1, thread = threadIdx.x % 128, lane = lane_id();
  float* const mine = s.dq + (group * 8 * 128 + thread) * 4;
  if (i > 0) barrier_wait(&s.dqEmpty, i - 1 & 1);
  if (!x.final) {
#pragma unroll
    for (int j = 0; j < 8; j++) *reinterpret_cast<float4*>(mine + j * 512) = make_float4(g[4 * j], g[4 * j + 1], g[4 * j + 2], g[4 * j + 3]);
    fence_async();
    arrive(&s.dqFull[i & 1]);
    return;
  }
  if (x.turn > 0) {
    barrier_wait(&s.sum, sums++ & 1);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float4 sum = *reinterpret_cast<const float4*>(mine + j * 512);
      g[4 * j] += sum.x;
      g[4 * j + 1] += sum.y;
      g[4 * j + 2] += sum.z;
      g[4 * j + 3] += sum.w;
    }
  }
  arrive(&s.dqFull[i & 1]);
  if (!dq) return;
  const int row = (kQueries == 128 ? group * 64 : 0) + thread / 32 * 16 + lane / 4, column = (kQueries == 128 ? 0 : group * 64) + lane % 4 * 2;
  bf16* const to = dq + ((size_t)(w.begin + x.query + row) * H + x.head) * D + column;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (x.query + row + 8 * h >= w.length) continue;
#pragma unroll
    for (int j = 0; j < 8; j++)
      *reinterpret_cast<unsigned*>(to + (size_t)8 * h * H * D + 8 * j) = pack2(g[4 * j + 2 * h] * SCALE, g[4 * j + 2 * h + 1] * SCALE);
  }
}

// put writes the warpgroup's 64 rows of dk or dv.
__device__ __forceinline__ void put(const Work& w, const float (&g)[D / 2], float scale, bf16* to, float* part) {
  const int key = w.key + warp_id() % 4 * 16 + (warp_id() / 4 - 1) * 64 + lane_id() / 4;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (key + 8 * h >= w.length) continue;
    const size_t at = ((size_t)(w.begin + key + 8 * h) * KV + w.head) * D + lane_id() % 4 * 2;
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
      const float a = g[4 * j + 2 * h] * scale, b = g[4 * j + 2 * h + 1] * scale;
      if constexpr (SPLIT > 1)
        *reinterpret_cast<float2*>(part + at + 8 * j) = make_float2(a, b);
      else if (to)
        *reinterpret_cast<unsigned*>(to + at + 8 * j) = pack2(a, b);
    }
  }
}

// compute makes the visits of one warpgroup.
__device__ __forceinline__ void compute(Shared& s, const Work& w, bf16* dq, bf16* dk, bf16* dv, float* parts, int N) {
  const int group = warp_id() / 4 - 1, lane = lane_id();
  const int key = w.key + group * 64 + warp_id() % 4 * 16 + lane / 4; // of the thread's first row
  const bf16 *const ks = s.k + group * 64 * 64, *const vs = s.v + group * 64 * 64;
  // Where dS goes: row of the keys, piece of the queries. Matrix lane/8 of four has keys (lane/8%2)·8 and queries (lane/16)·8.
  const int dsRow = group * 64 + warp_id() % 4 * 16 + lane % 16, dsPiece = lane / 16;

  float gk[D / 2] = {}, gv[D / 2] = {}, p[kQueries / 2];
  int sums = 0;

  // A visit has two halves, up to dS and from it on. The second half of one and the first of the next are the loop's body: the
  // next scores are on their way while dq is handed over, and no product is under way from one round to the next, which
  // ptxas would not follow.
  auto begin = [&](int i) {
    barrier_wait(&s.qFull[i % kDepthQ], i / kDepthQ & 1);
    wgmma_fence();
    scores(p, ks, s.q[i % kDepthQ]);
    wgmma_commit();
  };
  auto first = [&](int i) {
    const Visit x(w, i);
    const int qs = i % kDepthQ, os = i % 2;
    float ds[kQueries / 2];
    barrier_wait(&s.oFull[os], i >> 1 & 1);
    wgmma_fence();
    scores(ds, vs, s.o[os]);
    wgmma_commit();
    wgmma_wait<1>(p);
    if (i > 0) { // dk of the visit before is done, too
      hold(gk);
      arrive(&s.qEmpty[(i - 1) % kDepthQ]);
    }

    const float* const stat = s.stats[qs] + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kQueries / 8; j++) {
      const float2 lse = *reinterpret_cast<const float2*>(stat + 8 * j);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        p[4 * j + 2 * h] = exp2_(fmaf(p[4 * j + 2 * h], SCALE * kLog2e, -lse.x));
        p[4 * j + 2 * h + 1] = exp2_(fmaf(p[4 * j + 2 * h + 1], SCALE * kLog2e, -lse.y));
      }
    }
    if (x.query < w.key + kKeys - 1 || (WINDOW > 0 && x.query + kQueries - 1 - w.key >= WINDOW)) {
      const int behind = x.query + lane % 4 * 2 - key;
#pragma unroll
      for (int j = 0; j < kQueries / 2; j++) {
        const int d = behind + j / 4 * 8 + j % 2 - j / 2 % 2 * 8;
        if (!(d >= 0 && (WINDOW == 0 || d < WINDOW))) p[j] = 0;
      }
    }
    unsigned a[kQueries / 16][4];
    pieces(a, p);
    wgmma_fence();
    accumulate(gv, a, s.o[os]);
    wgmma_commit();
    wgmma_wait<1>(ds);

#pragma unroll
    for (int j = 0; j < kQueries / 8; j++) {
      const float2 dot = *reinterpret_cast<const float2*>(stat + kQueries + 8 * j);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float2 x = make_float2(p[4 * j + 2 * h], p[4 * j + 2 * h + 1]);
        if (kRounded) x = unpack2(a[j / 2][j % 2 * 2 + h]);
        ds[4 * j + 2 * h] = x.x * (ds[4 * j + 2 * h] - dot.x);
        ds[4 * j + 2 * h + 1] = x.y * (ds[4 * j + 2 * h + 1] - dot.y);
      }
    }
    unsigned b[kQueries / 16][4]; // dS
    pieces(b, ds);
#pragma unroll
    for (int k = 0; k < kQueries / 16; k++) {
      const int piece = 2 * k + dsPiece;
      stmatrix_x4(reinterpret_cast<char*>(s.ds[os] + piece / 8 * kKeys * 64) + swizzle128(dsRow, piece % 8), b[k]);
    }
    fence_async();
    wgmma_wait<0>(gv);
    arrive(&s.oEmpty[os]);
  };
  auto second = [&](int i, bool last) {
    const int os = i % 2;
    float g[32];
    const u64 left = down_rows(s.ds[os] + (kQueries == 128 ? group * kKeys * 64 : 0), 0);
    const u64 right = down_rows(s.k + (kQueries == 128 ? 0 : group * kKeys * 64), 0);
    named_barrier(1, 256);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kKeys / 16; k++) Wgmma<64>::template ss<1, 1>(g, left + k * 128, right + k * 128, k > 0);
    wgmma_commit();
    accumulate(gk, s.ds[os] + group * 64 * 64, s.q[i % kDepthQ]);
    wgmma_commit();
    if (!last) {
      begin(i + 1);
      wgmma_wait<2>(g);
    } else {
      wgmma_wait<1>(g);
    }
    deliver(s, w, Visit(w, i), i, sums, g, dq);
  };

  barrier_wait(&s.kv, 0);
  begin(0);
  first(0);
  for (int i = 0; i + 1 < w.visits; i++) {
    second(i, false);
    first(i + 1);
  }
  second(w.visits - 1, true);
  wgmma_wait<0>(gk);
  put(w, gk, SCALE, dk, SPLIT > 1 ? parts + (size_t)w.part * N * KV * D : nullptr);
  put(w, gv, 1, dv, SPLIT > 1 ? parts + (size_t)(SPLIT + w.part) * N * KV * D : nullptr);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    attention_backward_fused(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k, const __grid_constant__ TensorMap v,
                             const __grid_constant__ TensorMap o, bf16* dq, bf16* dk, bf16* dv, float* parts, const float* stats, float* sums,
                             int* turns, int* ticket, const int4* items, int N) {
  SHARED(shared);
  Shared& s = *reinterpret_cast<Shared*>(shared);
  if (threadIdx.x == 0) {
    s.ticket = atomicAdd(ticket, 1);
    barrier_init(&s.kv, 1);
    for (int i = 0; i < kDepthQ; i++) barrier_init(&s.qFull[i], 1), barrier_init(&s.qEmpty[i], 8);
    for (int i = 0; i < kDepthO; i++) barrier_init(&s.oFull[i], 1), barrier_init(&s.oEmpty[i], 8);
    barrier_init(&s.dqFull[0], 8), barrier_init(&s.dqFull[1], 8), barrier_init(&s.dqEmpty, 1), barrier_init(&s.sum, 1);
    fence_barriers();
  }
  sync_block();
  const int4 item = items[s.ticket / (KV * SPLIT)];
  if (item.y == 0) return;
  const Work w(item, s.ticket % (KV * SPLIT));
  if (warp_id() < 4) {
    registers_down<24>();
    if (lane_id() == 0) {
      if (warp_id() == 0) load(s, w, &q, &k, &v, &o, stats);
      if (warp_id() == 1 || warp_id() == 2) add(s, w, warp_id() - 1, sums, turns);
    }
  } else {
    registers_up<240>();
    compute(s, w, dq, dk, dv, parts, N);
  }
}

// join adds the parts of dk and dv in their order and rounds them; a thread has 8 features.
extern "C" __global__ void __launch_bounds__(256) attention_backward_join(bf16* dk, bf16* dv, const float* parts, const int* cu, int S, int N) {
  const size_t all = (size_t)N * KV * D, at = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
  if (at >= all) return;
  const int token = (int)(at / (KV * D));
  if (token < cu[0] || token >= cu[S]) return;
  bf16* const to = blockIdx.y ? dv : dk;
  if (!to) return;
  Vec<bf16, 8> r;
  float sum[8] = {};
#pragma unroll
  for (int p = 0; p < SPLIT; p++) {
    const auto x = loadv<8>(parts + (blockIdx.y * SPLIT + p) * all + at);
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] += x[i];
  }
#pragma unroll
  for (int i = 0; i < 8; i++) r[i] = bf16(sum[i]);
  storev(to + at, r);
}
