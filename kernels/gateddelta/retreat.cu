// The backward pass in bfloat16, first part: from the last chunk of a sequence to the first. See gateddelta.cuh. With dO the
// gradient of the output and dS' that of the state after a chunk, and cx, co, cs, beta the coefficients of a token,
//
//   dU = cs (K dS') + P'dO    dX = T'dU, T = (I + A)^-1    dV = beta dX    dS = exp(b_n) dS' + (co Q)'dO - (cx K)'dX
//
// Each warp owns 16 columns of the value dim and never meets the others: dS' transposed, [v, k], is an accumulator that is
// also the left operand of the next product, and so on down the chain. Without DELTA, dV = dU and dS lacks what came by dX.

#ifndef WARPS
#define WARPS 4
#endif
#ifndef STAGES
#define STAGES 2  // chunks in shared memory at a time
#endif
constexpr int THREADS = WARPS * 32;
constexpr int BLOCK = WARPS * 16;  // columns of the value dim of a block
constexpr int OPITCH = BLOCK + 8;

// Stage is what a chunk needs in shared memory.
struct Stage {
  bf16 k[CHUNK * PITCH], q[CHUNK * PITCH];
  bf16 out[CHUNK * OPITCH];  // dO, which becomes dV
#if DELTA
  bf16 inverse[TRI];
#endif
  bf16 scores[TRI];
  float4 coef[COEFS];
};

// times_transposed adds the transpose of a triangle times x: y[v, j] += sum over i >= j of L[i, j] x[v, i].
GOJET_FN void times_transposed(float (*y)[4], const unsigned (*x)[4], const bf16* triangle) {
#pragma unroll
  for (int I = 0; I < 4; I++)
#pragma unroll
    for (int J = 0; J <= I; J++) {
      unsigned b[4];
      b_block_t(b, triangle + tri_block(I, J));
      mma_bf16(y[2 * J], x[I], b);
      mma_bf16(y[2 * J + 1], x[I], b + 2);
    }
}

// gated_delta_retreat: grid (blocks of the value dim, heads, sequences). It writes dV, dS' of every chunk, laid out as the
// kept states, and dh0.
extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_retreat(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ dout, const bf16* __restrict__ inverse,
    const bf16* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* dhT, float* dh0,
    bf16* __restrict__ dv, bf16* __restrict__ dstates) {
  SHARED(shared);
  Stage* stages = (Stage*)shared;
  int block = blockIdx.x * BLOCK, head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x, lane = lane_id();
  int mine = warp_id() * 16;
  bool active = block + mine < VP;
  int gi = lane / 4, tj = lane % 4 * 2;
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], tokens = all.cu[seq + 1] - first, chunks = (tokens + CHUNK - 1) / CHUNK;
  if (chunks == 0 && !dh0) return;
  size_t row = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)first_slot(all.cu, seq) * HEADS + head;

  auto fetch = [&](int c) {
    Stage& st = stages[c % STAGES];
    int count = min(CHUNK, tokens - c * CHUNK);
    size_t token = (size_t)(first + c * CHUNK) * HEADS + head, at = sh + (size_t)c * HEADS;
    load_rows<KEY % 8 == 0, KP, THREADS>(st.k, PITCH, k + token * KEY, HEADS * KEY, count, KEY, thread);
    load_linear<sizeof(st.coef), THREADS>(st.coef, coef + at * COEFS, thread);
    load_rows<VALUE % 8 == 0, BLOCK, THREADS>(st.out, OPITCH, dout + token * VALUE + block, HEADS * VALUE, count, VALUE - block, thread);
    load_linear<TRI * 2, THREADS>(st.scores, scores + at * TRI, thread);
#if DELTA
    load_linear<TRI * 2, THREADS>(st.inverse, inverse + at * TRI, thread);
#endif
    load_rows<KEY % 8 == 0, KP, THREADS>(st.q, PITCH, q + token * KEY, HEADS * KEY, count, KEY, thread);
    cp_async_commit();
  };
  if (STAGES > 1 && chunks > 0) fetch(chunks - 1);

  float ds[KP / 8][4];
