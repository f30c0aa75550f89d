// The first part of the forward pass, in bfloat16 by tensor cores: what does not depend on the state.

constexpr float LOG2E = 1.4426950408889634f;

// split writes x = high + low, each rounded to bfloat16, as left operands.
GOJET_FN void split(unsigned* high, unsigned* low, const float* left, const float* right) {
  pack_a(high, left, right);
  float rest[8];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float2 h = unpack2(high[i]);
    const float* x = i < 2 ? left : right;
    rest[2 * i] = x[i % 2 * 2] - h.x;
    rest[2 * i + 1] = x[i % 2 * 2 + 1] - h.y;
  }
  pack_a(low, rest, rest + 4);
}

// mma_split multiplies numbers given as high + low; what is left out is of the order of 2^-16.
GOJET_FN void mma_split(float* d, const unsigned* ah, const unsigned* al, const unsigned* bh, const unsigned* bl) {
  mma_bf16(d, al, bh);
  mma_bf16(d, ah, bl);
  mma_bf16(d, ah, bh);
}

constexpr int SOLVE = 20;  // pitch of the blocks that are solved row by row

// gated_delta_chunks, for every chunk and head (slot, head): P, (I + A)^-1 and the coefficients, which do not depend on the
// state (without DELTA, P and the coefficients). Warp w has rows 16w to 16w+15 of the products, and then block column w of the inverse.
extern "C" __global__ void __launch_bounds__(128) gated_delta_chunks(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const float* __restrict__ g, const float* __restrict__ beta,
    const int* __restrict__ seqs, int N, int S, bf16* o, bf16* __restrict__ inverse, bf16* __restrict__ scores, float4* __restrict__ coef, float4* __restrict__ gates) {
  SHARED(shared);
  int slot = blockIdx.x, head = blockIdx.y, thread = threadIdx.x, warp = warp_id(), lane = lane_id();
  const int* cu = sequences(seqs, S).cu;
  if (o) zero_outside<VALUE>(o, cu, S, N, slot, head, 128);
  Place at = find_slot(cu, S, slot);
  if (at.seq < 0) return;

  float* sums = (float*)shared;  // [64] each: sums of g, beta, norms
  float* betas = sums + 64;
  float* norms = betas + 64;  // keys, then queries
  bf16* kt = (bf16*)(norms + 128);
  bf16* qt = kt + CHUNK * PITCH;
  size_t token = (size_t)at.first * HEADS + head, sh = (size_t)slot * HEADS + head;

  load_rows<KEY % 8 == 0, KP, 128>(kt, PITCH, k + token * KEY, HEADS * KEY, at.count, KEY, thread);
  load_rows<KEY % 8 == 0, KP, 128>(qt, PITCH, q + token * KEY, HEADS * KEY, at.count, KEY, thread);
  cp_async_commit();
  if (warp == 0) decay_sums(sums, g + token, at.count);
  if (DELTA && thread >= 64) betas[thread - 64] = thread - 64 < at.count ? floor_beta(beta[token + (size_t)(thread - 64) * HEADS]) : 0.f;
  cp_async_wait<0>();
  sync_block();

  {
    int row = warp * 16 + lane / 2;
    float kk = 0.f, qq = 0.f;
    if (NORM) {
      for (int i = lane % 2 * 8; i < KP; i += 16) {
        Vec<bf16, 8> a = loadv<8>(kt + row * PITCH + i), b = loadv<8>(qt + row * PITCH + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          kk += float(a[j]) * float(a[j]);
          qq += float(b[j]) * float(b[j]);
        }
      }
      kk = rsqrt_(kk + shfl_xor(kk, 1) + EPS);
      qq = rsqrt_(qq + shfl_xor(qq, 1) + EPS);
    } else {
      kk = qq = 1.f;
    }
    if (lane % 2 == 0) {
      norms[row] = kk;
      norms[64 + row] = qq * SCALE;
    }
  }

  float ks[8][4] = {}, qs[8][4] = {};
#pragma unroll 2
  for (int kk = 0; kk < KP; kk += 16) {
    unsigned ka[4], qa[4], b[4];
    if (DELTA) a_rows(ka, kt + warp * 16 * PITCH + kk, PITCH);
    a_rows(qa, qt + warp * 16 * PITCH + kk, PITCH);
#pragma unroll
    for (int J = 0; J < 4; J++) {
      if (J > warp) continue;
      b_rows(b, kt + J * 16 * PITCH + kk, PITCH);
      if (DELTA) {
        mma_bf16(ks[2 * J], ka, b);
        mma_bf16(ks[2 * J + 1], ka, b + 2);
      }
      mma_bf16(qs[2 * J], qa, b);
      mma_bf16(qs[2 * J + 1], qa, b + 2);
    }
  }
  sync_block();  // the tiles give way to triangles

  bf16* ah = kt;                  // A below its diagonal blocks, high and low parts
  bf16* al = ah + TRI;
  bf16* th = al + TRI;            // the inverse
  bf16* tl = th + TRI;            // [4, 256], low parts of its diagonal blocks
  float* solve = (float*)(tl + 1024);  // [4, 16, SOLVE], diagonal blocks of A transposed
  int gi = lane / 4, tj = lane % 4 * 2;
  int i0 = warp * 16 + gi;
  float bi[2] = {sums[i0], sums[i0 + 8]}, betai[2] = {DELTA ? betas[i0] : 1.f, DELTA ? betas[i0 + 8] : 1.f};
  float kni[2] = {norms[i0], norms[i0 + 8]}, qni[2] = {norms[64 + i0], norms[64 + i0 + 8]};
#pragma unroll
  for (int J = 0; J < 4; J++) {
    if (J > warp) continue;
#pragma unroll
    for (int c = 0; c < 2; c++) {  // columns 8c to 8c+7 of the block
      int j = J * 16 + c * 8 + tj;
      float bj[2] = {sums[j], sums[j + 1]}, knj[2] = {norms[j], norms[j + 1]};
#pragma unroll
      for (int r = 0; r < 2; r++) {  // rows 8r to 8r+7
        int i = i0 + 8 * r;
        float p[2], a[2];
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float d = exp2_((bi[r] - bj[e]) * LOG2E) * knj[e];
          p[e] = j + e <= i ? d * qni[r] * qs[2 * J + c][2 * r + e] : 0.f;
          a[e] = j + e < i ? d * kni[r] * betai[r] * ks[2 * J + c][2 * r + e] : 0.f;
        }
        int core = tri_block(warp, J) + (r * 2 + c) * 64 + gi * 8 + tj;
        *(unsigned*)(scores + sh * TRI + core) = pack2(p[0], p[1]);
        if (!DELTA) continue;
        if (J == warp) {
          float* s = solve + (warp * 16 + c * 8 + tj) * SOLVE + gi + 8 * r;
          s[0] = a[0];
          s[SOLVE] = a[1];
        } else {
          unsigned high = pack2(a[0], a[1]);
          float2 h = unpack2(high);
          *(unsigned*)(ah + core) = high;
          *(unsigned*)(al + core) = pack2(a[0] - h.x, a[1] - h.y);
        }
      }
    }
  }
  if (thread < CHUNK) {
    float last = sums[CHUNK - 1], b = sums[thread], be = DELTA ? betas[thread] : 1.f;
    float fall = exp2_(b * LOG2E);
    bool there = thread < at.count;
    float4 c = make_float4(be * fall * norms[thread], fall * norms[64 + thread], exp2_((last - b) * LOG2E) * norms[thread], be);
    coef[sh * COEFS + thread] = there ? c : make_float4(0.f, 0.f, 0.f, 0.f);
    if (thread == 0) coef[sh * COEFS + CHUNK] = make_float4(exp2_(last * LOG2E), 0.f, 0.f, 0.f);
    if (gates) gates[sh * CHUNK + thread] = make_float4(b, 0.f, there ? norms[64 + thread] : 0.f, there ? norms[thread] : 0.f);
  }
  if (!DELTA) return;
  sync_warp();

  {  // (I + A)^-1 of the diagonal block: lane j solves for column j
    int j = lane % 16;
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; i++) x[i] = i == j ? 1.f : 0.f;
#pragma unroll
    for (int m = 0; m < 15; m++) {
      const float* column = solve + (warp * 16 + m) * SOLVE;
#pragma unroll
      for (int i = (m + 1) / 4 * 4; i < 16; i += 4) {
        Vec<float, 4> a = loadv<4>(column + i);
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (i + e > m) x[i + e] -= a[e] * x[m];
      }
    }
    if (lane < 16) {
#pragma unroll
      for (int i = 0; i < 16; i++) {
        int core = (i / 8 * 2 + j / 8) * 64 + i % 8 * 8 + j % 8;
        bf16 high(x[i]);
        th[tri_block(warp, warp) + core] = high;
        tl[warp * 256 + core] = bf16(x[i] - float(high));
      }
    }
  }
  sync_block();

  {  // T_iJ = -T_ii sum over J <= m < i of A_im T_mJ, for J the warp; everything transposed
    unsigned high[4][4], low[4][4];  // T_mJ transposed, m = J + d
    ldmatrix_x4_trans(high[0], th + tri_block(warp, warp) + lane * 8);
    ldmatrix_x4_trans(low[0], tl + warp * 256 + lane * 8);
#pragma unroll
    for (int d = 1; d < 4; d++) {
      int i = warp + d;
      if (i > 3) continue;
      unsigned bh[4], bl[4], wh[4], wl[4];
      float w[2][4] = {}, x[2][4] = {};
#pragma unroll
      for (int e = 0; e < d; e++) {
        b_block(bh, ah + tri_block(i, warp + e));
        b_block(bl, al + tri_block(i, warp + e));
        mma_split(w[0], high[e], low[e], bh, bl);
        mma_split(w[1], high[e], low[e], bh + 2, bl + 2);
      }
      split(wh, wl, w[0], w[1]);
      b_block(bh, th + tri_block(i, i));
      b_block(bl, tl + i * 256);
      mma_split(x[0], wh, wl, bh, bl);
      mma_split(x[1], wh, wl, bh + 2, bl + 2);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        x[0][e] = -x[0][e];
        x[1][e] = -x[1][e];
      }
      split(high[d], low[d], x[0], x[1]);
      stmatrix_x4_trans(th + tri_block(i, warp) + lane * 8, high[d]);
    }
  }
  sync_block();
  for (int i = thread * 8; i < TRI; i += 128 * 8) {
    Vec<bf16, 8> row = loadv<8>(th + i);
    int block = i / 256, core = i % 256 / 64;
    bool diagonal = (block == 0 || block == 2 || block == 5 || block == 9) && (core == 0 || core == 3);
#pragma unroll
    for (int e = 0; e < 8; e++)
      if (diagonal && i % 64 / 8 == e) row[e] = bf16(0.f);
    storev(inverse + sh * TRI + i, row);
  }
}
