// The gradient of several products y_i = x·w_iᵀ with one input with respect to it: dx = Σ g_i·w_i, where g_i [N, out_i] is
// that of y_i and w_i [out_i, K], for up to 8 parts: one contraction through all of them. dx [N, K]. See product.cuh.

struct Part {
  const TensorMap *g, *w;
  int out;
};

#define PART(i) const __grid_constant__ TensorMap g##i, const __grid_constant__ TensorMap w##i, int o##i

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    grouped_input(T* dx, PART(0), PART(1), PART(2), PART(3), PART(4), PART(5), PART(6), PART(7), int count, int N, int K) {
  SHARED(memory);
  __shared__ Part parts[8];
  if (threadIdx.x == 0) {
#define SET(i) parts[i] = {&g##i, &w##i, o##i};
    SET(0) SET(1) SET(2) SET(3) SET(4) SET(5) SET(6) SET(7)
  }
  Ring ring(memory);
  Desk desk(memory);
  const int across = (K + COLUMNS - 1) / COLUMNS;
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < count; i++) tma_prefetch(parts[i].g), tma_prefetch(parts[i].w);
      for (Walk at(N, across); at.more(); at.next())
        for (int i = 0; i < count; i++) {
          const TensorMap *g = parts[i].g, *w = parts[i].w;
          const int out = parts[i].out;
          for (int k = 0; k < out; k += STEP) {
            Barrier* full = ring.claim(STAGE);
            load_left(ring.stage(), g, k, at.m, full);
#pragma unroll
            for (int s = 0; s < SLOTS; s++) load_slot(ring.stage(), s, w, at.n * COLUMNS + s * 64, k, full);
            ring.next();
          }
        }
    }
  } else if (role() == FINISHES) {
    for (Walk at(N, across); at.more(); at.next()) desk.empty(dx, at.m, at.n, N, K);
  } else {
    int steps = 0;
    for (int i = 0; i < count; i++) steps += (parts[i].out + STEP - 1) / STEP;
    for (Walk at(N, across); at.more(); at.next()) {
      float acc[COLUMNS / 2];
      multiply<0, 1>(acc, ring, steps);
      desk.lay(acc);
    }
  }
}
