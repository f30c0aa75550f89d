// What the kernels of the backward of attention share: statistics of the query rows, and for the fused kernel the order of
// its work.
//
//   P = exp(scale·q·k − lse)   dS = P ∘ (do·v − do·o)   dv = Pᵀ·do   dk = scale·dSᵀ·q   dq = scale·dS·k
//
// Constants: D (features of a head), H and KV (heads), WINDOW (keys that a query sees, 0 for all), SCALE (of the scores),
// here also ELEMENT and TILE. Sequences: cu, offsets [S+1] on the device. Tiles are TILE tokens of one sequence, numbered in
// find_chunk's order.
#include "gojet.cuh"

constexpr float kLog2e = 1.4426950408889634f;
constexpr int kRows = 16; // tokens of a block
constexpr int kKeys = 128; // keys of an item of the fused kernel
constexpr int kVector = D % (16 / sizeof(ELEMENT)) == 0 ? 16 / sizeof(ELEMENT) : 1;

// lanes is how many threads read a row of n vectors.
constexpr int lanes(int n) {
  int l = 1;
  while (l < n && l < 32) l *= 2;
  return l;
}
constexpr int kLanes = lanes((D + kVector - 1) / kVector);

// order places item number `block` of those that find_chunk counts, kKeys keys of a sequence, among all: those with most
// keys after them first. items[i] is {first token of the sequence, its length, number of its first tile, number of the
// keys in the sequence}; a length of zero marks the places left over.
__device__ void order(int4* items, const int* cu, int S, int block) {
  __shared__ int places[2]; // before the item, tiles before the sequence
  int seq, first, count;
  find_chunk(cu, S, kKeys, block, seq, first, count);
  if (seq < 0) {
    if (threadIdx.x == 0) items[block] = make_int4(0, 0, 0, 0);
    return;
  }
  if (threadIdx.x < 2) places[threadIdx.x] = 0;
  sync_block();
  const int begin = cu[seq], length = cu[seq + 1] - begin, key = (first - begin) / kKeys, after = (length + kKeys - 1) / kKeys - key;
  int place = 0, tile = 0;
  for (int s = threadIdx.x; s < S; s += blockDim.x) {
    const int n = cu[s + 1] - cu[s], all = (n + kKeys - 1) / kKeys;
    place += max(0, all - after) + (s < seq && all >= after);
    if (s < seq) tile += (n + TILE - 1) / TILE;
  }
  if (place) atomicAdd(&places[0], place);
  if (tile) atomicAdd(&places[1], tile);
  sync_block();
  if (threadIdx.x == 0) items[places[0]] = make_int4(begin, length, places[1], key);
}

// Block (tile, part) writes the statistics of 16 query rows, stats [tiles, H, 2, TILE]: lse·log2(e) and do·o, where rows past
// the end of a sequence get a log-sum-exp of infinity, so that their probabilities are zero. It zeroes the rows of the
// results that belong to tokens of no sequence, and the turns [tiles, H]. With items, it orders them and resets the ticket.
extern "C" __global__ void __launch_bounds__(256) attention_backward_prepare(float* stats, const ELEMENT* o, const ELEMENT* dO, const float* lse,
                                                                              const int* cu, int S, int N, ELEMENT* dq, ELEMENT* dk, ELEMENT* dv, int4* items,
                                                                              int itemCount, int* turns, int* ticket) {
  const int tile = blockIdx.x, part = blockIdx.y * kRows;
  int seq, first, count;
  find_chunk(cu, S, TILE, tile, seq, first, count);
  const int lane = threadIdx.x % kLanes;
  if (seq >= 0) {
#pragma unroll 4
    for (int base = 0; base < kRows * H; base += 256 / kLanes) {
      const int item = base + threadIdx.x / kLanes;
      const int row = part + item / H, head = item % H;
      float sum = 0;
      if (item < kRows * H && row < count) {
        const size_t at = ((size_t)(first + row) * H + head) * D;
#pragma unroll
        for (int d = lane * kVector; d < D; d += kLanes * kVector) {
          const auto x = loadv<kVector>(o + at + d), y = loadv<kVector>(dO + at + d);
#pragma unroll
          for (int i = 0; i < kVector; i++) sum = fmaf(float(x.v[i]), float(y.v[i]), sum);
        }
      }
      sum = warp_sum<kLanes>(sum);
      if (lane == 0 && item < kRows * H) {
        float* to = stats + ((size_t)tile * H + head) * 2 * TILE + row;
        to[0] = row < count ? lse[(size_t)(first + row) * H + head] * kLog2e : infinity();
        to[TILE] = sum;
      }
    }
  }
  const int from = cu[0], to = cu[S];
  for (int row = 0; row < kRows; row++) {
    const int token = tile * TILE + part + row;
    if (token >= N || (token >= from && token < to)) continue;
    for (int i = threadIdx.x; i < H * D; i += 256) {
      if (dq) store(dq + (size_t)token * H * D + i, 0.f);
      if (i >= KV * D) continue;
      if (dk) store(dk + (size_t)token * KV * D + i, 0.f);
      if (dv) store(dv + (size_t)token * KV * D + i, 0.f);
    }
  }
  if (!items || blockIdx.y != 0) return;
  for (int h = threadIdx.x; h < H; h += 256) turns[tile * H + h] = 0;
  if (tile == 0 && threadIdx.x == 0) *ticket = 0;
  if (tile < itemCount) order(items, cu, S, tile);
}
