// The backward pass in bfloat16, first part, by products of a warpgroup: see warpgroup.cuh. It does what retreat.cu does. The
// products of dO with P and with the queries go before or beside those on the way to the next gradient of a state.

// gated_delta_retreat is that of retreat.cu. With ends, it only finds with which gradient each segment but the first begins, from the
// one after it for the last and from none for others.
extern "C" __global__ void __launch_bounds__(THREADS + 32 * LOADERS, 1) gated_delta_retreat(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ dout, const bf16* __restrict__ inverse,
    const bf16* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* dhT, float* dh0,
    bf16* __restrict__ dv, bf16* __restrict__ dstates, const float* __restrict__ starts, float* __restrict__ ends, int size) {
  SHARED(shared);
  Ring& ring = *(Ring*)shared;
  int head = blockIdx.y;
  Sequences all = sequences(seqs, S);
  const Segment seg(all.cu, S, size);
  if (!seg.any || (ends && seg.part == 0) || (seg.chunks == 0 && !dh0)) return;
  size_t row = ((size_t)all.slot[seg.seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)seg.slot * HEADS + head;

  start(ring);
  if (warp_id() >= WARPS) {
    load_chunks(ring, seg.chunks, [&](Stage& st, int i, int warp) {
      int c = seg.chunks - 1 - i, count = min(CHUNK, seg.tokens - c * CHUNK), block = blockIdx.x * BLOCK;
      size_t token = (size_t)(seg.first + c * CHUNK) * HEADS + head, to = sh + (size_t)c * HEADS;
      if (warp == 0) {
        load_keys(st.k, k + token * KEY, count);
      } else if (warp == 1) {
        load_keys(st.q, q + token * KEY, count);
      } else if (warp == 2) {
        load_linear<sizeof(st.coef), 32>(st.coef, coef + to * COEFS, lane_id());
        load_rows<VALUE % 8 == 0, BLOCK, 32>(st.v, VPITCH, dout + token * VALUE + block, HEADS * VALUE, count, VALUE - block, lane_id());
      } else {
        load_triangle(st.scores, scores + to * TRI);
#if DELTA
        load_triangle(st.inverse, inverse + to * TRI);
#endif
      }
    });
    return;
  }

  take_registers();
  Lane at(blockIdx.x);
  bool active = at.column < VP;  // other warps take part in products, on zeros
  int group = at.column / 64 * 64;
  float s[KP / 2];               // dS'
  load_state(s, starts ? starts + seg.state(head) : dhT && seg.last ? dhT + row : nullptr, at);
  if (seg.chunks == 0) {
    if (active) store_state(dh0 + row, s, at);
    return;
  }
  const u64 along = along_row(&ring), down = down_rows(&ring, BOX * 2);
  Turn turn;
  unsigned a[KP / 16][4], o[4][4];
  float d[32], p[32];  // dS'k and P'dO
  auto scored = [&]() {
    barrier_wait(&ring.full[turn.at], turn.parity);
#pragma unroll
    for (int I = 0; I < 4; I++) a_cols(o[I], ring.stages[turn.at].v + I * 16 * VPITCH + at.mine, VPITCH);
    wgmma_fence();
    times_box<1>(p, o, down + turn.at * NEXT + SCORES, 0);
    wgmma_commit();
  };
  auto begin = [&]() {
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) pack_a(a[kk / 16], s + kk / 2, s + kk / 2 + 4);
    wgmma_fence();
    times_rows(d, a, along + turn.at * NEXT);
    wgmma_commit();
  };
  scored();
  begin();
  for (int c = seg.chunks - 1; c >= 0; c--) {
    int here = turn.at;
    Stage& st = ring.stages[here];
    const float4* coefs = st.coef;
    size_t to = sh + (size_t)c * HEADS;
    const u64 columns = down + here * NEXT;

    if (dstates && active)
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) keep(dstates + to * (KP * VP) + state_at(at.column, kk), a[kk / 16], KP * 8, at);
    wgmma_wait<0>(d);
    hold(p);

    // dU
#pragma unroll
    for (int n = 0; n < 8; n++) {
      float z0 = coefs[n * 8 + at.pair].z, z1 = coefs[n * 8 + at.pair + 1].z;
      d[4 * n] = d[4 * n] * z0 + p[4 * n];
      d[4 * n + 1] = d[4 * n + 1] * z1 + p[4 * n + 1];
      d[4 * n + 2] = d[4 * n + 2] * z0 + p[4 * n + 2];
      d[4 * n + 3] = d[4 * n + 3] * z1 + p[4 * n + 3];
    }
#if DELTA
    unsigned x[4][4];
#pragma unroll
    for (int I = 0; I < 4; I++) pack_a(x[I], d + 8 * I, d + 8 * I + 4);
    wgmma_fence();
    times_box<1>(d, x, columns + INVERSE, 1);
    wgmma_commit();
#endif

    // dO as the state sees it
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
    weigh<&float4::y>(o, o, coefs, at);
    wgmma_fence();
    add_rows(s, o, columns + QUERIES);
    wgmma_commit();
#if DELTA
    wgmma_wait<1>(d);

    // dX, as the state sees it and as dV
    unsigned w[4][4];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      float4 c0 = coefs[n * 8 + at.pair], c1 = coefs[n * 8 + at.pair + 1];
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float *e = d + 4 * n + 2 * r;
        w[n / 2][n % 2 * 2 + r] = pack2(-e[0] * c0.x, -e[1] * c1.x);
        e[0] *= c0.w;
        e[1] *= c1.w;
      }
    }
    wgmma_fence();
    add_rows(s, w, columns);
    wgmma_commit();
#endif
    if (dv) put_rows(dv + ((size_t)(seg.first + c * CHUNK) * HEADS + head) * VALUE + group, st.v, d, seg.tokens - c * CHUNK, VALUE - group, at);

    wgmma_wait<DELTA>();  // o is free
    turn.next();
    scored();
    wgmma_wait<1>(s);
    release(ring, here);
    begin();
  }
  wgmma_wait<0>(d);
  hold(p);
  if (!active) return;
  if (ends)
    store_state(ends + seg.state(head), s, at);
  else if (dh0 && seg.part == 0)
    store_state(dh0 + row, s, at);
}
