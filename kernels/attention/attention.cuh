// What the forward kernels of attention share: which query rows a block owns and where keys and values lie. It precedes the
// text of each.
//
// Constants: ELEMENT (the type of elements), D (features of a head), H and KV (heads), WINDOW (0 for none), CACHED (keys of earlier calls lie in a ring).
// q, o [N, H, D]; k, v [N, KV, D]; lse [N, H]; kc, vc [rows, cap, KV, D]; buf: sequences [3, S+1].
#include "gojet.cuh"

typedef ELEMENT T;

constexpr int GROUP = H / KV;  // query heads that share a key head
constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;

// Keys finds the keys and values of one head of one sequence.
struct Keys {
  const T *k, *v, *kc, *vc;  // of the sequence's first new token, of its row of the cache; all at the head
  int start, cap;            // position of the first new token; positions of the ring
  int first = 0, cell = 0;   // the position where a tile begins, and its place in the ring

  GOJET_FN Keys(const T* k, const T* v, const T* kc, const T* vc, int cap, Sequences q, int seq, int head)
      : Keys(k, v, kc, vc, cap, q.cu[seq], CACHED ? q.pos[seq] : 0, CACHED ? q.slot[seq] : 0, head) {}
  // A sequence's first new token, its position, the sequence's row of the cache.
  GOJET_FN Keys(const T* k, const T* v, const T* kc, const T* vc, int cap, int token, int start, int slot, int head) : start(start), cap(cap) {
    const size_t at = (size_t)token * (KV * D) + head * D, row = (size_t)slot * cap * (KV * D) + head * D;
    this->k = k + at;
    this->v = v + at;
    this->kc = CACHED ? kc + row : nullptr;
    this->vc = CACHED ? vc + row : nullptr;
  }
  // enter says that the positions asked for next are `at` and not much later ones.
  GOJET_FN void enter(int at) {
    first = at;
    if (CACHED) cell = at < cap ? at : at % cap;
  }
  // key and value of position p.
  GOJET_FN const T* key(int p) const { return find(k, kc, p); }
  GOJET_FN const T* value(int p) const { return find(v, vc, p); }
  GOJET_FN const T* find(const T* fresh, const T* ring, int p) const {
    if (!CACHED) return fresh + (long long)p * (KV * D);
    int at = cell + p - first;
    while (at >= cap) at -= cap;
    const bool cached = p < start;
    return (cached ? ring : fresh) + (long long)(cached ? at : p - start) * (KV * D);
  }
};

// oldest is the first position that the query at position p sees.
GOJET_FN int oldest(int p) { return WINDOW ? max(0, p - WINDOW + 1) : 0; }

// Sequences of so few new tokens are decoded: another kernel reads their keys in parallel. The choice depends on the sequence
// alone, and so do a sequence's last bits.
constexpr int FEW = 8;

// Entry is what there is to know of a sequence. A warp reads it in one trip to memory, whatever the compiler would rather put off.
struct Entry {
  int first, count, start, slot;  // tokens, position of the first one, row of the cache
  GOJET_FN Entry(const int* buf, int S, int seq) {
    const int lane = lane_id(), it = buf[seq + (lane < 2 ? lane : min(lane - 1, 2) * (S + 1))];
    first = shfl(it, 0);
    count = shfl(it, 1) - first;
    start = shfl(it, 2);
    slot = shfl(it, 3);
  }
};

#ifdef LEAF
constexpr int FOLD = 8 * LEAF;  // positions whose leaves are folded before they meet others

