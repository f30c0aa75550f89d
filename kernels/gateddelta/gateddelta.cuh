// What the kernels of the gated delta rule share. Defines: HEADS, KEY, VALUE (H, K, V), NORM (0 or 1), SCALE, DELTA (0 or 1).
//
// The formulas are those of chunk.go. Queries and keys stay as they are stored; their norms enter as factors per token:
//
//   b_i = sum of g up to and including i in the chunk, n its last token    kn_i, qn_i = 1/sqrt(sum of squares + eps), or 1
//   cx = beta exp(b_i) kn   co = scale exp(b_i) qn   cs = exp(b_n - b_i) kn
//   A_ij = beta_i exp(b_i - b_j) kn_i kn_j (k_i.k_j), j < i     P_ij = scale exp(b_i - b_j) qn_i kn_j (q_i.k_j), j <= i
//   X_i = beta_i v_i - cx_i S'k_i    U = (I + A)^-1 X    O_i = co_i S'q_i + (P U)_i    S <- exp(b_n) S + sum cs_j k_j u_j'
//
// Without DELTA nothing is corrected: beta is 1 and A is 0, so that U = X = v, and (I + A)^-1, U, cx and all that has to do with them
// is left out, in bfloat16 only.
//
// Tokens past the end of a sequence fill its last chunk: there k, q, v, all coefficients, P and U are 0, and (I + A)^-1 is I.
#include "gojet.cuh"

constexpr int CHUNK = 64;
constexpr int KP = (KEY + 15) / 16 * 16;    // K and V with their padding, which is zero
constexpr int VP = (VALUE + 15) / 16 * 16;
constexpr int PITCH = KP + 8;               // elements between rows of q or k in shared memory: no bank conflicts for ldmatrix
constexpr int TRI = 2560;                   // elements of a stored lower triangle
constexpr int COEFS = CHUNK + 1;            // float4 per chunk: {cx, co, cs, beta} of every token, then {exp(b_n), 0, 0, 0}
constexpr float EPS = 1e-6f;

// floor_beta keeps beta away from 0, where nothing changes but what can be divided by.
GOJET_FN float floor_beta(float beta) { return fabsf(beta) < 1e-12f ? 1e-12f : beta; }

// part_of finds part number i of N/size + S, where sequences are cut into parts of size tokens: part p of sequence s has number
// cu[s]/size + s + p, so that parts of neighbours never meet, and there are numbers that no part has. It returns s and sets p;
// there is such a part if p is 0, for an empty sequence too, or if p is above 0 and p size less than the tokens of the sequence.
GOJET_FN int part_of(const int* cu, int S, int i, int size, int& p) {
  int lo = 0, hi = S;
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (cu[mid] / size + mid <= i)
      lo = mid;
    else
      hi = mid;
  }
  p = i - cu[lo] / size - lo;
  return lo;
}

// Place is a chunk: its sequence (-1 if the slot is a gap), tokens first to first+count, and number in the sequence.
struct Place {
  int seq, first, count, chunk;
};

// find_slot says which chunk has slot number slot of N/CHUNK + S, as recurrent.Slot in Go.
GOJET_FN Place find_slot(const int* cu, int S, int slot) {
  Place p;
  int seq = part_of(cu, S, slot, CHUNK, p.chunk);
  p.first = cu[seq] + p.chunk * CHUNK;
  p.count = min(CHUNK, cu[seq + 1] - p.first);
  p.seq = p.chunk >= 0 && p.count > 0 ? seq : -1;
  return p;
}

// first_slot is the slot of the first chunk of a sequence.
GOJET_FN int first_slot(const int* cu, int seq) { return cu[seq] / CHUNK + seq; }

// state_at is where element (v, k) of a kept state stands: cores of 8x8, k fastest, each 64 elements in a row.
GOJET_FN constexpr int state_at(int v, int k) { return ((v / 8) * (KP / 8) + k / 8) * 64 + (v % 8) * 8 + k % 8; }

// value_at is where element (v, t) of the kept U of a chunk stands, transposed and in cores likewise.
GOJET_FN constexpr int value_at(int v, int t) { return ((v / 8) * 8 + t / 8) * 64 + (v % 8) * 8 + t % 8; }

// The inverse (I + A)^-1 is stored without its unit diagonal, so that what the diagonal multiplies need not be rounded.
//
// tri_block is where block (I, J), J <= I, of 16x16 begins in a stored lower triangle, and tri_at where element (i, j) is:
// four cores of 8x8 each.
GOJET_FN constexpr int tri_block(int I, int J) { return (I * (I + 1) / 2 + J) * 256; }
GOJET_FN constexpr int tri_at(int i, int j) {
  return tri_block(i / 16, j / 16) + (i % 16 / 8 * 2 + j % 16 / 8) * 64 + (i % 8) * 8 + j % 8;
}

// zero_outside clears the rows [N, H, WIDTH] of one head among the tokens 64 slot to 64 slot + 63 that belong to no sequence.
// Slots reach over all N tokens.
template <int WIDTH, class E> GOJET_FN void zero_outside(E* x, const int* cu, int S, int N, int slot, int head, int threads) {
  int from = cu[0], to = cu[S], first = slot * CHUNK, last = min(N, first + CHUNK);
  if (first >= from && last <= to) return;
  for (int t = first; t < last; t++) {
    if (t >= from && t < to) continue;
    for (int i = threadIdx.x; i < WIDTH; i += threads) store(x + ((long long)t * HEADS + head) * WIDTH + i, 0.f);
  }
}

