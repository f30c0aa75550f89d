// The backward pass in bfloat16, second part: all chunks at once, from the states before them and the gradients dS' of the
// states after them. See gateddelta.cuh; sums are over v for the first four lines. With R, L lower triangles [64, 64],
//
//   GO = dO S'    GV = dV S'    GU = U dS''                              S [K, V], so that all are [64, K]
//   R_ij = (dO_i.u_j) D_ij qn_i kn_j, j <= i    L_ij = -(dV_i.u_j) D_ij kn_i kn_j, j < i    D_ij = exp(b_i - b_j)
//   dq = qn exp(b) GO + R k                                              before the gradient through its norm
//   dk = kn (exp(b_n - b) GU - exp(b) GV) + R'q + (L + L') k
//   dbeta_i = dV_i.u_i / beta_i^2
//
// where qn includes the scale. Without DELTA, U is v, L and GV are 0, and there is no dbeta. The gradient of the logarithm of what decays between two tokens is E_ij = R_ij (q_i.k_j) +
// L_ij (k_i.k_j), and dg_t adds up what was carried across token t, from token to token, from the state before the chunk, or
// to the state after it.
//
// A block of 16 warps in four groups: GO, GV, GU and the triangles, where without DELTA those that only take dV have nothing to do
// until its end. The value dim passes by in tiles of VT columns.

#ifndef STAGES
#define STAGES 3  // tiles in flight
#endif
#ifndef VT
#define VT 32
#endif
#ifndef AWAY
#define AWAY 0  // dq and dk wait for their norms in shared memory (0) or where they go to (1)
#endif
constexpr int THREADS = 512;
constexpr int TILES = (VP + VT - 1) / VT, TPITCH = VT + 8;
constexpr int PARTS = KP > 128 ? 2 : 1;                     // the key dim in parts that fit the registers,
constexpr int KW = (KP / 16 + PARTS - 1) / PARTS * 16;      // of so many columns, half of them in a warp
constexpr int NT = KW / 16;                                 // products side by side in a warp
constexpr int ACC = 2 * NT > 10 ? 2 * NT : 10;
constexpr int XPITCH = PARTS * KW + 8;
constexpr float LOG2E = 1.4426950408889634f;

struct Tile {
  bf16 out[CHUNK * TPITCH];  // [token, v]
#if DELTA
  bf16 dv[CHUNK * TPITCH], u[VT * CHUNK];  // u in cores
#else
  bf16 u[CHUNK * TPITCH];
#endif
  bf16 s[VT * KW], ds[VT * KW];  // cores
};

struct Work {
  bf16 q[CHUNK * XPITCH], k[CHUNK * XPITCH];
  union {
    struct {
      bf16 dq[AWAY ? 1 : CHUNK * XPITCH], dk[AWAY ? 1 : CHUNK * XPITCH];
    };
    float4 products[4][10][32];  // q.k and k.k, as the third group's fragments
  };
  bf16 r[TRI], l[DELTA ? TRI : 8];
  float4 gates[CHUNK];           // {b, its low part, qn, kn}
  float reach[3][2][CHUNK];      // q.GO and so on, scaled, of each half of the columns
  float along[3][2][CHUNK];      // q.dq and so on
  float row[2][CHUNK], column[2][10][16];  // sums of E
  float diagonal[CHUNK];         // dV_i.u_i
  float through[THREADS / 32];   // parts of the sum of S dS'
  union {
    Tile tiles[STAGES];
    float4 sum[4][2 * NT][32];   // the part of dk of the third group
  };
};

GOJET_FN float dot_pairs(unsigned x, float a, float b) {
  float2 y = unpack2(x);
  return y.x * a + y.y * b;
}

