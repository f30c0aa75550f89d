// The second part of the forward pass, in bfloat16 by products of a warp.

// Stage is what a chunk needs in shared memory; there are STAGES.
struct Stage {
  bf16 k[CHUNK * PITCH], q[CHUNK * PITCH];
  bf16 v[CHUNK * VPITCH];  // becomes o
#if DELTA
  bf16 inverse[TRI];
#endif
  bf16 scores[TRI];
  float4 coef[COEFS];
};

// times_state adds the state times 16 columns of a tile [64, K]: y[v, t] += sum over k of S[k, v] x[t, k].
GOJET_FN void times_state(float (&y)[32], const unsigned* s, const bf16* x) {
#pragma unroll
  for (int I = 0; I < 4; I++) {
    unsigned b[4];
    b_rows(b, x + I * 16 * PITCH, PITCH);
    mma_bf16(y + 8 * I, s, b);
    mma_bf16(y + 8 * I + 4, s, b + 2);
  }
}

// times_triangle adds a triangle times x: y[v, i] += sum over j <= i of L[i, j] x[v, j].
GOJET_FN void times_triangle(float (&y)[32], const unsigned (&x)[4][4], const bf16* triangle) {
#pragma unroll
  for (int J = 0; J < 4; J++)
#pragma unroll
    for (int I = J; I < 4; I++) {
      unsigned b[4];
      b_block(b, triangle + tri_block(I, J));
      mma_bf16(y + 8 * I, x[J], b);
      mma_bf16(y + 8 * I + 4, x[J], b + 2);
    }
}

// gated_delta_pass takes the state of one head of one sequence over all chunks, for BLOCK columns of the value dim: blocks are
// [column blocks, H, S].
extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_pass(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ v, const bf16* __restrict__ inverse,
    const bf16* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* h0, float* hT,
    bf16* __restrict__ o, bf16* __restrict__ states, bf16* __restrict__ values) {
  SHARED(shared);
  Stage* stages = (Stage*)shared;
  int block = blockIdx.x * BLOCK, head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x;
  Lane at(blockIdx.x);
  bool active = at.column < VP;
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], tokens = all.cu[seq + 1] - first, chunks = (tokens + CHUNK - 1) / CHUNK;
  if (chunks == 0 && (!hT || hT == h0)) return;
  size_t row = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)first_slot(all.cu, seq) * HEADS + head;

  auto fetch = [&](int c) {
    Stage& st = stages[c % STAGES];
    int count = min(CHUNK, tokens - c * CHUNK);
    size_t token = (size_t)(first + c * CHUNK) * HEADS + head, to = sh + (size_t)c * HEADS;
    load_rows<KEY % 8 == 0, KP, THREADS>(st.k, PITCH, k + token * KEY, HEADS * KEY, count, KEY, thread);
    load_linear<sizeof(st.coef), THREADS>(st.coef, coef + to * COEFS, thread);
    load_rows<VALUE % 8 == 0, BLOCK, THREADS>(st.v, VPITCH, v + token * VALUE + block, HEADS * VALUE, count, VALUE - block, thread);
#if DELTA
    load_linear<TRI * 2, THREADS>(st.inverse, inverse + to * TRI, thread);
#endif
    load_rows<KEY % 8 == 0, KP, THREADS>(st.q, PITCH, q + token * KEY, HEADS * KEY, count, KEY, thread);
    load_linear<TRI * 2, THREADS>(st.scores, scores + to * TRI, thread);
    cp_async_commit();
  };
  if (STAGES == 2 && chunks > 0) fetch(0);

  float s[KP / 2];
  load_state(s, h0 ? h0 + row : h0, at);
  for (int c = 0; c < chunks; c++) {
    if (STAGES == 1) {
      sync_block();
      fetch(c);
    }
    cp_async_wait<0>();
    sync_block();
    if (STAGES == 2 && c + 1 < chunks) fetch(c + 1);
    if (!active) continue;
    Stage& st = stages[c % STAGES];
    const float4* coefs = st.coef;
    size_t to = sh + (size_t)c * HEADS;

    float y[32] = {}, out[32] = {};  // S'k and S'q
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) {
      unsigned a[4];
      pack_a(a, s + kk / 2, s + kk / 2 + 4);
      if (states) keep(states + to * (KP * VP) + state_at(at.column, kk), a, KP * 8, at);
      if (DELTA) times_state(y, a, st.k + kk);
      times_state(out, a, st.q + kk);
    }
    unsigned u[4][4], kept[4][4];
#if DELTA
    unsigned x[4][4];
    correct(y, x, st.v, coefs, at);
    times_triangle(y, x, st.inverse);
    share(y, u, kept, coefs, at);
    if (values)
#pragma unroll
      for (int I = 0; I < 4; I++) keep(values + to * (VP * CHUNK) + value_at(at.column, I * 16), u[I], CHUNK * 8, at);
#else
    seen(u, kept, st.v, coefs, at);
#endif

    decay_output(out, coefs, at);
    times_triangle(out, u, st.scores);
    if (o) put_output(o + ((size_t)(first + c * CHUNK) * HEADS + head) * VALUE, st.v, out, min(CHUNK, tokens - c * CHUNK), at);

    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
#pragma unroll
    for (int I = 0; I < 4; I++)
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) {
        unsigned b[4];
        b_cols(b, st.k + I * 16 * PITCH + kk, PITCH);
        mma_bf16(s + kk / 2, kept[I], b);
        mma_bf16(s + kk / 2 + 4, kept[I], b + 2);
      }
  }
  if (hT && active) store_state(hT + row, s, at);
}
