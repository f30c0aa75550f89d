// The second part of the forward pass, in bfloat16 by products of a warpgroup (sm_90a): for K that is padded to 32, 64, 96
// or 128. It does what pass.cu does; four neighbouring warps share one product, which reads its tile once for all of them.
#include "hopper.cuh"

constexpr int BOXES = KP / 64;      // boxes of 64 columns in a row of q or k
constexpr bool HALF = KP % 64 > 0;  // and 32 columns more: one box has those of k, then those of q
constexpr int BOX = CHUNK * 64;     // elements
static_assert(KP % 32 == 0 && KEY % 8 == 0 && KP <= 128 && STAGES == 2, "");

// Stage is what a chunk needs in shared memory; there are two. Boxes are laid out as hopper.cuh says.
struct alignas(1024) Stage {
  bf16 rows[(2 * BOXES + HALF) * BOX];   // k, what is left of k and q, q
  bf16 inverse[BOX], scores[BOX];        // zero above the diagonal
  bf16 v[CHUNK * VPITCH];                // becomes o
  float4 coef[COEFS];
};

// keys_at and queries_at are where columns kk to kk+15 begin in a Stage, in units of 16 bytes as descriptors count.
GOJET_FN constexpr int keys_at(int kk) { return (kk / 64 * BOX + kk % 64) / 8; }
GOJET_FN constexpr int queries_at(int kk) { return kk / 64 < BOXES ? ((BOXES + HALF + kk / 64) * BOX + kk % 64) / 8 : (BOXES * BOX + 32 + kk % 64) / 8; }

// load_box starts copying 64 columns of rows, or 32 of each of two, to a box.
GOJET_FN void load_box(bf16* box, const bf16* left, const bf16* right, int room, int count, int thread) {
  int row = thread / 8, piece = thread % 8, at = HALF && left != right ? piece % 4 * 8 : piece * 8;
  const bf16* from = (HALF && piece >= 4 ? right : left) + (long long)row * (HEADS * KEY) + at;
  char* to = (char*)box + swizzle128(row, piece);
#pragma unroll
  for (int r = 0; r < CHUNK; r += THREADS / 8) cp_async16(to + r * 128, from + (long long)r * (HEADS * KEY), row + r < count && at < room);
}

// clear_upper writes the blocks above the diagonal of a box; load_triangle starts copying a stored triangle to the others.
GOJET_FN void clear_upper(bf16* box, int thread) {
  for (int p = thread; p < CHUNK * 8; p += THREADS)
    if (p % 8 / 2 > p / 8 / 16) *(uint4*)((char*)box + swizzle128(p / 8, p % 8)) = make_uint4(0, 0, 0, 0);
}
GOJET_FN void load_triangle(bf16* box, const bf16* triangle, int thread) {
#pragma unroll
  for (int n = 0; n < TRI / 8; n += THREADS) {
    int p = n + thread, block = p / 32;
    int I = block < 1 ? 0 : block < 3 ? 1 : block < 6 ? 2 : 3, J = block - I * (I + 1) / 2;
    int row = I * 16 + p % 32 / 16 * 8 + p % 8, piece = J * 2 + p % 16 / 8;
    if (n + THREADS <= TRI / 8 || p < TRI / 8) cp_async16((char*)box + swizzle128(row, piece), triangle + p * 8);
  }
}

// times_triangle begins to add a triangle times x: y[v, i] += sum over j of L[i, j] x[v, j]; box describes L. Narrower products
// below the first rows would save a third, but ptxas puts products whose accumulators overlap in part one after the other.
GOJET_FN void times_triangle(float (&y)[32], const unsigned (&x)[4][4], u64 box) {
#pragma unroll
  for (int J = 0; J < 4; J++) Wgmma<64>::rs<0>(y, x[J], box + 2 * J, 1);
}

