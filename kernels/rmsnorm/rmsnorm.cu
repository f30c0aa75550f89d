// Root mean square norm, plain and gated. Activations are of type ELEMENT, weights float.
//
// LANES threads share a row of FEATURES, which stays in their registers: x is read once. PACK is how many neighbouring
// features a thread takes at a time. GATED is the form with silu(gate), ADDED that of the sum of two terms. A
// block has BLOCK threads.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int D = FEATURES, VEC = PACK, THREADS = BLOCK;
constexpr int GROUPS = THREADS / LANES;  // rows at a time
typedef Row<T, D, VEC, LANES> Share;

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

// The backward pass, with dw if SUM. What it must remember while it adds up a row, x, dy and the gate, stands in registers as it
// is stored; of wide rows, which would fill them, it stands in shared memory, where STAGES buffers of a row for each of its
// threads are filled by copies that go on while the row before is computed. A thread reads back what it copied itself, and so
// none waits for another. RESIDENT blocks are to fit on a processor.
#ifdef STAGES
constexpr int INPUTS = 2 + GATED + ADDED;               // x, dy, gate, more
constexpr int STAGE = THREADS * Share::COUNT * VEC;     // elements of a buffer of one input
constexpr bool NEAR = D <= 2048;                        // the weights fit into shared memory

// Inputs are a thread's shares of a row.
struct Inputs {
  Share x, dy, gate;
  T* staged;  // pack i of input k is at (k·COUNT + i)·THREADS·VEC

  GOJET_FN T* slot(int k, int i) const { return staged + (k * Share::COUNT + i) * THREADS * VEC; }

  // fetch begins to copy a row to shared memory.
  GOJET_FN void fetch(const T* const* from, long long at, int lane) const {
#pragma unroll
    for (int k = 0; k < INPUTS; k++)
#pragma unroll
      for (int i = 0; i < Share::COUNT; i++)
        if (Share::has(lane, i)) cp_async16(slot(k, i), from[k] + at + Share::at(lane, i));
  }

  // get is pack i of one of the first inputs, which are x, dy and gate.
  GOJET_FN Pack<T, VEC> get(int k, int i) const {
    if constexpr (STAGES > 0) {
      Pack<T, VEC> p;
      p.read(slot(k, i));
      return p;
    }
    return k == 0 ? x.part[i] : k == 1 ? dy.part[i] : gate.part[i];
  }
};

// backward sets dx and dgate [rows, D] where they are not null and, with SUM, part [blocks, D]: the sums for dw of the
// rows of each block. With n = x·r and u = dy·w·silu(gate): dx = r·(u − n·mean(u·n)), dw = Σ dy·n·silu(gate),
// dgate = dy·n·w·silu'(gate). With ADDED, more [rows, D] is added to dx.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    backward(T* dx, float* part, T* dgate, const T* dy, const T* more, const T* x, const float* w, const T* gate, int rows, float eps) {
  __shared__ float scratch[2][32];
  __shared__ alignas(16) float near[NEAR ? D : 1];
  SHARED(arena);
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  const T* const from[4] = {x, dy, GATED ? gate : more, more};
  const float* weights = w;
  if constexpr (NEAR) {
    for (int d = threadIdx.x; d < D; d += THREADS) near[d] = w[d];
    sync_block();
    weights = near;
  }
  float dw[Share::COUNT][VEC] = {};
  Inputs in;
  T* const stages = reinterpret_cast<T*>(arena) + threadIdx.x * VEC;
  const int step = gridDim.x * GROUPS;
  int row = blockIdx.x * GROUPS + group, stage = 0;
  in.staged = stages;
  if constexpr (STAGES > 0) {
    if (row < rows) in.fetch(from, (long long)row * D, lane);
    cp_async_commit();
  }
#pragma unroll 1
  for (int first = blockIdx.x * GROUPS; first < rows; first += step, row += step) {
    const bool counted = row < rows;
    const long long at = (long long)(counted ? row : rows - 1) * D;
    if constexpr (STAGES > 0) {
      if (STAGES > 1) {
        in.staged = stages + (stage ^ 1) * INPUTS * STAGE;
        if (row + step < rows) in.fetch(from, (long long)(row + step) * D, lane);
        cp_async_commit();
      }
      in.staged = stages + stage * INPUTS * STAGE;
      cp_async_wait<(STAGES > 1)>();
    } else {
      in.x.read(x + at, lane);
      in.dy.read(dy + at, lane);
      if constexpr (GATED) in.gate.read(gate + at, lane);
    }
    float squares = 0, along = 0;
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      if (!Share::has(lane, i)) continue;
      const Pack<T, VEC> a = in.get(0, i), b = in.get(1, i);
      Pack<T, VEC> c;
      if constexpr (GATED) c = in.get(2, i);
      Pack<float, VEC> by;
      by.read(weights + Share::at(lane, i));
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        float u = b[j] * by[j];
        if constexpr (GATED) u *= silu(c[j]);
        squares += a[j] * a[j];
        along += u * a[j];
      }
    }
    squares = row_sum<LANES>(squares, scratch[0]);
    along = row_sum<LANES>(along, scratch[1]);
    const float r = scale(squares, eps), slope = along * r * r * (1.f / D);
    sync_warp();  // what follows reads shared memory anew instead of keeping it in registers
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      if (!Share::has(lane, i)) continue;
      const Pack<T, VEC> a = in.get(0, i), b = in.get(1, i);
      Pack<T, VEC> c, base, out;
      if constexpr (GATED) c = in.get(2, i);
      if constexpr (ADDED && STAGES > 0)
        base = in.get(2 + GATED, i);
      else if constexpr (ADDED)
        base.read(more + at + Share::at(lane, i));
      Pack<float, VEC> by;
      by.read(weights + Share::at(lane, i));
#pragma unroll
      for (int j = 0; j < VEC; j++) {
        const float n = a[j] * r;
        float e = b[j];  // dy·silu(gate)
        if constexpr (GATED) {
          const float z = c[j], s = sigmoid(z);
          c.set(j, e * by[j] * s * (1 + z * (1 - s)) * n);
          e *= z * s;
        }
        if (SUM && counted) dw[i][j] += e * n;
        float v = r * (e * by[j]) - n * slope;
        if constexpr (ADDED) v += base[j];
        out.set(j, v);
      }
      if (!counted) continue;
      if (dx) out.write(dx + at + Share::at(lane, i));
      if (GATED && dgate) c.write(dgate + at + Share::at(lane, i));
    }
    if constexpr (STAGES == 1) {
      if (row + step < rows) in.fetch(from, (long long)(row + step) * D, lane);
      cp_async_commit();
    }
    stage ^= STAGES > 1;
  }
  if constexpr (SUM) {
    // The groups lay their sums side by side, where the copies were; those are added in the order of the groups.
    float* const sums = reinterpret_cast<float*>(arena);
    float* const to = part + (long long)blockIdx.x * D;
    if (GROUPS > 1) sync_block();
#pragma unroll
    for (int i = 0; i < Share::COUNT; i++) {
      if (!Share::has(lane, i)) continue;
      Pack<float, VEC> p;
#pragma unroll
      for (int j = 0; j < VEC; j++) p.set(j, dw[i][j]);
      p.write((GROUPS > 1 ? sums + group * D : to) + Share::at(lane, i));
    }
    if (GROUPS == 1) return;
    sync_block();
    for (int d = threadIdx.x; d < D; d += THREADS) {
      float total = sums[d];
#pragma unroll
      for (int k = 1; k < GROUPS; k++) total += sums[k * D + d];
      to[d] = total;
    }
  }
}
#endif