// decay_sums writes the sums of g to shared memory: b[i] for the 64 tokens of a chunk, of which only count have a g (at
// g[i * HEADS]). Only one warp calls it. In float32, Sum is double: after a few strong decays a float would round away the
// differences that matter.
template <class Sum> GOJET_FN void decay_sums(Sum* b, const float* g, int count) {
  int i = 2 * lane_id();
  Sum first = i < count ? (Sum)g[(long long)i * HEADS] : (Sum)0;
  Sum both = first + (i + 1 < count ? (Sum)g[(long long)(i + 1) * HEADS] : (Sum)0);
  Sum upto = both;
#pragma unroll
  for (int d = 1; d < 32; d *= 2) {
    Sum other = shfl_up(upto, d);
    if (lane_id() >= d) upto += other;
  }
  b[i] = upto - both + first;
  b[i + 1] = upto;
}

// -------------------------------------------------------------------------------------------- bfloat16 tiles

// load_rows starts copying count rows of width elements, stride elements apart, to a tile [64, PAD] in shared memory with
// pitch elements between rows. Rows from count on and columns from width on become zero. ALIGNED promises that source rows
// begin at multiples of 16 bytes and width is a multiple of 8. The caller commits and waits.
template <bool ALIGNED, int PAD, int THREADS>
GOJET_FN void load_rows(bf16* dst, int pitch, const bf16* src, long long stride, int count, int width, int thread) {
  if constexpr (ALIGNED) {
    // G neighbouring threads take a row, 16 bytes each, so that all addresses are one and constants.
    constexpr int EACH = PAD / 8, G = EACH % 8 == 0 ? 8 : EACH % 4 == 0 ? 4 : 2, STEP = THREADS / G;
    int row = thread / G, at = thread % G * 8;
    dst += row * pitch + at;
    src += row * stride + at;
#pragma unroll
    for (int r = 0; r < CHUNK; r += STEP)
#pragma unroll
      for (int c = 0; c < PAD; c += G * 8)
        if (STEP <= CHUNK || row < CHUNK) cp_async16(dst + r * pitch + c, src + r * stride + c, row + r < count && at + c < width);
  } else {
    for (int i = thread; i < CHUNK * PAD; i += THREADS) {
      int row = i / PAD, at = i % PAD;
      dst[row * pitch + at] = row < count && at < width ? src[row * stride + at] : bf16(0.f);
    }
  }
}

// load_linear starts copying so many bytes, a multiple of 16, as they lie.
template <int BYTES, int THREADS> GOJET_FN void load_linear(void* dst, const void* src, int thread) {
#pragma unroll
  for (int n = 0; n < BYTES; n += THREADS * 16) {
    int i = n + thread * 16;
    if (n + THREADS * 16 <= BYTES || i < BYTES) cp_async16((char*)dst + i, (const char*)src + i);
  }
}

// Fragments of 16x16 pieces of row-major tiles, from the address of their corner. For a tile [m, k] a_rows, and for [k, m]
// a_cols, is the left operand of mma_bf16. For [n, k] b_rows, and for [k, n] b_cols, is the right operand of two products
// side by side: r[0], r[1] for the first 8 columns, r[2], r[3] for the other 8. The accumulators of two products side by
// side, packed in pairs, are a left operand again; a_cols of a tile [t, v] is also laid out as such accumulators [v, t].
GOJET_FN void a_rows(unsigned* r, const bf16* p, int pitch) {
  int l = lane_id();
  ldmatrix_x4(r, p + ((l & 7) + (l >> 3 & 1) * 8) * pitch + (l >> 4) * 8);
}
GOJET_FN void a_cols(unsigned* r, const bf16* p, int pitch) {
  int l = lane_id();
  ldmatrix_x4_trans(r, p + ((l & 7) + (l >> 4) * 8) * pitch + (l >> 3 & 1) * 8);
}
GOJET_FN void b_rows(unsigned* r, const bf16* p, int pitch) {
  int l = lane_id();
  ldmatrix_x4(r, p + ((l & 7) + (l >> 4) * 8) * pitch + (l >> 3 & 1) * 8);
}
GOJET_FN void b_cols(unsigned* r, const bf16* p, int pitch) {
  int l = lane_id();
  ldmatrix_x4_trans(r, p + ((l & 7) + (l >> 3 & 1) * 8) * pitch + (l >> 4) * 8);
}

// b_block is b_rows for a block of a stored triangle, which is [n, k] = [i, j]; b_block_t takes it as [k, n], for products
// with the transposed triangle.
GOJET_FN void b_block(unsigned* r, const bf16* block) { ldmatrix_x4(r, block + lane_id() * 8); }
GOJET_FN void b_block_t(unsigned* r, const bf16* block) {
  int l = lane_id();
  ldmatrix_x4_trans(r, block + ((l >> 3 & 1) * 2 + (l >> 4)) * 64 + (l & 7) * 8);
}

// pack_a makes the left operand from the accumulators of two products side by side.
GOJET_FN void pack_a(unsigned* a, const float* left, const float* right) {
  a[0] = pack2(left[0], left[1]);
  a[1] = pack2(left[2], left[3]);
  a[2] = pack2(right[0], right[1]);
  a[3] = pack2(right[2], right[3]);
}
