// Root mean square norm, plain and gated. Activations are of type ELEMENT, weights float.
//
// LANES threads share a row of FEATURES, which stays in their registers: x is read once. PACK is how many neighbouring
// features a thread takes at a time; GATED is the form with silu(gate), SUM that with dw.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int D = FEATURES, VEC = PACK;

constexpr int THREADS = LANES > 256 ? LANES : 256;
constexpr int GROUPS = THREADS / LANES;  // rows at a time
typedef Row<T, D, VEC, LANES> Share;

// scale is rsqrt(mean(x²) + eps).
GOJET_FN float scale(float squares, float eps) { return rsqrt_(squares * (1.f / D) + eps); }

// forward sets y [rows, D].
extern "C" __global__ void __launch_bounds__(THREADS) forward(T* y, const T* x, const float* w, const T* gate, int rows, float eps) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % LANES, row = blockIdx.x * GROUPS + threadIdx.x / LANES;
  const long long at = (long long)min(row, rows - 1) * D;
  Share in, g;
  in.read(x + at, lane);
  if constexpr (GATED) g.read(gate + at, lane);
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
    for (int j = 0; j < VEC; j++) squares += in.part[i][j] * in.part[i][j];
  const float r = scale(row_sum<LANES>(squares, scratch), eps);
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

// backward sets dx and dgate [rows, D] where they are not null and, with SUM, part [blocks, D]: the sums for dw of the
// rows of each block. With n = x·r and u = dy·w·silu(gate): dx = r·(u − n·mean(u·n)), dw = Σ dy·n·silu(gate),
// dgate = dy·n·w·silu'(gate).
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* dx, float* part, T* dgate, const T* dy, const T* x, const float* w, const T* gate, int rows, float eps) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  float dw[Share::COUNT][VEC] = {};
  for (int first = blockIdx.x * GROUPS; first < rows; first += gridDim.x * GROUPS) {
    const int row = first + group;
    const float mine = row < rows;
    const long long at = (long long)min(row, rows - 1) * D;
    Share in, out, g;
    in.read(x + at, lane);
    out.read(dy + at, lane);
    if constexpr (GATED) g.read(gate + at, lane);
    float e[Share::COUNT][VEC], u[Share::COUNT][VEC], v[Share::COUNT][VEC];  // dy·silu(gate), that times w, dgate/n
    float squares = 0, along = 0;
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      Pack<float, VEC> weight;
      if (Share::has(lane, i))
        weight.read(w + Share::at(lane, i));
      else
        weight.clear();
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        e[i][j] = out.part[i][j];
        if constexpr (GATED) {
          const float a = g.part[i][j], s = sigmoid(a);
          v[i][j] = e[i][j] * weight[j] * s * (1 + a * (1 - s));
          e[i][j] *= a * s;
        }
        u[i][j] = e[i][j] * weight[j];
        squares += in.part[i][j] * in.part[i][j];
        along += u[i][j] * in.part[i][j];
      }
    }
    const float r = scale(row_sum<LANES>(squares, scratch), eps);
    const float mean = row_sum<LANES>(along, scratch) * r * (1.f / D);
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        const float n = in.part[i][j] * r;
        if constexpr (SUM) dw[i][j] += mine * e[i][j] * n;
        if constexpr (GATED) g.part[i].set(j, v[i][j] * n);
        in.part[i].set(j, r * (u[i][j] - n * mean));
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