#pragma unroll
  for (int n = 0; n < KP / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      int vv = block + mine + gi + e / 2 * 8, kk = n * 8 + tj + e % 2;
      ds[n][e] = dhT && vv < VALUE && kk < KEY ? dhT[row + (size_t)kk * VALUE + vv] : 0.f;
    }

  for (int c = chunks - 1; c >= 0; c--) {
    if (STAGES == 1) {
      sync_block();
      fetch(c);
    }
    cp_async_wait<0>();
    sync_block();
    if (STAGES > 1 && c > 0) fetch(c - 1);
    if (!active) continue;
    Stage& st = stages[c % STAGES];
    const float4* coefs = st.coef;

    // dU; dS' is kept on the way
    float d[8][4] = {};
    {
      bf16* to = dstates + (sh + (size_t)c * HEADS) * (KP * VP) + state_at(block + mine, 0) + gi * 8 + tj;
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) {
        unsigned a[4];
        pack_a(a, ds[kk / 8], ds[kk / 8 + 1]);
        *(unsigned*)(to + kk * 8) = a[0];
        *(unsigned*)(to + kk * 8 + KP * 8) = a[1];
        *(unsigned*)(to + kk * 8 + 64) = a[2];
        *(unsigned*)(to + kk * 8 + KP * 8 + 64) = a[3];
#pragma unroll
        for (int J = 0; J < 4; J++) {
          unsigned b[4];
          b_rows(b, st.k + J * 16 * PITCH + kk, PITCH);
          mma_bf16(d[2 * J], a, b);
          mma_bf16(d[2 * J + 1], a, b + 2);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < 8; n++) {
      float z0 = coefs[n * 8 + tj].z, z1 = coefs[n * 8 + tj + 1].z;
      d[n][0] *= z0;
      d[n][1] *= z1;
      d[n][2] *= z0;
      d[n][3] *= z1;
    }
    unsigned o[4][4], x[4][4];
#pragma unroll
    for (int I = 0; I < 4; I++) a_cols(o[I], st.out + I * 16 * OPITCH + mine, OPITCH);
    times_transposed(d, o, st.scores);

    // dX, as dV and as the state sees it; dO as the state sees it
#if DELTA
#pragma unroll
    for (int I = 0; I < 4; I++) pack_a(x[I], d[2 * I], d[2 * I + 1]);
    times_transposed(d, x, st.inverse);  // the unit diagonal is there already
#endif
    sync_warp();
#pragma unroll
    for (int I = 0; I < 4; I++) {
      unsigned w[4];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float* from = d[2 * I + half];
        float4 c0 = coefs[I * 16 + half * 8 + tj], c1 = coefs[I * 16 + half * 8 + tj + 1];
#pragma unroll
        for (int r = 0; r < 2; r++) {
          int e = half * 2 + r;
          w[e] = pack2(from[2 * r] * c0.w, from[2 * r + 1] * c1.w);
          if (DELTA) x[I][e] = pack2(-from[2 * r] * c0.x, -from[2 * r + 1] * c1.x);
          float2 y = unpack2(o[I][e]);
          o[I][e] = pack2(y.x * c0.y, y.y * c1.y);
        }
      }
      stmatrix_x4_trans(st.out + (I * 16 + (lane & 7) + (lane >> 4) * 8) * OPITCH + mine + (lane >> 3 & 1) * 8, w);
    }
    sync_warp();

    // dS
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int n = 0; n < KP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) ds[n][e] *= fall;
#pragma unroll
    for (int I = 0; I < 4; I++)
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) {
        unsigned b[4];
        b_cols(b, st.q + I * 16 * PITCH + kk, PITCH);
        mma_bf16(ds[kk / 8], o[I], b);
        mma_bf16(ds[kk / 8 + 1], o[I], b + 2);
#if DELTA
        b_cols(b, st.k + I * 16 * PITCH + kk, PITCH);
        mma_bf16(ds[kk / 8], x[I], b);
        mma_bf16(ds[kk / 8 + 1], x[I], b + 2);
#endif
      }

    int count = min(CHUNK, tokens - c * CHUNK);
    bf16* to = dv + ((size_t)(first + c * CHUNK) * HEADS + head) * VALUE + block + mine;
    if constexpr (VALUE % 8 == 0) {
#pragma unroll
      for (int i = lane; i < CHUNK * 2; i += 32) {
        int t = i / 2, at = i % 2 * 8;
        if (t < count && block + mine + at < VALUE) storev_once(to + (size_t)t * (HEADS * VALUE) + at, loadv<8>(st.out + t * OPITCH + mine + at));
      }
    } else {
      for (int i = lane; i < CHUNK * 16; i += 32) {
        int t = i / 16, at = i % 16;
        if (t < count && block + mine + at < VALUE) to[(size_t)t * (HEADS * VALUE) + at] = st.out[t * OPITCH + mine + at];
      }
    }
  }

  if (dh0 && active)
#pragma unroll
    for (int n = 0; n < KP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int vv = block + mine + gi + e / 2 * 8, kk = n * 8 + tj + e % 2;
        if (vv < VALUE && kk < KEY) dh0[row + (size_t)kk * VALUE + vv] = ds[n][e];
      }
}
