// Attention forward in bfloat16 on Hopper, for heads of 64 or 128 features, without a cache or without a window
// (FlashAttention-3, https://arxiv.org/abs/2407.08608).
//
// As many blocks as the device has processors take tiles of ROWS tokens and one head from a counter, those that see most keys
// first. In a block one warp loads by the copy engine; GROUPS warpgroups have 64 query rows each. A warpgroup starts the scores
// of the next keys together with the product with the values of the current ones, and computes the softmax of the former while
// the latter runs, beside the other's products.
//
// Tiles of new keys are numbered from 0 within the sequence, those of cached ones down from -1 in the order of their positions.
// The tile of the task's own tokens comes first, then what is left of the cached keys beyond whole tiles, then all that every
// row sees whole. With a cache, attention_decode has the sequences of few tokens and clears the counter.
#include "hopper.cuh"

constexpr int THREADS = 128 * (GROUPS + 1);
constexpr int PHASES = 2;                          // tiles of keys under way
constexpr int QUERY_BYTES = ROWS * D * 2, KEY_BYTES = KEYS * D * 2;
constexpr int BYTES = 2 * QUERY_BYTES + 2 * PHASES * KEY_BYTES + 256 + 512 * GROUPS;  // as the launch asks for them
static_assert(ROWS == 64 * GROUPS && KEYS % ROWS == 0 && (D == 64 || D == 128) && !(CACHED && WINDOW), "shapes of the tiles");

// Task is a tile of queries.
struct Task {
  int first, at, count, head;  // the sequence's first token, the place of the tile's in it, its tokens (-1: no more tiles), its head
  int start, row;              // cached keys, the first one's row in the cache
  GOJET_FN int last() const { return (at + count - 1) / KEYS; }                              // the tile of keys of the newest token
  GOJET_FN int end() const { return CACHED ? -(start / KEYS) : oldest(at) / KEYS; }          // the lowest tile of keys but for the rest
  GOJET_FN int rest() const { return CACHED ? start % KEYS : 0; }                            // cached keys of tile end() - 1
};

struct Shared {
  Barrier keyFull[PHASES], keyEmpty[PHASES], valueFull[PHASES], valueEmpty[PHASES], queryFull, queryEmpty, taskFull[2], taskEmpty[2];
  volatile float pins[128 * GROUPS];  // nobody reads them: they keep the compiler from moving the softmax behind the wait that follows it
  Task task[2];
};

