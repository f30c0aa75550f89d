// Pieces of memory-bound kernels: packs of neighbouring elements, rows shared by the lanes of a group, and the sequence
// that a token belongs to.
#pragma once

#include "gojet.cuh"

// Pack is N neighbouring elements as they lie in memory, read and written by accesses as wide as their bytes can be
// divided into, up to 16. Addresses must be aligned to that.
template <class E, int N> struct Pack {
  static constexpr int BYTES = N * int(sizeof(E));
  static constexpr int ACCESS = BYTES % 16 == 0 ? 16 : BYTES % 8 == 0 ? 8 : BYTES % 4 == 0 ? 4 : int(sizeof(E));
  static constexpr int COUNT = ACCESS / int(sizeof(E));
  Vec<E, COUNT> part[N / COUNT];

  GOJET_FN float operator[](int i) const { return float(part[i / COUNT].v[i % COUNT]); }
  GOJET_FN void set(int i, float x) { part[i / COUNT].v[i % COUNT] = E(x); }

  GOJET_FN void read(const E* p) {
#pragma unroll
    for (int i = 0; i < N / COUNT; i++) part[i] = loadv<COUNT>(p + i * COUNT);
  }
  GOJET_FN void write(E* p) const {
#pragma unroll
    for (int i = 0; i < N / COUNT; i++) storev(p + i * COUNT, part[i]);
  }
  // read_once and write_once are for memory that the kernel does not touch again and that is too large for the caches.
  GOJET_FN void read_once(const E* p) {
#pragma unroll
    for (int i = 0; i < N / COUNT; i++) part[i] = loadv_once<COUNT>(p + i * COUNT);
  }
  GOJET_FN void write_once(E* p) const {
#pragma unroll
    for (int i = 0; i < N / COUNT; i++) storev_once(p + i * COUNT, part[i]);
  }
  GOJET_FN void clear() {
#pragma unroll
    for (int i = 0; i < N; i++) set(i, 0.f);
  }
};

// Row is the share that one of OF threads has in a row of N elements: packs of EACH, OF packs apart.
template <class E, int N, int EACH, int OF> struct Row {
  static constexpr int PACKS = N / EACH;
  static constexpr int COUNT = (PACKS + OF - 1) / OF;
  static_assert(N % EACH == 0, "a row is whole packs");
  Pack<E, EACH> part[COUNT];

  // has says whether pack i of a lane lies inside the row.
  static GOJET_FN bool has(int lane, int i) { return PACKS % OF == 0 || lane + i * OF < PACKS; }
  // at is where it begins.
  static GOJET_FN int at(int lane, int i) { return (lane + i * OF) * EACH; }

  // read reads the lane's share; what lies outside the row is zero.
  GOJET_FN void read(const E* row, int lane) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      if (has(lane, i))
        part[i].read(row + at(lane, i));
      else
        part[i].clear();
    }
  }
  GOJET_FN void write(E* row, int lane) const {
#pragma unroll
    for (int i = 0; i < COUNT; i++)
      if (has(lane, i)) part[i].write(row + at(lane, i));
  }
};

// row_sum adds v over the OF threads, a power of two, that share a row. Where that is more than a warp, all threads of
// the block must call it, and scratch is a float for each of its warps.
template <int OF> GOJET_FN float row_sum(float v, float* scratch) {
  v = warp_sum<(OF < 32 ? OF : 32)>(v);
  if constexpr (OF > 32) {
    const int warp = threadIdx.x / 32, first = threadIdx.x / OF * (OF / 32);
    sync_block(); // the sum before this one has been read
    if (threadIdx.x % 32 == 0) scratch[warp] = v;
    sync_block();
    v = 0;
#pragma unroll
    for (int i = 0; i < OF / 32; i++) v += scratch[first + i];
  }
  return v;
}

// Place is the sequence around a token. Tokens before and after all sequences are in sequences -1 and S, which are outside.
struct Place {
  const int* cu; // [S+1]
  int S;
  int s;      // the sequence
  int lo, hi; // its tokens

  // find goes to token t.
  GOJET_FN void find(int t) {
    int a = 0, b = S + 1; // cu[i] <= t for i < a, cu[i] > t for i >= b
    while (a < b) {
      const int m = (a + b) / 2;
      if (cu[m] <= t)
        a = m + 1;
      else
        b = m;
    }
    s = a - 1;
    lo = s < 0 ? 0 : cu[s];
    hi = s < S ? cu[s + 1] : 0x7fffffff;
  }
  // next goes on to the sequence that begins at token hi.
  GOJET_FN void next() {
    lo = hi;
    do {
      s++;
      hi = s < S ? cu[s + 1] : 0x7fffffff;
    } while (hi <= lo);
  }
  GOJET_FN bool inside() const { return s >= 0 && s < S; }
};
