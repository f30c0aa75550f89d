// Several products with one input are one product with their weights on top of each other. These kernels take its result
// [N, TOTAL] apart, with the activations, and put the gradients together again. Every part begins at a multiple of 16
// columns; what is between parts is zero.
//
// Defines: ELEMENT, PARTS, TOTAL, and for each of 8 parts WIDTHS and SILU, lists.
#include "gojet.cuh"

constexpr int width[8] = {WIDTHS};
constexpr bool activated[8] = {SILU};
constexpr int beyond(int w) { return (w + 15) / 16 * 16; }
constexpr int ahead = 4;  // pieces of 8 columns that a thread has under way

struct Pointers {
  ELEMENT* p[8];
};

// part is the number of the part that holds a column, and begin its first column.
__device__ void find(int column, int& part, int& begin) {
  part = 0;
  begin = 0;
  int at = 0;
#pragma unroll
  for (int i = 0; i < PARTS; i++) {
    if (column >= at) {
      part = i;
      begin = at;
    }
    at += beyond(width[i]);
  }
}

template <class F> __device__ void each(long long n, F f) {
  constexpr int across = TOTAL / 8;
  long long first = (long long)blockIdx.x * blockDim.x * ahead + threadIdx.x;
#pragma unroll
  for (int i = 0; i < ahead; i++) {
    long long piece = first + (long long)i * blockDim.x;
    if (piece < n * across) f(piece / across, (int)(piece % across) * 8, i);
  }
}

__device__ ELEMENT* pick(const Pointers& t, int part) {
  ELEMENT* p = t.p[0];
#pragma unroll
  for (int i = 1; i < PARTS; i++)
    if (part == i) p = t.p[i];
  return p;
}

__device__ void chosen(int part, int& wide, bool& silu_here) {
  wide = width[0];
  silu_here = activated[0];
#pragma unroll
  for (int i = 1; i < PARTS; i++)
    if (part == i) {
      wide = width[i];
      silu_here = activated[i];
    }
}

__device__ Vec<ELEMENT, 8> take(const ELEMENT* from, int count, bool whole) {
  if (whole) return loadv_once<8>(from);
  Vec<ELEMENT, 8> v;
#pragma unroll
  for (int k = 0; k < 8; k++) v[k] = k < count ? from[k] : ELEMENT(0.0f);
  return v;
}

__device__ void put(ELEMENT* to, const Vec<ELEMENT, 8>& v, int count, bool whole) {
  if (whole) {
    storev(to, v);
    return;
  }
#pragma unroll
  for (int k = 0; k < 8; k++)
    if (k < count) to[k] = v[k];
}

// split: y of each part, activated, and before the activation where that is wanted.
extern "C" __global__ void __launch_bounds__(256) split(const ELEMENT* cat, long long n, ELEMENT* y0, ELEMENT* y1, ELEMENT* y2, ELEMENT* y3, ELEMENT* y4,
                                                        ELEMENT* y5, ELEMENT* y6, ELEMENT* y7, ELEMENT* p0, ELEMENT* p1, ELEMENT* p2, ELEMENT* p3,
                                                        ELEMENT* p4, ELEMENT* p5, ELEMENT* p6, ELEMENT* p7) {
  Pointers y = {{y0, y1, y2, y3, y4, y5, y6, y7}}, before = {{p0, p1, p2, p3, p4, p5, p6, p7}};
  Vec<ELEMENT, 8> v[ahead];
  each(n, [&](long long row, int column, int i) { v[i] = loadv_once<8>(cat + row * TOTAL + column); });
  each(n, [&](long long row, int column, int i) {
    int part, begin, wide;
    bool active;
    find(column, part, begin);
    chosen(part, wide, active);
    int c = column - begin, count = wide - c;
    long long at = row * wide + c;
    bool whole = wide % 8 == 0 && count >= 8;
    if (active) {
      ELEMENT* p = pick(before, part);
      if (p && count > 0) put(p + at, v[i], count, whole);
#pragma unroll
      for (int k = 0; k < 8; k++) v[i][k] = ELEMENT(silu(float(v[i][k])));
    }
    ELEMENT* to = pick(y, part);
    if (to && count > 0) put(to + at, v[i], count, whole);
  });
}

// join: the gradient [N, TOTAL] from those of the parts, through their activations; a part without one gives zeros.
extern "C" __global__ void __launch_bounds__(256) join(ELEMENT* cat, long long n, const ELEMENT* d0, const ELEMENT* d1, const ELEMENT* d2, const ELEMENT* d3,
                                                       const ELEMENT* d4, const ELEMENT* d5, const ELEMENT* d6, const ELEMENT* d7, const ELEMENT* p0,
                                                       const ELEMENT* p1, const ELEMENT* p2, const ELEMENT* p3, const ELEMENT* p4, const ELEMENT* p5,
                                                       const ELEMENT* p6, const ELEMENT* p7) {
  Pointers dy = {{(ELEMENT*)d0, (ELEMENT*)d1, (ELEMENT*)d2, (ELEMENT*)d3, (ELEMENT*)d4, (ELEMENT*)d5, (ELEMENT*)d6, (ELEMENT*)d7}};
  Pointers before = {{(ELEMENT*)p0, (ELEMENT*)p1, (ELEMENT*)p2, (ELEMENT*)p3, (ELEMENT*)p4, (ELEMENT*)p5, (ELEMENT*)p6, (ELEMENT*)p7}};
  Vec<ELEMENT, 8> v[ahead], x[ahead];
  each(n, [&](long long row, int column, int i) {
    int part, begin, wide;
    bool active;
    find(column, part, begin);
    chosen(part, wide, active);
    int c = column - begin, count = wide - c;
    long long at = row * wide + c;
    bool whole = wide % 8 == 0 && count >= 8;
    const ELEMENT* from = pick(dy, part);
    if (from == nullptr) count = 0, whole = false;
    v[i] = take(from + at, count, whole);
    if (active) x[i] = take(pick(before, part) + at, count, whole);
  });
  each(n, [&](long long row, int column, int i) {
    int part, begin, wide;
    bool active;
    find(column, part, begin);
    chosen(part, wide, active);
    if (active) {
#pragma unroll
      for (int k = 0; k < 8; k++) {
        float z = float(x[i][k]), s = sigmoid(z);
        v[i][k] = ELEMENT(float(v[i][k]) * s * (1.0f + z * (1.0f - s)));
      }
    }
    storev(cat + row * TOTAL + column, v[i]);
  });
}