// Sum is a part of a softmax: the maximum of its scores, base 2, and the sum of the probabilities relative to it.
struct Sum {
  float high, sum;
  GOJET_FN Sum() : high(-infinity()), sum(0) {}
  // add takes another part in and returns the weights of products with values: of those so far, of the other's.
  GOJET_FN float2 add(float other, float more) {
    const float most = fmaxf(high, other);
    const float2 share = make_float2(exp2_(high - most), exp2_(other - most));
    high = most;
    sum = fmaf(sum, share.x, more * share.y);
    return share;
  }
  static GOJET_FN float fold(float x, float y, float2 share) { return fmaf(x, share.x, y * share.y); }
  static GOJET_FN float4 fold(float4 x, float4 y, float2 share) {
    return make_float4(fold(x.x, y.x, share), fold(x.y, y.y, share), fold(x.z, y.z, share), fold(x.w, y.w, share));
  }
};
#endif

// slot_of is the place of a decoded token in parts, float32 [slots, H, ranges, DP], and sums, float32 [slots, H, ranges, 2]: of
// each range of LEAF or FOLD keys, counted from the sequence's beginning, products with values and its Sum. The first range of a
// token is that of its oldest key.
GOJET_FN int slot_of(int n, int s, int t, int N, int S) { return N <= FEW * S ? n : FEW * s + t; }

// Tiles of bfloat16 in shared memory: rows of DP features, padded with zeros.
constexpr int DP = (D + 15) / 16 * 16;
constexpr bool SWIZZLED = DP % 64 == 0;
constexpr int PITCH = SWIZZLED ? DP * 2 : DP * 2 + 16;  // bytes of a row

// place is where the piece of 8 features number c of row r lies: the same piece of eight rows is in different banks.
GOJET_FN char* place(char* tile, int r, int c) { return tile + r * PITCH + (SWIZZLED ? c ^ (r & 7) : c) * 16; }

// fetch starts copying a row's piece c, zeros if !valid.
GOJET_FN void fetch(char* to, const T* row, int c, bool valid) {
  if constexpr (D % 8 == 0) {
    cp_async16(to, row + c * 8, valid && c * 8 < D);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) ((T*)to)[i] = valid && c * 8 + i < D ? row[c * 8 + i] : T(0.f);
  }
}

#ifdef ROWS
// A block owns ROWS query rows that share a key head: tokens in turn, and of each the heads of a group, or a single head where
// a group has more than ROWS.
constexpr int HEADS = GROUP <= ROWS ? GROUP : 1;  // rows of a token
constexpr int TOKENS = ROWS / HEADS;              // tokens of a block
constexpr int PARTS = H / HEADS;                  // blocks that share tokens

struct Tile {
  int seq, first, count;  // tokens
  int head;               // the first of HEADS
  int position;           // of token `first`
  int from, to;           // positions of the keys that some row sees

  // The last tokens of the last sequence come first: they see most keys.
  GOJET_FN Tile(int block, int blocks, Sequences q, int S) {
    head = block % PARTS * HEADS;
    find_chunk(q.cu, S, TOKENS, (blocks - 1 - block) / PARTS, seq, first, count);
    if (seq < 0) return;
    position = first - q.cu[seq] + (CACHED ? q.pos[seq] : 0);
    from = oldest(position);
    to = position + count;
  }
  GOJET_FN bool has(int row) const { return row < count * HEADS; }
  GOJET_FN int at(int row) const { return position + row / HEADS; }  // the position of a row's token
  GOJET_FN size_t index(int row) const { return (size_t)(first + row / HEADS) * H + head + row % HEADS; }  // of a row in [N, H]
};

// clear_outside zeroes the results of tokens that no sequence owns, shared out over the blocks.
GOJET_FN void clear_outside(T* o, float* lse, const int* cu, int S, int N) {
  const int lo = cu[0], hi = cu[S];
  for (int i = blockIdx.x; i < N - (hi - lo); i += gridDim.x) {
    const size_t token = i < lo ? i : i + hi - lo;
    for (int j = threadIdx.x; j < H * D; j += blockDim.x) store(o + token * (H * D) + j, 0.f);
    for (int j = threadIdx.x; lse && j < H; j += blockDim.x) lse[token * H + j] = 0;
  }
}
#endif