// Turn counts uses of a ring: where it stands, and the parity of the phase to wait for.
template <int size> struct Turn {
  int at = 0, parity = 0;
  GOJET_FN void next() {
    if (++at == size) at = 0, parity ^= 1;
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_wgmma(T* o, float* lse, const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k, const __grid_constant__ TensorMap v,
                    const __grid_constant__ TensorMap kc, const __grid_constant__ TensorMap vc, int cap, const int* buf, int S, int N, float scale, int* counter) {
  SHARED(memory);
  char *qs = memory, *os = qs + QUERY_BYTES, *ks = os + QUERY_BYTES, *vs = ks + PHASES * KEY_BYTES;
  Shared& shared = *(Shared*)(vs + PHASES * KEY_BYTES);
  const Sequences seqs = sequences(buf, S);
  if (threadIdx.x == 0) {
    constexpr int warps = 4 * GROUPS;
    for (int i = 0; i < PHASES; i++) {
      barrier_init(&shared.keyFull[i], 1), barrier_init(&shared.valueFull[i], 1);
      barrier_init(&shared.keyEmpty[i], warps), barrier_init(&shared.valueEmpty[i], warps);
    }
    barrier_init(&shared.queryFull, 1), barrier_init(&shared.queryEmpty, warps);
    for (int i = 0; i < 2; i++) barrier_init(&shared.taskFull[i], 1), barrier_init(&shared.taskEmpty[i], warps);
    fence_barriers();
  }
  sync_block();

  if (threadIdx.x < 128) {
    registers_down<40>();
    if (warp_id() > 0) {
      if (CACHED) return;  // attention_finish has the tokens of no sequence
      const int lo = seqs.cu[0], hi = seqs.cu[S];
      for (int i = blockIdx.x; i < N - (hi - lo); i += gridDim.x) {
        const size_t token = i < lo ? i : i + hi - lo;
        for (int j = threadIdx.x - 32; j < H * D; j += 96) store(o + token * (H * D) + j, 0.f);
        for (int j = threadIdx.x - 32; lse && j < H; j += 96) lse[token * H + j] = 0;
      }
    } else {
      const int lane = lane_id();
      int tiles = 0;
      bool many = !CACHED;  // some sequence has tiles for this kernel
      for (int s = lane; s < S; s += 32) {
        const int n = seqs.cu[s + 1] - seqs.cu[s];
        tiles += (n + ROWS - 1) / ROWS;
        many = many || n > FEW;
      }
#pragma unroll
      for (int m = 16; m > 0; m /= 2) tiles += shfl_xor(tiles, m);
      if (!ballot(many)) tiles = 0;
      if (lane == 0) {
        tma_prefetch(&q), tma_prefetch(&k), tma_prefetch(&v);
        if (CACHED) tma_prefetch(&kc), tma_prefetch(&vc);
      }
      // draw takes the next tile.
      const auto draw = [&]() {
        for (;;) {
          int index = lane == 0 ? atomicAdd(counter, 1) : 0;
          index = shfl(index, 0);
          Task t = {0, 0, -1, index % H, 0, 0};
          if (index >= tiles * H) return t;
          int seq;
          find_chunk(seqs.cu, S, ROWS, tiles - 1 - index / H, seq, t.at, t.count);
          t.first = seqs.cu[seq];
          t.at -= t.first;
          if (CACHED) {
            if (seqs.cu[seq + 1] - t.first <= FEW) continue;
            t.start = seqs.pos[seq];
            t.row = seqs.slot[seq] * cap;
          }
          return t;
        }
      };
      Turn<2> turn;
      Turn<PHASES> key, value;
      Turn<1> query;
      Task task = draw();
      for (;;) {
        const auto copy = [&](char* to, const TensorMap& map, int rows, int x, int y, Barrier* full) {
          barrier_expect(full, rows * D * 2);
#pragma unroll
          for (int i = 0; i < D / 64; i++) tma_load(to + i * (rows * 128), &map, x + 64 * i, y, full);
        };
        const auto row_of = [&](int tile) { return CACHED && tile < 0 ? task.row + (-1 - tile) * KEYS : task.first + tile * KEYS; };
        const auto load_keys = [&](int tile) {
          barrier_wait(&shared.keyEmpty[key.at], key.parity ^ 1);
          copy(ks + key.at * KEY_BYTES, CACHED && tile < 0 ? kc : k, KEYS, task.head / GROUP * D, row_of(tile), &shared.keyFull[key.at]);
          key.next();
        };
        const auto load_values = [&](int tile) {
          barrier_wait(&shared.valueEmpty[value.at], value.parity ^ 1);
          copy(vs + value.at * KEY_BYTES, CACHED && tile < 0 ? vc : v, KEYS, task.head / GROUP * D, row_of(tile), &shared.valueFull[value.at]);
          value.next();
        };
        if (lane == 0) {
          barrier_wait(&shared.taskEmpty[turn.at], turn.parity ^ 1);
          shared.task[turn.at] = task;
          barrier_arrive(&shared.taskFull[turn.at]);
          turn.next();
          if (task.count >= 0) {
            load_keys(task.last());
            barrier_wait(&shared.queryEmpty, query.parity ^ 1);
            copy(qs, q, ROWS, task.head * D, task.first + task.at, &shared.queryFull);
            query.next();
            load_values(task.last());
          }
        }
        if (task.count < 0) break;
        const Task next = draw();
        if (lane == 0) {
          if (task.rest() > 0) load_keys(task.end() - 1), load_values(task.end() - 1);
          for (int tile = task.last() - 1; tile >= task.end(); tile--) load_keys(tile), load_values(tile);
        }
        task = next;
      }
    }
  } else {
    registers_up<232>();
    const int group = threadIdx.x / 128 - 1, warp = warp_id() % 4, lane = lane_id();
    const int row = 64 * group + 16 * warp;  // the warp's first of its 16 rows
    const float fold = scale * LOG2E;
    const u64 queries = along_row(qs + group * (64 * 128)), keys = along_row(ks), values = down_rows(vs, KEYS * 128);
    const auto release = [&](Barrier* b) {
      if (lane == 0) barrier_arrive(b);
    };
    Turn<2> turn;
    Turn<PHASES> key, value;
    Turn<1> query;

    for (;;) {
      barrier_wait(&shared.taskFull[turn.at], turn.parity);
      const Task task = shared.task[turn.at];
      sync_warp();
      release(&shared.taskEmpty[turn.at]);
      turn.next();
      if (task.count < 0) break;
      const int last = task.last(), end = task.end();
      float s[KEYS / 2], acc[D / 2], top[2], sum[2], shrink[2];
      unsigned p[KEYS / 16][4];

      // start_scores and start_product queue the products of one tile of keys; scores and the result are then under way.
      const auto start_scores = [&]() {
        const u64 tile = keys + key.at * (KEY_BYTES / 16);
#pragma unroll
        for (int i = 0; i < D / 16; i++) Wgmma<KEYS>::template ss<0, 0>(s, queries + i / 4 * (ROWS * 8) + i % 4 * 2, tile + i / 4 * (KEYS * 8) + i % 4 * 2, i > 0);
        wgmma_commit();
      };
      const auto start_product = [&]() {
        const u64 tile = values + value.at * (KEY_BYTES / 16);
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++) Wgmma<D>::template rs<1>(acc, p[i], tile + i * 128, 1);
        wgmma_commit();
      };
      // mask hides the keys of a tile that a row does not see.
      const auto mask = [&](int tile) {
        const int column = tile * KEYS + lane % 4 * 2;
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int at = task.at + row + lane / 4 + 8 * h, high = at - column, low = oldest(at) - column;
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
              if (8 * n + e > high || (WINDOW && 8 * n + e < low)) s[4 * n + 2 * h + e] = -infinity();
        }
      };
      // hide hides the keys of a tile but for the first ones.
      const auto hide = [&](int first) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
          for (int e = 0; e < 4; e++)
            if (8 * n + e % 2 >= first - lane % 4 * 2) s[4 * n + e] = -infinity();
      };
      // clear zeroes the values of a tile but for the first ones: they are another's, or nobody's, and need not be finite. Each
      // warpgroup clears them before it reads them.
      const auto clear = [&](int first) {
        barrier_wait(&shared.valueFull[value.at], value.parity);
        char* tile = vs + value.at * KEY_BYTES;
#pragma unroll
        for (int b = 0; b < D / 64; b++)
          for (int i = first * 8 + threadIdx.x % 128; i < KEYS * 8; i += 128) *(uint4*)(tile + b * (KEYS * 128) + i * 16) = make_uint4(0, 0, 0, 0);
        fence_async();
        named_barrier(1 + group, 128);
      };
      // softmax turns scores into probabilities relative to the new maximum; shrink is what older ones lose.
      const auto softmax = [&](bool first) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          float most = s[2 * h];
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) most = fmaxf(most, s[4 * n + 2 * h + e]);
          most = warp_max<4>(first ? most : fmaxf(most, top[h]));
          const float base = most * fold;
          shrink[h] = first ? 0 : exp2_(fmaf(top[h], fold, -base));
          top[h] = most;
          float add = 0;
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
              float& x = s[4 * n + 2 * h + e];
              x = exp2_(fmaf(x, fold, -base));
              add += x;
            }
          sum[h] = first ? add : fmaf(sum[h], shrink[h], add);
        }
      };
      const auto round_scores = [&]() {
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++)
#pragma unroll
          for (int e = 0; e < 4; e++) p[i][e] = pack2(s[8 * i + 2 * e], s[8 * i + 2 * e + 1]);
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++) hold(p[i]);
      };
      // step goes from one tile of keys to the next, of which `mask` hides some.
      const auto step = [&](const auto& mask) {
        barrier_wait(&shared.keyFull[key.at], key.parity);
        wgmma_fence();
        start_scores();
        barrier_wait(&shared.valueFull[value.at], value.parity);
        wgmma_fence();
        start_product();
        wgmma_wait<1>(s);
        release(&shared.keyEmpty[key.at]);
        key.next();
        mask();
        softmax(false);
        shared.pins[threadIdx.x - 128] = sum[0] + sum[1];
        wgmma_wait<0>(acc);
        hold(s);
        release(&shared.valueEmpty[value.at]);
        value.next();
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
          for (int e = 0; e < 4; e++) acc[4 * n + e] *= shrink[e / 2];
        hold(acc);
        round_scores();
      };

      barrier_wait(&shared.queryFull, query.parity);
      query.next();
      barrier_wait(&shared.keyFull[key.at], key.parity);
      wgmma_fence();
      start_scores();
      wgmma_wait<0>(s);
      release(&shared.keyEmpty[key.at]);
      key.next();
      mask(last);
      softmax(true);
      round_scores();
