// The state that each segment of a sequence ends with, by products of a warpgroup: see warpgroup.cuh. The first segment begins with
// the state of the sequence, others with none. For those, what the state S they begin with adds is M S: the columns of M [K, K] go
// the way of columns of the value dim, as states that begin as the identity and see no values. Without DELTA, M is a number.

constexpr int VALUES = (VALUE + BLOCK - 1) / BLOCK;  // blocks of columns of the value dim; those of M follow

// gated_delta_ahead: grid (blocks of columns, heads, segments). It writes ends [parts, H, K, V] and, twice, transitions
// [parts, H, K, K]: transposed, and after all of those as they are; or without DELTA transitions [parts, H]. The last segment of a
// sequence has neither, the first no M.
extern "C" __global__ void __launch_bounds__(THREADS + 32 * LOADERS, 1) gated_delta_ahead(
    const bf16* __restrict__ k, const bf16* __restrict__ v, const bf16* __restrict__ inverse, const float4* __restrict__ coef,
    const int* __restrict__ seqs, int S, const float* __restrict__ h0, float* __restrict__ ends, float* __restrict__ transitions, int size) {
  SHARED(shared);
  Ring& ring = *(Ring*)shared;
  int head = blockIdx.y, block = blockIdx.x;
  bool valued = block < VALUES;
  if (!valued) block -= VALUES;
  Sequences all = sequences(seqs, S);
  const Segment seg(all.cu, S, size);
  if (!seg.any || seg.last || (seg.part == 0 && !valued)) return;
  size_t sh = (size_t)seg.slot * HEADS + head;

  start(ring);
  if (warp_id() >= WARPS) {
    load_chunks(ring, seg.chunks, [&](Stage& st, int c, int warp) {
      size_t token = (size_t)(seg.first + c * CHUNK) * HEADS + head, to = sh + (size_t)c * HEADS;
      int column = block * BLOCK;
      if (warp == 0)
        load_keys(st.k, k + token * KEY, CHUNK);
      else if (warp == 1)
        load_rows<VALUE % 8 == 0, BLOCK, 32>(st.v, VPITCH, v + token * VALUE + column, HEADS * VALUE, valued ? CHUNK : 0, VALUE - column, lane_id());
#if DELTA
      else if (warp == 2)
        load_triangle(st.inverse, inverse + to * TRI);
      else
#else
      else if (warp == 2)
#endif
        load_linear<sizeof(st.coef), 32>(st.coef, coef + to * COEFS, lane_id());
    });
    return;
  }

  take_registers();
  Lane at(block);
  float s[KP / 2];
  load_state(s, h0 && seg.part == 0 ? h0 + ((size_t)all.slot[seg.seq] * HEADS + head) * KEY * VALUE : nullptr, at);
  if (!valued)
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] = at.column + at.row + i % 4 / 2 * 8 == i / 4 * 8 + at.pair + i % 2 ? 1.f : 0.f;

  const u64 along = along_row(&ring), down = down_rows(&ring, BOX * 2);
  Turn turn;
#if !DELTA
  float total = 1.f;
#endif
  for (int c = 0; c < seg.chunks; c++) {
    int here = turn.at;
    unsigned plain[4][4], kept[4][4];
    barrier_wait(&ring.full[here], turn.parity);
    const float4* coefs = ring.stages[here].coef;
#if DELTA
    unsigned a[KP / 16][4], x[4][4];
    float y[32];
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) pack_a(a[kk / 16], s + kk / 2, s + kk / 2 + 4);
    wgmma_fence();
    times_rows(y, a, along + here * NEXT);
    wgmma_commit();
    wgmma_wait<0>(y);
    correct(y, x, ring.stages[here].v, coefs, at);
    wgmma_fence();
    times_box<0>(y, x, along + here * NEXT + INVERSE, 1);
    wgmma_commit();
#else
    seen(plain, kept, ring.stages[here].v, coefs, at);
    total *= coefs[CHUNK].x;
#endif
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
#if DELTA
    wgmma_wait<0>(y);
    share(y, plain, kept, coefs, at);
#endif
    wgmma_fence();
    add_rows(s, kept, down + here * NEXT);
    wgmma_commit();
    wgmma_wait<0>(s);
    release(ring, here);
    turn.next();
  }
#if !DELTA
  if (block == 0 && threadIdx.x == 0) transitions[(size_t)seg.number * HEADS + head] = total;
#endif
  if (valued) {
    if (at.column < VP) store_state(ends + seg.state(head), s, at);
  } else if (DELTA && at.column < KP) {
    transitions += seg.state<KEY>(head);
#pragma unroll
    for (int i = 0; i < KP / 2; i++) {
      int column = at.column + at.row + i % 4 / 2 * 8, row = i / 4 * 8 + at.pair + i % 2;
      if (column < KEY && row < KEY) transitions[column * KEY + row] = s[i];
    }
    store_state<KEY>(transitions + (size_t)gridDim.z * HEADS * KEY * KEY, s, at);
  }
}