// cores_b is the right operand from cores of [v, n], corner at v8, n8, with WIDTH cores in a row.
template <int WIDTH> GOJET_FN void cores_b(unsigned* r, const bf16* cores, int v8, int n8) {
  int l = lane_id();
  ldmatrix_x4_trans(r, cores + ((v8 + (l >> 3 & 1)) * WIDTH + n8 + (l >> 4)) * 64 + (l & 7) * 8);
}
// cores_b1 is the first half of it, 8 columns.
template <int WIDTH> GOJET_FN void cores_b1(unsigned* r, const bf16* cores, int v8, int n8) {
  int l = lane_id();
  ldmatrix_x2_trans(r, cores + ((v8 + (l >> 3 & 1)) * WIDTH + n8) * 64 + (l & 7) * 8);
}

// gated_delta_gradients: grid (slots, heads). values are U in cores, or without DELTA v [N, H, V].
extern "C" __global__ void __launch_bounds__(THREADS, 1) gated_delta_gradients(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ dout, bf16* dv, const bf16* __restrict__ states,
    const bf16* __restrict__ dstates, const bf16* __restrict__ values, const float4* __restrict__ gates, const float4* __restrict__ coef,
    const int* __restrict__ seqs, int N, int S, bf16* __restrict__ dq, bf16* __restrict__ dk, float* __restrict__ dg, float* __restrict__ dbeta) {
  SHARED(shared);
  Work& w = *(Work*)shared;
  int slot = blockIdx.x, head = blockIdx.y, thread = threadIdx.x, lane = lane_id();
  const int* cu = sequences(seqs, S).cu;
  zero_outside<VALUE>(dv, cu, S, N, slot, head, THREADS);
  if (dq) zero_outside<KEY>(dq, cu, S, N, slot, head, THREADS);
  if (dk) zero_outside<KEY>(dk, cu, S, N, slot, head, THREADS);
  if (dg) zero_outside<1>(dg, cu, S, N, slot, head, THREADS);
  if (dbeta) zero_outside<1>(dbeta, cu, S, N, slot, head, THREADS);
  Place at = find_slot(cu, S, slot);
  if (at.seq < 0) return;

  int group = warp_id() / 4, part = warp_id() % 4;
  int gi = lane / 4, tj = lane % 4 * 2;
  int r0 = part / 2 * 32, c0 = part % 2 * (KW / 2);           // corner of a warp in the first three groups
  int tri = part / 2, half = part % 2;                        // in the fourth: which triangle,
  int big = 3 - half, small = half;                           // and rows of blocks, of 5 blocks in all
  size_t token = (size_t)at.first * HEADS + head, sh = (size_t)slot * HEADS + head;

  load_rows<KEY % 8 == 0, PARTS * KW, THREADS>(w.q, XPITCH, q + token * KEY, HEADS * KEY, at.count, KEY, thread);
  load_rows<KEY % 8 == 0, PARTS * KW, THREADS>(w.k, XPITCH, k + token * KEY, HEADS * KEY, at.count, KEY, thread);
  load_linear<CHUNK * 16, THREADS>(w.gates, gates + sh * CHUNK, thread);
  cp_async_commit();

  float acc[ACC][4], through = 0.f;

  for (int p = 0; p < PARTS; p++) {
    auto fetch = [&](int i) {
      Tile& x = w.tiles[i % STAGES];
      int v = i * VT, other = thread ^ (THREADS / 2);
      load_rows<VALUE % 8 == 0, VT, THREADS>(x.out, TPITCH, dout + token * VALUE + v, HEADS * VALUE, at.count, VALUE - v, thread);
#if DELTA
      load_rows<VALUE % 8 == 0, VT, THREADS>(x.dv, TPITCH, dv + token * VALUE + v, HEADS * VALUE, at.count, VALUE - v, other);
      const bf16* u = values + sh * (VP * CHUNK) + v * CHUNK;
      if (thread < VT * CHUNK / 8) cp_async16(x.u + thread * 8, v + thread / CHUNK * 8 < VP ? u + thread * 8 : u, v + thread / CHUNK * 8 < VP);
#else
      load_rows<VALUE % 8 == 0, VT, THREADS>(x.u, TPITCH, values + token * VALUE + v, HEADS * VALUE, at.count, VALUE - v, other);
#endif
#pragma unroll
      for (int j = other; j < VT * KW / 8; j += THREADS) {
        int v8 = j / KW, k8 = p * (KW / 8) + j % KW / 8;
        bool there = v + v8 * 8 < VP && (PARTS == 1 || k8 < KP / 8);
        size_t from = sh * (KP * VP) + (there ? ((v / 8 + v8) * (KP / 8) + k8) * 64 + j % 8 * 8 : 0);
        cp_async16(x.s + j * 8, states + from, there);
        cp_async16(x.ds + j * 8, dstates + from, there);
      }
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
      if (i < TILES) fetch(i);
      cp_async_commit();
    }

    if (p == 0) {  // the fourth group: products of queries and keys, and of keys
      cp_async_wait<STAGES - 1>();
      sync_block();
    }
#pragma unroll
    for (int i = 0; i < ACC; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) acc[i][e] = 0.f;
    if (p == 0 && group == 3 && (DELTA || !tri)) {
      const bf16* rows = tri ? w.k : w.q;
#pragma unroll 2
      for (int kk = 0; kk < KP; kk += 16) {
        unsigned ab[4], as[4];
        a_rows(ab, rows + big * 16 * XPITCH + kk, XPITCH);
        a_rows(as, rows + small * 16 * XPITCH + kk, XPITCH);
#pragma unroll
        for (int n = 0; n < 5; n++) {
          bool below = n < 4 - half;
          unsigned a[4], b[4];
#pragma unroll
          for (int e = 0; e < 4; e++) a[e] = below ? ab[e] : as[e];
          b_rows(b, w.k + (below ? n : n - 4 + half) * 16 * XPITCH + kk, XPITCH);
          mma_bf16(acc[2 * n], a, b);
          mma_bf16(acc[2 * n + 1], a, b + 2);
        }
      }
#pragma unroll
      for (int i = 0; i < 10; i++) {
        w.products[part][i][lane] = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
        acc[i][0] = acc[i][1] = acc[i][2] = acc[i][3] = 0.f;
      }
    }

    for (int i = 0; i < TILES; i++) {
      cp_async_wait<STAGES - 2>();
      sync_block();
      if (i + STAGES - 1 < TILES) fetch(i + STAGES - 1);
      cp_async_commit();
      const Tile& x = w.tiles[i % STAGES];
      if (group < 3 && (DELTA || group != 1)) {
#pragma unroll
        for (int v = 0; v < VT; v += 16) {
          unsigned a[2][4], b[4];
#pragma unroll
          for (int m = 0; m < 2; m++) {
#if DELTA
            if (group == 2)
              ldmatrix_x4_trans(a[m], x.u + ((v / 8 + (lane >> 4)) * (CHUNK / 8) + r0 / 8 + 2 * m + (lane >> 3 & 1)) * 64 + (lane & 7) * 8);
            else
              a_rows(a[m], (group == 0 ? x.out : x.dv) + (r0 + 16 * m) * TPITCH + v, TPITCH);
#else
            a_rows(a[m], (group == 0 ? x.out : x.u) + (r0 + 16 * m) * TPITCH + v, TPITCH);
#endif
          }
          const bf16* s = group == 2 ? x.ds : x.s;
#pragma unroll
          for (int n = 0; n < NT; n += 2) {
            if (n + 1 < NT)
              cores_b<KW / 8>(b, s, v / 8, c0 / 8 + n);
            else
              cores_b1<KW / 8>(b, s, v / 8, c0 / 8 + n);
#pragma unroll
            for (int m = 0; m < 2; m++) {
              mma_bf16(acc[m * NT + n], a[m], b);
              if (n + 1 < NT) mma_bf16(acc[m * NT + n + 1], a[m], b + 2);
            }
          }
        }
      } else if (p == 0 && (DELTA || (group == 3 && !tri))) {
#if DELTA
        const bf16* rows = tri ? x.dv : x.out;
#else
        const bf16* rows = x.out;
#endif
#pragma unroll
        for (int v = 0; v < VT; v += 16) {
          unsigned ab[4], as[4];
          a_rows(ab, rows + big * 16 * TPITCH + v, TPITCH);
          a_rows(as, rows + small * 16 * TPITCH + v, TPITCH);
#pragma unroll
          for (int n = 0; n < 5; n++) {
            bool below = n < 4 - half;
            unsigned a[4], b[4];
#pragma unroll
            for (int e = 0; e < 4; e++) a[e] = below ? ab[e] : as[e];
#if DELTA
            cores_b<CHUNK / 8>(b, x.u, v / 8, (below ? n : n - 4 + half) * 2);
#else
            b_rows(b, x.u + (below ? n : n - 4 + half) * 16 * TPITCH + v, TPITCH);
#endif
            mma_bf16(acc[2 * n], a, b);
            mma_bf16(acc[2 * n + 1], a, b + 2);
          }
        }
      }
#pragma unroll
      for (int j = thread * 8; j < VT * KW; j += THREADS * 8) {
        Vec<unsigned, 4> a = loadv<4>((const unsigned*)(x.s + j)), b = loadv<4>((const unsigned*)(x.ds + j));
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float2 y = unpack2(b[e]);
          through += dot_pairs(a[e], y.x, y.y);
        }
      }
    }

    // reach: dot products with the rows of q or k, of what stands in acc
    const bf16* own = group == 0 ? w.q : w.k;
    auto dots = [&](float (*to)[2][CHUNK]) {
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          int i = r0 + m * 16 + r * 8 + gi;
          float sum = 0.f;
#pragma unroll
          for (int n = 0; n < NT; n++)
            sum += dot_pairs(*(const unsigned*)(own + i * XPITCH + p * KW + c0 + n * 8 + tj), acc[m * NT + n][2 * r], acc[m * NT + n][2 * r + 1]);
          sum = warp_sum<4>(sum);
          float* at = &to[group][part % 2][i];
          if (lane % 4 == 0) *at = p == 0 ? sum : *at + sum;
        }
    };
    if (group < 3) {
      float4 last = w.gates[CHUNK - 1];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          float4 f = w.gates[r0 + m * 16 + r * 8 + gi];
          float e = exp2_((group == 2 ? last.x - f.x + (last.y - f.y) : f.x + f.y) * LOG2E) * (group == 0 ? f.z : f.w);
          if (group == 1) e = -e;
#pragma unroll
          for (int n = 0; n < NT; n++) {
            acc[m * NT + n][2 * r] *= e;
            acc[m * NT + n][2 * r + 1] *= e;
          }
        }
      dots(w.reach);
    } else if (p == 0 && (DELTA || !tri)) {
      float rows[2][2] = {};
#pragma unroll
      for (int n = 0; n < 5; n++) {
        bool below = n < 4 - half;
        int I = below ? big : small, J = below ? n : n - 4 + half;
        float columns[2][2] = {};
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float4 products = w.products[part][2 * n + c][lane];
          float xx[4] = {products.x, products.y, products.z, products.w};
#pragma unroll
          for (int r = 0; r < 2; r++) {
            int i = I * 16 + r * 8 + gi, j = J * 16 + c * 8 + tj;
            float4 fi = w.gates[i];
            float factor = tri ? -fi.w : fi.z, value[2];
#pragma unroll
            for (int e = 0; e < 2; e++) {
              float4 fj = w.gates[j + e];
              float y = acc[2 * n + c][2 * r + e];
              if (tri && i == j + e) w.diagonal[i] = y;
              float d = exp2_(fminf(fi.x - fj.x + (fi.y - fj.y), 0.f) * LOG2E);
              value[e] = j + e < i + 1 - tri ? y * d * factor * fj.w : 0.f;
              float carried = j + e < i ? value[e] * xx[2 * r + e] : 0.f;
              columns[c][e] += carried;
              rows[0][r] += below ? carried : 0.f;
              rows[1][r] += below ? 0.f : carried;
            }
            *(unsigned*)((tri ? w.l : w.r) + tri_block(I, J) + (r * 2 + c) * 64 + gi * 8 + tj) = pack2(value[0], value[1]);
          }
        }
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float sum = columns[c][e];
#pragma unroll
            for (int m = 4; m < 32; m *= 2) sum += shfl_xor(sum, m);
            if (gi == 0) w.column[tri][I * (I + 1) / 2 + J][c * 8 + tj + e] = sum;
          }
      }
