// Several products with one input x [N, K]: y_i = act_i(x·w_iᵀ + bias_i) [N, out_i], before_i the same before the activation,
// for up to 8 parts w_i [out_i, K]. See product.cuh.
//
// The slots of a tile go to parts one after the other: each part takes as many as its columns need, and what is left of its
// last one is wasted. So parts of a few columns share a tile. Any of y_i, before_i, bias_i may be null; silu has a bit for
// each part. Biases are whole pieces of 16 bytes, and come with the first stage of a tile.

struct Part {
  const TensorMap* w;
  T *y, *before;
  const float* bias;
  int out, silu, whole;  // whole: its rows are whole pieces of 16 bytes
  GOJET_FN int bias_bytes(int column) const { return bias ? min(64, out - column) * 4 : 0; }
};

struct Parts {
  Part part[8];
  int count, slots, biased;
  // at finds the part of a slot and its first column there, or null.
  GOJET_FN const Part* at(int slot, int& column) const {
    for (int i = 0; i < count; i++) {
      const int taken = (part[i].out + 63) / 64;
      if (slot < taken) {
        column = slot * 64;
        return part + i;
      }
      slot -= taken;
    }
    column = 0;
    return nullptr;
  }
};

// put writes a piece, or its first columns where rows are not whole pieces.
GOJET_FN void put(T* to, const Piece& v, int columns, bool whole) {
  if (whole) {
    put(to, v);
    return;
  }
#pragma unroll
  for (int k = 0; k < 8; k++)
    if (k < columns) to[k] = bf16(k % 2 ? unpack2(v[k / 2]).y : unpack2(v[k / 2]).x);
}

#define MAP(i) const __grid_constant__ TensorMap w##i
#define RESULT(i) T *y##i, T *p##i, const float *b##i, int o##i

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    grouped(const __grid_constant__ TensorMap x, MAP(0), MAP(1), MAP(2), MAP(3), MAP(4), MAP(5), MAP(6), MAP(7), RESULT(0), RESULT(1), RESULT(2), RESULT(3),
            RESULT(4), RESULT(5), RESULT(6), RESULT(7), int silu, int count, int N, int K) {
  SHARED(memory);
  __shared__ Parts parts;
  if (threadIdx.x == 0) {
#define SET(i) parts.part[i] = {&w##i, y##i, p##i, b##i, o##i, silu >> i & 1, (((size_t)y##i | (size_t)p##i) & 15 | o##i & 7) == 0};
    SET(0) SET(1) SET(2) SET(3) SET(4) SET(5) SET(6) SET(7)
    parts.count = count;
    parts.slots = parts.biased = 0;
    for (int i = 0; i < count; i++) {
      parts.slots += (parts.part[i].out + 63) / 64;
      if (parts.part[i].bias) parts.biased = 1;
    }
  }
  Ring ring(memory);
  Desk desk(memory);
  float* biases = (float*)(memory + WITH_TILES);  // COLUMNS of each of TILES
  int tile = 0;                                       // among them
  const int steps = (K + STEP - 1) / STEP, across = (parts.slots + SLOTS - 1) / SLOTS;
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      tma_prefetch(&x);
      for (int i = 0; i < count; i++) tma_prefetch(parts.part[i].w);
      for (Walk at(N, across); at.more(); at.next()) {
        const TensorMap* map[SLOTS];
        int first[SLOTS], bytes = LEFT, more = 0;
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
          const Part* part = parts.at(at.n * SLOTS + s, first[s]);
          map[s] = part ? part->w : nullptr;
          if (part) bytes += BOX, more += part->bias_bytes(first[s]);
        }
        for (int k = 0; k < steps; k++) {
          Barrier* full = ring.claim(k == 0 ? bytes + more : bytes);
          if (k == 0 && more > 0) {
            for (int s = 0; s < SLOTS; s++) {
              int column;
              const Part* part = parts.at(at.n * SLOTS + s, column);
              if (part && part->bias) bulk_load(biases + tile * COLUMNS + s * 64, part->bias + column, part->bias_bytes(column), full);
            }
          }
          load_left(ring.stage(), &x, k * STEP, at.m, full);
#pragma unroll
          for (int s = 0; s < SLOTS; s++)
            if (map[s]) load_slot(ring.stage(), s, map[s], k * STEP, first[s], full);
          ring.next();
        }
        tile = (tile + 1) % TILES;
      }
    }
  } else if (role() == FINISHES) {
    for (Walk at(N, across); at.more(); at.next()) {
      constexpr int strips = ROWS / 16 * SLOTS;
#pragma unroll 1
      for (int t = desk.first(); t < strips; t += FINISHERS) {
        desk.turn(t, strips);
        int column;
        const int slot = t / 4 % SLOTS;
        const Part* part = parts.at(at.n * SLOTS + slot, column);
        if (!part) continue;
        column += desk.column();
        const int out = part->out, columns = min(8, out - column);
        const bool active = part->silu, whole = part->whole;
        T *y = part->y, *before = part->before;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int row = at.m * ROWS + desk.half * 64 + desk.row(t, i);
          const long long to = (long long)row * out + column;
          Piece v = desk.piece(t, slot, i);
          if (row >= N || column >= out) continue;
          if (before) put(before + to, v, columns, whole);
          if (active) {
#pragma unroll
            for (int e = 0; e < 4; e++) v[e] = silu2(v[e]);
          }
          if (y) put(y + to, v, columns, whole);
        }
      }
      desk.done();
    }
  } else {
    for (Walk at(N, across); at.more(); at.next()) {
      float acc[COLUMNS / 2];
      multiply<0, 0>(acc, ring, steps);
      if (parts.biased) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
          int column;
          const Part* part = parts.at(at.n * SLOTS + s, column);
          if (!part || !part->bias) continue;
#pragma unroll
          for (int j = 0; j < 8; j++) {
            const float2 b = *(const float2*)(biases + tile * COLUMNS + s * 64 + j * 8 + lane_id() % 4 * 2);
            float* d = acc + 32 * s + 4 * j;
            d[0] += b.x, d[1] += b.y, d[2] += b.x, d[3] += b.y;
          }
        }
      }
      tile = (tile + 1) % TILES;
      desk.lay(acc);
    }
  }
}