// gated_delta_pass is that of pass.cu.
extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_pass(
    const bf16* __restrict__ q, const bf16* __restrict__ k, const bf16* __restrict__ v, const bf16* __restrict__ inverse,
    const bf16* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* h0, float* hT,
    bf16* __restrict__ o, bf16* __restrict__ states, bf16* __restrict__ values) {
  SHARED(shared);
  Stage* stages = (Stage*)shared;
  int block = blockIdx.x * BLOCK, head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x;
  Lane at;
  bool active = at.column < VP;  // other warps take part in products, on zeros
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], tokens = all.cu[seq + 1] - first, chunks = (tokens + CHUNK - 1) / CHUNK;
  if (chunks == 0 && (!hT || hT == h0)) return;
  size_t row = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)first_slot(all.cu, seq) * HEADS + head;

  auto fetch = [&](int c) {
    Stage& st = stages[c % 2];
    int count = min(CHUNK, tokens - c * CHUNK);
    size_t token = (size_t)(first + c * CHUNK) * HEADS + head, to = sh + (size_t)c * HEADS;
    const bf16 *keys = k + token * KEY, *queries = q + token * KEY;
#pragma unroll
    for (int b = 0; b < BOXES; b++) load_box(st.rows + b * BOX, keys + b * 64, keys + b * 64, KEY - b * 64, count, thread);
    if (HALF) load_box(st.rows + BOXES * BOX, keys + BOXES * 64, queries + BOXES * 64, KEY - BOXES * 64, count, thread);
    load_linear<sizeof(st.coef), THREADS>(st.coef, coef + to * COEFS, thread);
    load_rows<VALUE % 8 == 0, BLOCK, THREADS>(st.v, VPITCH, v + token * VALUE + block, HEADS * VALUE, count, VALUE - block, thread);
    load_triangle(st.inverse, inverse + to * TRI, thread);
#pragma unroll
    for (int b = 0; b < BOXES; b++) load_box(st.rows + (BOXES + HALF + b) * BOX, queries + b * 64, queries + b * 64, KEY - b * 64, count, thread);
    load_triangle(st.scores, scores + to * TRI, thread);
    cp_async_commit();
  };
  for (int i = 0; i < 2; i++) {
    clear_upper(stages[i].inverse, thread);
    clear_upper(stages[i].scores, thread);
  }
  if (chunks > 0) fetch(0);

  const u64 along = along_row(stages), down = down_rows(stages, BOX * 2);
  float s[KP / 2];
  load_state(s, h0 ? h0 + row : h0, at);
  for (int c = 0; c < chunks; c++) {
    cp_async_wait<0>();
    fence_async();
    sync_block();
    Stage& st = stages[c % 2];
    const float4* coefs = st.coef;
    size_t to = sh + (size_t)c * HEADS;
    const u64 rows = along + c % 2 * (sizeof(Stage) / 16), columns = down + c % 2 * (sizeof(Stage) / 16);
    const u64 triangles = rows + (2 * BOXES + HALF) * BOX / 8;

    unsigned a[KP / 16][4];
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) pack_a(a[kk / 16], s + kk / 2, s + kk / 2 + 4);
    float y[32], out[32];  // S'k and S'q
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) Wgmma<64>::rs<0>(y, a[kk / 16], rows + keys_at(kk), kk > 0);
    wgmma_commit();
#pragma unroll
    for (int kk = 0; kk < KP; kk += 16) Wgmma<64>::rs<0>(out, a[kk / 16], rows + queries_at(kk), kk > 0);
    wgmma_commit();
    if (c + 1 < chunks) fetch(c + 1);
    if (states && active)
#pragma unroll
      for (int kk = 0; kk < KP; kk += 16) keep(states + to * (KP * VP) + state_at(at.column, kk), a[kk / 16], KP * 8, at);
    wgmma_wait<1>(y);

    unsigned x[4][4], u[4][4], kept[4][4];
    correct(y, x, st.v, coefs, at);
    wgmma_fence();
    times_triangle(y, x, triangles);
    wgmma_commit();
    float fall = coefs[CHUNK].x;
#pragma unroll
    for (int i = 0; i < KP / 2; i++) s[i] *= fall;
    wgmma_wait<0>(y);
    hold(out);

    share(y, u, kept, coefs, at);
    wgmma_fence();
#pragma unroll
    for (int I = 0; I < 4; I++) Wgmma<KP>::template rs<1>(s, kept[I], columns + I * 128, 1);
    wgmma_commit();
    decay_output(out, coefs, at);
    wgmma_fence();
    times_triangle(out, u, triangles + BOX / 8);
    wgmma_commit();
    if (values && active)
#pragma unroll
      for (int I = 0; I < 4; I++) keep(values + to * (VP * CHUNK) + value_at(at.column, I * 16), u[I], CHUNK * 8, at);
    wgmma_wait<0>(out);
    hold(s);
    if (o && active) put_output(o + ((size_t)(first + c * CHUNK) * HEADS + head) * VALUE, st.v, out, min(CHUNK, tokens - c * CHUNK), at);
  }
  if (hT && active) store_state(hT + row, s, at);
}