#pragma unroll
      for (int b = 0; b < 2; b++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          float sum = warp_sum<4>(rows[b][r]);
          if (lane % 4 == 0) w.row[tri][(b ? small : big) * 16 + r * 8 + gi] = sum;
        }
    }
    if (p == PARTS - 1) {
      through = warp_sum(through);
      if (lane == 0) w.through[warp_id()] = through;
    }
    sync_block();

    // the triangles
    if (group < 3) {
      const bf16* right = group == 1 ? w.q : w.k;
      const bf16* left = group == 2 ? w.l : w.r;
#pragma unroll
      for (int m4 = 0; m4 < 4; m4++) {
        unsigned b[2 * NT + 2];
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
          const bf16* corner = right + m4 * 16 * XPITCH + p * KW + c0 + n * 8;
          if (n + 1 < NT)
            b_cols(b + 2 * n, corner, XPITCH);
          else
            ldmatrix_x2_trans(b + 2 * n, corner + (lane & 15) * XPITCH);
        }
#pragma unroll
        for (int m = 0; m < 2; m++) {
          int I = r0 / 16 + m;
          unsigned a[4];
          if (group != 1 && m4 <= I && (DELTA || group == 0)) {
            ldmatrix_x4(a, left + tri_block(I, m4) + ((lane >> 3 & 1) * 2 + (lane >> 4)) * 64 + (lane & 7) * 8);
#pragma unroll
            for (int n = 0; n < NT; n++) mma_bf16(acc[m * NT + n], a, b + 2 * n);
          }
          if (group != 0 && m4 >= I && (DELTA || group == 1)) {
            ldmatrix_x4_trans(a, left + tri_block(m4, I) + lane * 8);
#pragma unroll
            for (int n = 0; n < NT; n++) mma_bf16(acc[m * NT + n], a, b + 2 * n);
          }
        }
      }
      if (NORM) dots(w.along);
      if (group == 2)
