// Root mean square norm, plain and gated. Activations are of type ELEMENT, weights float.
//
// LANES threads share a row of FEATURES, which stays in their registers: x is read once. PACK is how many neighbouring
// features a thread takes at a time; GATED is the form with silu(gate), ADDED that of the sum of two terms, SUM that with
// dw.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int D = FEATURES, VEC = PACK;

constexpr int THREADS = LANES > 256 ? LANES : 256;
constexpr int GROUPS = THREADS / LANES;  // rows at a time
typedef Row<T, D, VEC, LANES> Share;
constexpr int EACH = Share::COUNT * VEC;  // features of a thread

// scale is rsqrt(mean(x²) + eps).
GOJET_FN float scale(float squares, float eps) { return rsqrt_(squares * (1.f / D) + eps); }

// forward sets y [rows, D]. With ADDED, x is the first term and term the other; their sum goes to total where that is not
// null, and the norm is that of the sum as it is stored.
extern "C" __global__ void __launch_bounds__(THREADS) forward(T* y, T* total, const T* x, const T* term, const float* w, const T* gate, int rows, float eps) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % LANES, row = blockIdx.x * GROUPS + threadIdx.x / LANES;
  const long long at = (long long)min(row, rows - 1) * D;
  Share in, g;
  in.read(x + at, lane);
  if constexpr (ADDED) {
    Share other;
    other.read(term + at, lane);
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
      for (int j = 0; j < VEC; j++) in.part[i].set(j, in.part[i][j] + other.part[i][j]);
  }
  if constexpr (GATED) g.read(gate + at, lane);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
    for (int j = 0; j < VEC; j++) squares += in.part[i][j] * in.part[i][j];
  const float r = scale(row_sum<LANES>(squares, scratch), eps);
  if (ADDED && total && row < rows) in.write(total + at, lane);
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++) {
    if (!Share::has(lane, i)) continue;
    Pack<float, VEC> weight;
    weight.read(w + Share::at(lane, i));
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      float v = in.part[i][j] * r * weight[j];
      if constexpr (GATED) v *= silu(g.part[i][j]);
      in.part[i].set(j, v);
    }
  }
  if (row < rows) in.write(y + at, lane);
}

// The backward pass keeps the weights in shared memory where they are few, and as many rows on their way from memory as
// registers allow: a thread holds its share of x, dy and gate as they are stored, and its sums for dw. What else reaches x
// waits in shared memory, where copies bring it that do not hold the thread up.
constexpr bool NEAR = D <= 2048;
constexpr bool COPIED = ADDED && sizeof(T) == 2 && VEC == 8;
constexpr int HELD = EACH * (2 + GATED) * int(sizeof(T)) / 4 + (SUM ? EACH : 0) + 32;  // registers, about
constexpr int BLOCKS = 65536 / THREADS / HELD < 1 ? 1 : 65536 / THREADS / HELD > 8 ? 8 : 65536 / THREADS / HELD;

// backward sets dx and dgate [rows, D] where they are not null and, with SUM, part [blocks, D]: the sums for dw of the
// rows of each block. With n = x·r and u = dy·w·silu(gate): dx = r·(u − n·mean(u·n)), dw = Σ dy·n·silu(gate),
// dgate = dy·n·w·silu'(gate). With ADDED, dx begins with more [rows, D].
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    backward(T* dx, float* part, T* dgate, const T* dy, const T* more, const T* x, const float* w, const T* gate, int rows, float eps) {
  __shared__ float scratch[2][32];
  __shared__ alignas(16) float weights[NEAR ? D : 1];
  __shared__ alignas(16) T waiting[COPIED ? THREADS * EACH : 1];
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  T* const mine = waiting + (COPIED ? threadIdx.x * 8 : 0);  // and every THREADS·8 elements from there
  const float* weight = w;
  if constexpr (NEAR) {
    for (int d = threadIdx.x; d < D; d += THREADS) weights[d] = w[d];
    sync_block();
    weight = weights;
  }
  float dw[Share::COUNT][VEC] = {};
#pragma unroll 1
  for (int first = blockIdx.x * GROUPS; first < rows; first += gridDim.x * GROUPS) {
    const int row = first + group;
    const long long at = (long long)min(row, rows - 1) * D;
    Share in, out, g;
    in.read(x + at, lane);
    out.read(dy + at, lane);
    if constexpr (GATED) g.read(gate + at, lane);
    if constexpr (COPIED) {
#pragma unroll
      for (int i = 0; i < Share::COUNT; i++)
        if (Share::has(lane, i)) cp_async16(mine + i * THREADS * 8, more + at + Share::at(lane, i));
      cp_async_commit();
    }
    float squares = 0, along = 0;
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      if (!Share::has(lane, i)) continue;
      Pack<float, VEC> by;
      by.read(weight + Share::at(lane, i));
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        float u = out.part[i][j] * by[j];
        if constexpr (GATED) u *= silu(g.part[i][j]);
        squares += in.part[i][j] * in.part[i][j];
        along += u * in.part[i][j];
      }
    }
    squares = row_sum<LANES>(squares, scratch[0]);
    along = row_sum<LANES>(along, scratch[1]);
    const float r = scale(squares, eps), slope = along * r * r * (1.f / D);  // n·slope = n·mean(u·n)·r
    const float counted = row < rows;
    if constexpr (COPIED) cp_async_wait<0>();
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      if (!Share::has(lane, i)) continue;
      Pack<float, VEC> by;
      by.read(weight + Share::at(lane, i));
      Pack<T, VEC> base;
      if constexpr (COPIED)
        base.read(mine + i * THREADS * 8);
      else if constexpr (ADDED)
        base.read(more + at + Share::at(lane, i));
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        const float n = in.part[i][j] * r;
        float e = out.part[i][j];  // dy·silu(gate)
        if constexpr (GATED) {
          const float a = g.part[i][j], s = sigmoid(a);
          g.part[i].set(j, e * by[j] * s * (1 + a * (1 - s)) * n);
          e *= a * s;
        }
        if constexpr (SUM) dw[i][j] += counted * e * n;
        float v = r * (e * by[j]) - n * slope;
        if constexpr (ADDED) v += base[j];
        in.part[i].set(j, v);
      }
    }
    if (row >= rows) continue;
    if (dx) in.write(dx + at, lane);
    if (GATED && dgate) g.write(dgate + at, lane);
  }
  if constexpr (SUM) {
    // Group after group adds its sums to those of the ones before.
    __shared__ float sum[GROUPS > 1 ? D : 1];
    float* const to = part + (long long)blockIdx.x * D;
#pragma unroll 1
    for (int k = 0; k < GROUPS; k++) {
      sync_block();
      if (k != group) continue;
#pragma unroll
      for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
        for (int j = 0; j < VEC; j++) {
          if (!Share::has(lane, i)) continue;
          const int d = Share::at(lane, i) + j;
          const float total = (k > 0 ? sum[d] : 0.f) + dw[i][j];
          if (k == GROUPS - 1)
            to[d] = total;
          else
            sum[d] = total;
        }
    }
  }
}
