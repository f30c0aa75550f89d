// The gradients behind the gate of a gated feed-forward layer: with d = dy·w, dgate = d·up·silu'(gate) and dup = d·silu(gate);
// and silu(gate)·up once more where y is not null. dy [N, K]; w [K, F]; the others [N, F]. See product.cuh.

// Gates are the gates and ups of a thread's pieces of a strip, on their way while those of the strip before are used.
struct Gates {
  Piece g[4], u[4];
  GOJET_FN void load(int i, const T* gate, const T* up, int row, int column, int N, int F) {
    if (row >= N || column >= F) return;
    const long long at = (long long)row * F + column;
    g[i] = loadv_once<4>((const unsigned*)(gate + at));
    u[i] = loadv_once<4>((const unsigned*)(up + at));
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gated_backward(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, const T* gate, const T* up, T* dgate, T* dup, T* y, int N,
                   int F, int K) {
  SHARED(memory);
  const int steps = (K + STEP - 1) / STEP, across = (F + COLUMNS - 1) / COLUMNS;
  Ring ring(memory);
  Desk desk(memory);
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      tma_prefetch(&dy), tma_prefetch(&w);
      for (Walk at(N, across); at.more(); at.next())
        for (int k = 0; k < steps; k++) {
          Barrier* full = ring.claim(STAGE);
          load_left(ring.stage(), &dy, k * STEP, at.m, full);
#pragma unroll
          for (int s = 0; s < SLOTS; s++) load_slot(ring.stage(), s, &w, at.n * COLUMNS + s * 64, k * STEP, full);
          ring.next();
        }
    }
  } else if (role() == FINISHES) {
    constexpr int strips = ROWS / 16 * SLOTS;
    Gates had = {};
    Walk next(N, across);
    int t = desk.first(), row, column;  // those of strip t of tile next, the one after
    auto find = [&]() {
      row = next.m * ROWS + t / (strips / 2) * 64;
      column = next.n * COLUMNS + t / 4 % SLOTS * 64 + desk.column();
      if (!next.more()) return;
#pragma unroll
      for (int i = 0; i < 4; i++) had.load(i, gate, up, row + desk.row(t, i), column, N, F);
    };
    find();
    while (next.more()) {
      const int strip = t, thisRow = row, thisColumn = column;
      const bool last = strip + FINISHERS >= strips;
      const Gates now = had;
      t += FINISHERS;
      if (last) t = desk.first(), next.next();
      find();
      desk.turn(strip, strips);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        Piece d = desk.piece(strip, strip / 4 % SLOTS, i), g = now.g[i], u = now.u[i], v;
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const float2 a = unpack2(g[e]), b = unpack2(u[e]), c = unpack2(d[e]);
          const float s0 = logistic(a.x), s1 = logistic(a.y), a0 = a.x * s0, a1 = a.y * s1;
          v[e] = pack2(a0 * b.x, a1 * b.y);
          g[e] = pack2(c.x * b.x * (s0 + a0 * (1 - s0)), c.y * b.y * (s1 + a1 * (1 - s1)));
          u[e] = pack2(c.x * a0, c.y * a1);
        }
        const int r = thisRow + desk.row(strip, i);
        if (r >= N || thisColumn >= F) continue;
        const long long to = (long long)r * F + thisColumn;
        put(dgate + to, g);
        put(dup + to, u);
        if (y) put(y + to, v);
      }
      if (last) desk.done();
    }
  } else {
    for (Walk at(N, across); at.more(); at.next()) {
      float acc[COLUMNS / 2];
      multiply<0, 1>(acc, ring, steps);
      desk.lay(acc);
    }
  }
}