#pragma unroll
        for (int i = 0; i < 2 * NT; i++) w.sum[part][i][lane] = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
    } else if (p == PARTS - 1 && part == 0 && dg) {
      float here[2], after[2], total = 0.f;
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int i = 2 * lane + e;
        here[e] = DELTA ? w.row[0][i] + w.row[1][i] : w.row[0][i];
        for (int I = i / 16; I < 4; I++)
          here[e] -= DELTA ? w.column[0][I * (I + 1) / 2 + i / 16][i % 16] + w.column[1][I * (I + 1) / 2 + i / 16][i % 16]
                           : w.column[0][I * (I + 1) / 2 + i / 16][i % 16];
        here[e] += DELTA ? w.reach[0][0][i] + w.reach[0][1][i] + w.reach[1][0][i] + w.reach[1][1][i] : w.reach[0][0][i] + w.reach[0][1][i];
        after[e] = w.reach[2][0][i] + w.reach[2][1][i];
      }
      float upto = after[0] + after[1], from = here[0] + here[1];
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        float a = shfl_up(upto, d), b = shfl_down(from, d);
        if (lane >= d) upto += a;
        if (lane + d < 32) from += b;
      }
      float before = shfl_up(upto, 1), beyond = shfl_down(from, 1);
      if (lane == 0) before = 0.f;
      if (lane == 31) beyond = 0.f;
