// What the kernels share that take states over chunks by products of a warpgroup (sm_90a), for K that is padded to 32, 64, 96 or
// 128: chunks pass through a ring of stages in shared memory, which LOADERS warps fill while groups of 4 warps, each with 64
// columns of the value dim, work. Nothing else brings those together.
//
// A long sequence is cut into segments, so that there is work for all processors: first what state each ends with, from none, and
// how it depends on the one it begins with (warpgroup_ahead.cu, and warpgroup_retreat.cu for gradients), then the states at their
// ends (join.cu), then everything else from those.
#include "hopper.cuh"

#ifndef QUERIED
#define QUERIED 1  // whether queries and P come along
#endif
constexpr int LOADERS = 4;
constexpr int BOXES = (KP + 63) / 64;  // boxes of 64 columns in a row of q or k, the last perhaps half full
constexpr int BOX = CHUNK * 64;        // elements
static_assert(KP % 32 == 0 && KEY % 8 == 0 && KP <= 128 && WARPS % 4 == 0, "");

// Stage is what a chunk needs in shared memory. Boxes are laid out as hopper.cuh says.
struct alignas(1024) Stage {
  bf16 k[BOXES * BOX];
#if DELTA
  bf16 inverse[BOX];  // zero above the diagonal, as P
#endif
#if QUERIED
  bf16 scores[BOX], q[BOXES * BOX];
#endif
  bf16 v[CHUNK * VPITCH];  // v becomes o, or dO becomes dV
  float4 coef[COEFS];
};

struct Ring {
  Stage stages[STAGES];
  Barrier full[STAGES], empty[STAGES];
};

// Segment is what a block works on: so many chunks of a sequence, from token `first` on, where `tokens` are left. Its number is that
// of part_of, its slot that of its first chunk.
struct Segment {
  int seq, part, number, slot, first, tokens, chunks;
  bool any, last;  // whether there is one, and whether it ends the sequence
  GOJET_FN Segment(const int* cu, int S, int size) : number(blockIdx.z) {
    seq = part_of(cu, S, number, size, part);
    int chunk = part * (size / CHUNK);
    first = cu[seq] + part * size;
    tokens = cu[seq + 1] - first;
    chunks = min(size / CHUNK, (tokens + CHUNK - 1) / CHUNK);
    slot = first_slot(cu, seq) + chunk;
    any = part == 0 || (part > 0 && tokens > 0);
    last = tokens <= size;
  }
  // state is where among states [parts, H, K, WIDTH] that of a head stands.
  template <int WIDTH = VALUE> GOJET_FN size_t state(int head) const { return ((size_t)number * HEADS + head) * KEY * WIDTH; }
};

// Parts of a Stage as descriptors count, in units of 16 bytes.
constexpr int NEXT = sizeof(Stage) / 16, INVERSE = BOXES * BOX / 8, SCORES = INVERSE + DELTA * BOX / 8, QUERIES = SCORES + BOX / 8;
// columns_at is where columns kk to kk+15 of a row of q or k begin.
GOJET_FN constexpr int columns_at(int kk) { return (kk / 64 * BOX + kk % 64) / 8; }

// start is called by all threads.
GOJET_FN void start(Ring& ring) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(&ring.full[i], LOADERS);
      barrier_init(&ring.empty[i], WARPS);
    }
    fence_barriers();
  }
  for (int i = 0; i < STAGES; i++)  // the blocks above the diagonal, where nothing will be loaded
    for (int p = threadIdx.x; p < CHUNK * 8; p += THREADS + 32 * LOADERS)
      if (p % 8 / 2 > p / 8 / 16) {
#if DELTA
        *(uint4*)((char*)ring.stages[i].inverse + swizzle128(p / 8, p % 8)) = make_uint4(0, 0, 0, 0);
#endif
#if QUERIED
        *(uint4*)((char*)ring.stages[i].scores + swizzle128(p / 8, p % 8)) = make_uint4(0, 0, 0, 0);
#endif
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

// In blocks of several groups the loading warps leave registers to those.
GOJET_FN void lend_registers() {
  if constexpr (WARPS > 4) registers_down<56>();
}
GOJET_FN void take_registers() {
  if constexpr (WARPS > 4) registers_up<224>();
}

// load_chunks is the work of a loading warp. fetch(stage, i, w) starts copying what is the i-th to be worked on, of which each
// loading warp w has its share. One more follows the last, with nothing in it, so that whoever works can begin the next without
// looking whether there is one. A chunk is handed over when the next one is on its way.
template <class Fetch> GOJET_FN void load_chunks(Ring& ring, int chunks, const Fetch& fetch) {
  lend_registers();
  auto hand = [&](int i) {
    fence_async();
    sync_warp();
    if (lane_id() == 0) barrier_arrive(&ring.full[i % STAGES]);
  };
  for (int i = 0; i <= chunks; i++) {
    if (i >= STAGES) barrier_wait(&ring.empty[i % STAGES], i / STAGES - 1 & 1);
    if (i < chunks) fetch(ring.stages[i % STAGES], i, warp_id() - WARPS);
    cp_async_commit();
    if (i > 0) {
      cp_async_wait<1>();
      hand(i - 1);
    }
  }
  hand(chunks);
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

// put_rows writes a group's columns of O through its columns of the tile of v, 16 whole rows a warp. All warps of the group call it.
// o is the row of the chunk's first token, and left the columns there are from the group's first on.
GOJET_FN void put_rows(bf16* o, bf16* v, const float (&out)[32], int count, int left, const Lane& at) {
  int lane = lane_id();
  sync_warp();
#pragma unroll
  for (int I = 0; I < 4; I++) {
    unsigned r[4];
    pack_a(r, out + 8 * I, out + 8 * I + 4);
    stmatrix_x4_trans(v + (I * 16 + (lane & 7) + (lane >> 4) * 8) * VPITCH + at.mine + (lane >> 3 & 1) * 8, r);
  }
  named_barrier(1 + warp_id() / 4, 128);
  v += at.mine / 64 * 64;
  if constexpr (VALUE % 8 == 0) {
    int row = warp_id() % 4 * 16 + lane / 8, c = lane % 8 * 8;
    Vec<bf16, 8> x[4];
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = loadv<8>(v + (row + 4 * i) * VPITCH + c);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (row + 4 * i < count && c < left) storev_once(o + (size_t)(row + 4 * i) * (HEADS * VALUE) + c, x[i]);
  } else {
    for (int i = threadIdx.x % 128; i < CHUNK * 64; i += 128) {
      int t = i / 64, c = i % 64;
      if (t < count && c < left) o[(size_t)t * (HEADS * VALUE) + c] = v[t * VPITCH + c];
    }
  }
}