#pragma unroll
      for (int i = 0; i < D / 2; i++) acc[i] = 0;
      hold(acc);
      const int own = task.at + task.count - last * KEYS;  // keys of the first tile that are the sequence's
      if (own < KEYS) clear(own);
      if (task.rest() > 0) {
        step([&]() { hide(task.rest()); });
        clear(task.rest());
      }
      int tile = last - 1;
      const int whole = WINDOW ? (oldest(task.at + row / 64 * 64 + 63) + KEYS - 1) / KEYS : end;  // the first tile that all rows see whole
      for (; tile >= max(whole, end); tile--) step([] {});
      if (WINDOW)
        for (; tile >= end; tile--) step([&]() { mask(tile); });
      release(&shared.queryEmpty);
      barrier_wait(&shared.valueFull[value.at], value.parity);
      wgmma_fence();
      start_product();
      wgmma_wait<0>(acc);
      release(&shared.valueEmpty[value.at]);
      value.next();

      // The result leaves through the warp's rows of `os`, in whole rows.
      char* out = os + row * PITCH;
      float each[2];
      const size_t first = (size_t)(task.first + task.at + row);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float total = warp_sum<4>(sum[h]);
        const int r = lane / 4 + 8 * h;
        each[h] = 1 / total;
        if (lse && lane % 4 == 0 && row + r < task.count) lse[(first + r) * H + task.head] = top[h] * scale + log_(total);
      }
#pragma unroll
      for (int n = 0; n < D / 16; n++) {
        unsigned pieces[4];
#pragma unroll
        for (int e = 0; e < 4; e++) pieces[e] = pack2(acc[8 * n + 2 * e] * each[e % 2], acc[8 * n + 2 * e + 1] * each[e % 2]);
        stmatrix_x4(place(out, lane % 16, 2 * n + lane / 16), pieces);
      }
      sync_warp();
#pragma unroll
      for (int i = lane; i < 16 * (D / 8); i += 32) {
        const int r = i / (D / 8), c = i % (D / 8);
        if (row + r < task.count) storev(o + ((first + r) * H + task.head) * D + c * 8, loadv<8>((const T*)place(out, r, c)));
      }
      sync_warp();
    }
  }
}