#pragma unroll
      for (int i = 0; i < THREADS / 32; i++) total += w.through[i];
      total *= coef[sh * COEFS + CHUNK].x;
      int i = 2 * lane;
      if (i < at.count) dg[token + (size_t)i * HEADS] = from + before + total;
      if (i + 1 < at.count) dg[token + (size_t)(i + 1) * HEADS] = here[1] + beyond + before + after[0] + total;
    } else if (DELTA && p == 0 && part == 1 && dbeta) {
#pragma unroll
      for (int i = lane; i < CHUNK; i += 32) {
        float beta = coef[sh * COEFS + i].w;
        if (i < at.count) dbeta[token + (size_t)i * HEADS] = w.diagonal[i] / beta / beta;
      }
    }

    auto keep = [&](bf16* tile, bf16* out) {
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
          for (int r = 0; r < 2; r++) {
            int i = r0 + m * 16 + r * 8 + gi, column = p * KW + c0 + n * 8 + tj;
            unsigned pair = pack2(acc[m * NT + n][2 * r], acc[m * NT + n][2 * r + 1]);
            if constexpr (!AWAY) {
              *(unsigned*)(tile + i * XPITCH + column) = pair;
            } else if (out && i < at.count && column < KEY) {
              bf16* to = out + (token + (size_t)i * HEADS) * KEY + column;
              if (KEY % 2 == 0) {
                *(unsigned*)to = pair;
              } else {
                to[0] = bf16(acc[m * NT + n][2 * r]);
                if (column + 1 < KEY) to[1] = bf16(acc[m * NT + n][2 * r + 1]);
              }
            }
          }
    };
    if (group == 0) keep(w.dq, dq);
    sync_block();
    if (group == 1) {
#pragma unroll
      for (int i = 0; i < 2 * NT; i++) {
        float4 more = w.sum[part][i][lane];
        acc[i][0] += more.x;
        acc[i][1] += more.y;
        acc[i][2] += more.z;
        acc[i][3] += more.w;
      }
      keep(w.dk, dk);
    }
    sync_block();
  }

  // out, through the norms
  auto write = [&](bf16* to, const bf16* dx, const bf16* x, bool keys) {
    constexpr int EACH = KP / 8;
    for (int j = thread; j < CHUNK * EACH; j += THREADS) {
      int i = j / EACH, at8 = j % EACH * 8;
      if (i >= at.count || at8 >= KEY) continue;
      float c = 0.f;
      if (NORM) {
        float norm = keys ? w.gates[i].w : w.gates[i].z * (1.f / SCALE);
        c = keys ? w.along[1][0][i] + w.along[1][1][i] + w.along[2][0][i] + w.along[2][1][i] : w.along[0][0][i] + w.along[0][1][i];
        c *= norm * norm;
      }
      bf16* row = to + (token + (size_t)i * HEADS) * KEY + at8;
      Vec<bf16, 8> a, b = loadv<8>(x + i * XPITCH + at8);
      if constexpr (!AWAY)
        a = loadv<8>(dx + i * XPITCH + at8);
      else if constexpr (KEY % 8 == 0)
        a = loadv<8>(row);
      else
        for (int e = 0; e < 8; e++) a[e] = at8 + e < KEY ? row[e] : bf16(0.f);
#pragma unroll
      for (int e = 0; e < 8; e++) a[e] = bf16(float(a[e]) - c * float(b[e]));
      if constexpr (KEY % 8 == 0)
        storev_once(row, a);
      else
        for (int e = 0; e < 8 && at8 + e < KEY; e++) row[e] = a[e];
    }
  };
  if (dq) write(dq, w.dq, w.q, false);
  if (dk) write(dk, w.dk, w.k, true);
}
