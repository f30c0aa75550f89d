// The gradients of several products y_i = x·w_iᵀ with one input with respect to the weights: dw_i = g_iᵀ·x [out_i, K], where
// g_i [N, out_i] is that of y_i, for up to 8 parts; x [N, K]. See product.cuh.
//
// Each warpgroup's 64 rows of a tile are of one part: they go to parts one after the other, as many to each as its rows need.
// The contraction goes over all tokens, so a tile takes long, and those that are left when all processors have had as many
// as each other would take as long again with most processors idle: they are cut into `pieces` of the contraction, whose
// sums go to `partial` as the registers have them, for grouped_weight_sums.

struct Part {
  const TensorMap* g;
  T* dw;
  int out;
};

struct Parts {
  Part part[8];
  int count, down, across, whole;  // tiles of rows and columns, and how many are not cut
  // at finds the part of 64 rows and the first of them there, or null.
  GOJET_FN const Part* at(int rows, int& row) const {
    for (int i = 0; i < count; i++) {
      const int taken = (part[i].out + 63) / 64;
      if (rows < taken) {
        row = rows * 64;
        return part + i;
      }
      rows -= taken;
    }
    row = 0;
    return nullptr;
  }
};

// Units are what a block does: whole tiles, then pieces of tiles.
struct Units {
  Walk tile;
  int unit, whole, pieces, steps;
  int from, to;  // steps of the contraction
  GOJET_FN Units(const Parts& p, int pieces, int steps)
      : tile(p.down * ROWS, p.across), unit(blockIdx.x), whole(p.whole), pieces(pieces), steps(steps) {
    find();
  }
  GOJET_FN void find() {
    const int piece = unit < whole ? 0 : (unit - whole) % pieces, of = unit < whole ? 1 : pieces;
    tile.index = unit < whole ? unit : whole + (unit - whole) / pieces;
    tile.find();
    from = steps * piece / of;
    to = steps * (piece + 1) / of;
  }
  GOJET_FN bool more() const { return tile.more(); }
  GOJET_FN void next() {
    unit += gridDim.x;
    find();
  }
};

#define MAP(i) const __grid_constant__ TensorMap g##i
#define RESULT(i) T *dw##i, int o##i
#define RESULTS RESULT(0), RESULT(1), RESULT(2), RESULT(3), RESULT(4), RESULT(5), RESULT(6), RESULT(7)

GOJET_FN void tiles(Parts& p, int count, int whole, int K) {
  int rows = 0;
  for (int i = 0; i < count; i++) rows += (p.part[i].out + 63) / 64;
  p.count = count;
  p.down = (rows + 1) / 2;
  p.across = (K + COLUMNS - 1) / COLUMNS;
  p.whole = whole;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    grouped_weight(const __grid_constant__ TensorMap x, MAP(0), MAP(1), MAP(2), MAP(3), MAP(4), MAP(5), MAP(6), MAP(7), RESULTS, float4* partial, int whole,
                   int pieces, int count, int N, int K) {
  SHARED(memory);
  __shared__ Parts parts;
  if (threadIdx.x == 0) {
#define SET(i) parts.part[i] = {&g##i, dw##i, o##i};
    SET(0) SET(1) SET(2) SET(3) SET(4) SET(5) SET(6) SET(7)
#undef SET
    tiles(parts, count, whole, K);
  }
  Ring ring(memory);
  Desk desk(memory);
  const int steps = (N + STEP - 1) / STEP;
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      tma_prefetch(&x);
      for (int i = 0; i < count; i++) tma_prefetch(parts.part[i].g);
      for (Units at(parts, pieces, steps); at.more(); at.next()) {
        const TensorMap* map[2];
        int first[2], bytes = SLOTS * BOX;
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const Part* part = parts.at(at.tile.m * 2 + h, first[h]);
          map[h] = part ? part->g : nullptr;
          if (part) bytes += BOX;
        }
        for (int k = at.from; k < at.to; k++) {
          Barrier* full = ring.claim(bytes);
#pragma unroll
          for (int h = 0; h < 2; h++)
            if (map[h]) tma_load(ring.stage() + h * BOX, map[h], first[h], k * STEP, full);
#pragma unroll
          for (int s = 0; s < SLOTS; s++) load_slot(ring.stage(), s, &x, at.tile.n * COLUMNS + s * 64, k * STEP, full);
          ring.next();
        }
      }
    }
  } else if (role() == FINISHES) {
    for (Units at(parts, pieces, steps); at.more() && at.unit < whole; at.next()) {
      constexpr int strips = ROWS / 16 * SLOTS;
#pragma unroll 1
      for (int t = desk.first(); t < strips; t += FINISHERS) {
        desk.turn(t, strips);
        int first;
        const Part* part = parts.at(at.tile.m * 2 + desk.half, first);
        if (!part) continue;
        const int slot = t / 4 % SLOTS, column = at.tile.n * COLUMNS + slot * 64 + desk.column(), out = part->out;
        T* dw = part->dw;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int row = first + desk.row(t, i);
          const Piece v = desk.piece(t, slot, i);
          if (row < out && column < K) put(dw + (long long)row * K + column, v);
        }
      }
      desk.done();
    }
  } else {
    for (Units at(parts, pieces, steps); at.more(); at.next()) {
      float acc[COLUMNS / 2];
      multiply<1, 1>(acc, ring, at.to - at.from);
      if (at.unit < whole) {
        desk.lay(acc);
        continue;
      }
      float4* to = partial + (long long)(at.unit - whole) * (COLUMNS / 8 * 256) + threadIdx.x - 128;
#pragma unroll
      for (int j = 0; j < COLUMNS / 8; j++) to[j * 256] = make_float4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
    }
  }
}

// grouped_weight_sums adds up the pieces of tiles: a thread has what one thread of a warpgroup had, of 8 columns.
extern "C" __global__ void __launch_bounds__(256)
    grouped_weight_sums(RESULTS, const float4* partial, int whole, int pieces, int count, int K) {
  __shared__ Parts parts;
  if (threadIdx.x == 0) {
#define SET(i) parts.part[i] = {nullptr, dw##i, o##i};
    SET(0) SET(1) SET(2) SET(3) SET(4) SET(5) SET(6) SET(7)
    tiles(parts, count, whole, K);
  }
  sync_block();
  Walk tile(parts.down * ROWS, parts.across);
  const int j = blockIdx.x % (COLUMNS / 8), at = blockIdx.x / (COLUMNS / 8), thread = threadIdx.x;
  tile.index = whole + at;
  tile.find();
  int first;
  const Part* part = parts.at(tile.m * 2 + thread / 128, first);
  if (!part) return;
  const int row = first + thread % 128 / 32 * 16 + thread % 32 / 4, column = tile.n * COLUMNS + 8 * j + thread % 4 * 2;
  float4 sum = make_float4(0, 0, 0, 0);
  for (int p = 0; p < pieces; p++) {
    const float4 v = partial[((long long)(at * pieces + p) * (COLUMNS / 8) + j) * 256 + thread];
    sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
  }
  if (column >= K) return;
  unsigned* to = (unsigned*)(part->dw + (long long)row * K + column);
  if (row < part->out) to[0] = pack2(sum.x, sum.y);
  if (row + 8 < part->out) to[(long long)8 * K / 2] = pack2(sum.z, sum.w);
}
