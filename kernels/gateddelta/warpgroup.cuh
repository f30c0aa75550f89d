// What the kernels share that take states over chunks by products of a warpgroup (sm_90a), for K that is padded to 32, 64, 96 or
// 128: chunks pass through a ring of stages in shared memory, which LOADERS warps fill while groups of 4 warps, each with 64
// columns of the value dim, work. Nothing else brings those together.
#include "hopper.cuh"

#ifndef LOADERS
#define LOADERS 1
#endif
constexpr int BOXES = (KP + 63) / 64;  // boxes of 64 columns in a row of q or k, the last perhaps half full
constexpr int BOX = CHUNK * 64;        // elements
static_assert(KP % 32 == 0 && KEY % 8 == 0 && KP <= 128 && WARPS % 4 == 0, "");

// Stage is what a chunk needs in shared memory. Boxes are laid out as hopper.cuh says.
struct alignas(1024) Stage {
  bf16 k[BOXES * BOX], q[BOXES * BOX];
  bf16 inverse[BOX], scores[BOX];  // zero above the diagonal
  bf16 v[CHUNK * VPITCH];          // v becomes o, or dO becomes dV
  float4 coef[COEFS];
};

struct Ring {
  Stage stages[STAGES];
  Barrier full[STAGES], empty[STAGES];
};

// Parts of a Stage as descriptors count, in units of 16 bytes.
constexpr int NEXT = sizeof(Stage) / 16, QUERIES = BOXES * BOX / 8, INVERSE = 2 * QUERIES, SCORES = INVERSE + BOX / 8;
// columns_at is where columns kk to kk+15 of a row of q or k begin.
GOJET_FN constexpr int columns_at(int kk) { return (kk / 64 * BOX + kk % 64) / 8; }

// start is called by all threads.
GOJET_FN void start(Ring& ring) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(&ring.full[i], 32);
      barrier_init(&ring.empty[i], WARPS);
    }
    fence_barriers();
  }
  for (int i = 0; i < STAGES; i++)  // the blocks above the diagonal, where nothing will be loaded
    for (int p = threadIdx.x; p < CHUNK * 8; p += THREADS + 32 * LOADERS)
      if (p % 8 / 2 > p / 8 / 16) {
        *(uint4*)((char*)ring.stages[i].inverse + swizzle128(p / 8, p % 8)) = make_uint4(0, 0, 0, 0);
        *(uint4*)((char*)ring.stages[i].scores + swizzle128(p / 8, p % 8)) = make_uint4(0, 0, 0, 0);
      }
  fence_async();
  sync_block();
}

// load_box starts copying 8 PIECES columns of rows to a box, by one warp. room is how many columns there are.
template <int PIECES> GOJET_FN void load_box(bf16* box, const bf16* from, int room, int count) {
  int row = lane_id() / PIECES, piece = lane_id() % PIECES;
  from += (long long)row * (HEADS * KEY) + piece * 8;
#pragma unroll 4
  for (int r = 0; r < CHUNK; r += 32 / PIECES)
    cp_async16((char*)box + swizzle128(row + r, piece), from + (long long)r * (HEADS * KEY), row + r < count && piece * 8 < room);
}
GOJET_FN void load_keys(bf16* boxes, const bf16* from, int count) {
#pragma unroll
  for (int b = 0; b < KP / 64; b++) load_box<8>(boxes + b * BOX, from + b * 64, KEY - b * 64, count);
  if (KP % 64) load_box<4>(boxes + KP / 64 * BOX, from + KP / 64 * 64, KEY - KP / 64 * 64, count);
}

// load_triangle starts copying a stored triangle to a box, by one warp.
GOJET_FN void load_triangle(bf16* box, const bf16* triangle) {
  int row = lane_id() / 16 * 8 + lane_id() % 8, piece = lane_id() % 16 / 8;
#pragma unroll
  for (int I = 0; I < 4; I++)
#pragma unroll
    for (int J = 0; J <= I; J++)
      cp_async16((char*)box + swizzle128(I * 16 + row, J * 2 + piece), triangle + tri_block(I, J) + lane_id() * 8);
}

// Blocks of several groups have as many loading warps as a group, which leave their registers to those.
GOJET_FN void lend_registers() {
  if constexpr (WARPS > 4 && LOADERS == 4) registers_down<56>();
}
GOJET_FN void take_registers() {
  if constexpr (WARPS > 4 && LOADERS == 4) registers_up<224>();
}

// load_chunks is the work of a loading warp. fetch(stage, i) starts copying what is the i-th to be worked on. One more follows
// the last, with nothing in it, so that whoever works can begin the next without looking whether there is one.
template <class Fetch> GOJET_FN void load_chunks(Ring& ring, int chunks, const Fetch& fetch) {
  // No more warps than stages: one that asked for a stage before its last loading was released would take the phase of a barrier
  // for the one before.
  constexpr int USED = LOADERS < STAGES ? LOADERS : STAGES;
  lend_registers();
  if (warp_id() >= WARPS + USED) return;
  for (int i = warp_id() - WARPS; i <= chunks; i += USED) {
    int at = i % STAGES;
    if (i >= STAGES) barrier_wait(&ring.empty[at], i / STAGES - 1 & 1);
    if (i < chunks) fetch(ring.stages[at], i);
    cp_async_commit();
    cp_async_wait<0>();
    fence_async();
    barrier_arrive(&ring.full[at]);
  }
}

// Turn is where in the ring a warp is that works.
struct Turn {
  int at = 0, parity = 0;
  GOJET_FN void next() {
    at = at + 1 == STAGES ? 0 : at + 1;
    parity ^= at == 0;
  }
};

// release gives a stage back for loading. It follows the last use by this warp.
GOJET_FN void release(Ring& ring, int at) {
  sync_warp();
  if (lane_id() == 0) barrier_arrive(&ring.empty[at]);
}

// times_box begins to add a triangle times x: y[v, i] += sum over j of L[i, j] x[v, j]; box describes L along its rows, or for L
// transposed down its rows. Narrower products beside the diagonal would save a third, but ptxas puts products whose accumulators
// overlap in part one after the other.
template <int TRANS> GOJET_FN void times_box(float (&y)[32], const unsigned (&x)[4][4], u64 box, int add) {
#pragma unroll
  for (int J = 0; J < 4; J++) Wgmma<64>::rs<TRANS>(y, x[J], box + (TRANS ? 128 : 2) * J, add || J > 0);
}

// times_rows begins y[v, t] = sum over k of S[k, v] x[t, k]; x describes k or q along its rows.
GOJET_FN void times_rows(float (&y)[32], const unsigned (&a)[KP / 16][4], u64 x) {
#pragma unroll
  for (int kk = 0; kk < KP; kk += 16) Wgmma<64>::rs<0>(y, a[kk / 16], x + columns_at(kk), kk > 0);
}

// add_rows begins s[v, k] += sum over t of u[v, t] x[t, k]; x describes k or q down its rows.
GOJET_FN void add_rows(float (&s)[KP / 2], const unsigned (&u)[4][4], u64 x) {
#pragma unroll
  for (int I = 0; I < 4; I++) Wgmma<KP>::template rs<1>(s, u[I], x + 128 * I, 1);
}
