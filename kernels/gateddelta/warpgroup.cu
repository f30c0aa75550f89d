// The second part of the forward pass, in bfloat16 by products of a warpgroup: see warpgroup.cuh. It does what pass.cu does. The
// products with the queries and with P follow in the shadow of those on the way to the next state, and the output of a chunk
// leaves while the next one is under way.

// gated_delta_pass is that of pass.cu.
extern "C" __global__ void __launch_bounds__(THREADS + 32 * LOADERS, 1) gated_delta_pass(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ v, const bf16* __restrict__ inverse,
    const bf16* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* h0, float* hT,
    bf16* __restrict__ o, bf16* __restrict__ states, bf16* __restrict__ values, const float* __restrict__ starts, int size) {
  SHARED(shared);
  Ring& ring = *(Ring*)shared;
  int head = blockIdx.y;
  Sequences all = sequences(seqs, S);
  const Segment seg(all.cu, S, size);
  if (!seg.any || (seg.chunks == 0 && (!hT || hT == h0))) return;
  size_t row = ((size_t)all.slot[seg.seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)seg.slot * HEADS + head;

  start(ring);
  if (warp_id() >= WARPS) {
    load_chunks(ring, seg.chunks, [&](Stage& st, int c, int warp) {
      int count = min(CHUNK, seg.tokens - c * CHUNK), block = blockIdx.x * BLOCK;
      size_t token = (size_t)(seg.first + c * CHUNK) * HEADS + head, to = sh + (size_t)c * HEADS;
      if (warp == 0) {
        load_keys(st.k, k + token * KEY, count);
      } else if (warp == 1) {
        load_keys(st.q, q + token * KEY, count);
      } else if (warp == 2) {
        load_linear<sizeof(st.coef), 32>(st.coef, coef + to * COEFS, lane_id());
        load_rows<VALUE % 8 == 0, BLOCK, 32>(st.v, VPITCH, v + token * VALUE + block, HEADS * VALUE, count, VALUE - block, lane_id());
      } else {
#if DELTA
        load_triangle(st.inverse, inverse + to * TRI);
#endif
        load_triangle(st.scores, scores + to * TRI);
      }
    });
    return;
  }

  take_registers();
  Lane at(blockIdx.x);
  bool active = at.column < VP;  // other warps take part in products, on zeros
  int group = at.column / 64 * 64;
  float s[KP / 2];
  load_state(s, starts ? starts + seg.state(head) : h0 ? h0 + row : h0, at);
  if (seg.chunks == 0) {
    if (active) store_state(hT + row, s, at);
    return;
  }
  const u64 along = along_row(&ring), down = down_rows(&ring, BOX * 2);
  Turn turn;
  unsigned a[KP / 16][4];
  float y[32], out[32];  // S'k and S'q; without DELTA S'q is in y first
  auto begin = [&]() {
    barrier_wait(&ring.full[turn.at], turn.parity);
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) pack_a(a[kk / 16], s + kk / 2, s + kk / 2 + 4);
    wgmma_fence();
    times_rows(y, a, along + turn.at * NEXT + (DELTA ? 0 : QUERIES));
    wgmma_commit();
  };
  begin();
  for (int c = 0; c < seg.chunks; c++) {
    int here = turn.at;
    Stage& st = ring.stages[here];
    const float4* coefs = st.coef;
    size_t to = sh + (size_t)c * HEADS;
    const u64 rows = along + here * NEXT;

    if (states && active)
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) keep(states + to * (KP * VP) + state_at(at.column, kk), a[kk / 16], KP * 8, at);
    unsigned u[4][4], kept[4][4];
#if DELTA
    wgmma_wait<0>(y);

    unsigned x[4][4];
    correct(y, x, st.v, coefs, at);
    wgmma_fence();
    times_box<0>(y, x, rows + INVERSE, 1);
    wgmma_commit();
    times_rows(out, a, rows + QUERIES);
    wgmma_commit();
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
    wgmma_wait<1>(y);

    share(y, u, kept, coefs, at);
    wgmma_fence();
    add_rows(s, kept, down + here * NEXT);
    wgmma_commit();
    wgmma_wait<1>(out);
    decay_output(out, coefs, at);
    wgmma_fence();
#else
    seen(u, kept, st.v, coefs, at);
    wgmma_wait<0>(y);
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
#pragma unroll
    for (int i = 0; i < 32; i++) out[i] = y[i];
    decay_output(out, coefs, at);
    wgmma_fence();
    add_rows(s, kept, down + here * NEXT);
    wgmma_commit();
#endif
    times_box<0>(out, u, rows + SCORES, 1);
    wgmma_commit();
    if (DELTA && values && active)
#pragma unroll
      for (int I = 0; I < 4; I++) keep(values + to * (VP * CHUNK) + value_at(at.column, I * 16), u[I], CHUNK * 8, at);
    wgmma_wait<1>(s);

    turn.next();
    begin();
    wgmma_wait<1>(out);
    if (o) put_rows(o + ((size_t)(seg.first + c * CHUNK) * HEADS + head) * VALUE + group, st.v, out, seg.tokens - c * CHUNK, VALUE - group, at);
    release(ring, here);
  }
  wgmma_wait<0>(y);
  if (hT && seg.last && active) store_state(hT + row, s, at);
}
