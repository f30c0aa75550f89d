// The first half of a gated feed-forward layer: y = silu(x·gᵀ)·(x·uᵀ), where both products stand in one tile.
// x [N, K]; g, u [F, K]; y, gate, up [N, F], of which y or gate and up may be null. See product.cuh.
//
// A tile has 128 columns of each product, so that one thread has a gate and what it gates.

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gated(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap g, const __grid_constant__ TensorMap u, T* y, T* gate, T* up, int N, int F,
          int K) {
  SHARED(memory);
  constexpr int half = COLUMNS / 2;
  const int steps = (K + STEP - 1) / STEP, across = (F + half - 1) / half;
  Ring ring(memory);
  Desk desk(memory);
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      tma_prefetch(&x), tma_prefetch(&g), tma_prefetch(&u);
      for (Walk at(N, across); at.more(); at.next())
        for (int k = 0; k < steps; k++) {
          Barrier* full = ring.claim(STAGE);
          load_left(ring.stage(), &x, k * STEP, at.m, full);
#pragma unroll
          for (int s = 0; s < SLOTS; s++) load_slot(ring.stage(), s, s < SLOTS / 2 ? &g : &u, k * STEP, at.n * half + s % (SLOTS / 2) * 64, full);
          ring.next();
        }
    }
  } else if (role() == FINISHES) {
    for (Walk at(N, across); at.more(); at.next()) {
      constexpr int strips = ROWS / 16 * SLOTS / 2;
#pragma unroll 1
      for (int t = desk.first(); t < strips; t += FINISHERS) {
        desk.turn(t, strips);
        const int slot = t / 4 % (SLOTS / 2), column = at.n * half + slot * 64 + desk.column();
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int row = at.m * ROWS + desk.half * 64 + desk.row(t, i);
          const long long to = (long long)row * F + column;
          Piece a = desk.piece(t, slot, i), b = desk.piece(t, SLOTS / 2 + slot, i);
          if (row >= N || column >= F) continue;
          if (gate) put(gate + to, a), put(up + to, b);
          if (!y) continue;
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const float2 v = unpack2(a[e]), w = unpack2(b[e]);
            a[e] = pack2(v.x * logistic(v.x) * w.x, v.y * logistic(v.y) * w.y);
          }
          put(y + to, a);
        }
      }
      desk.done();
    }
  } else {
    for (Walk at(N, across); at.more(); at.next()) {
      float acc[COLUMNS / 2];
      multiply<0, 0>(acc, ring, steps);
      desk.lay(acc);
    }
  }
}
