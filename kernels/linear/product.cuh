// What the bfloat16 products of our own on Hopper share; it precedes the text of each. They exist for what they do to a
// result before it leaves: a library's product writes it out for another kernel to read.
//
// A block stays on its processor and takes tiles [ROWS, COLUMNS] of the result one after the other. One warp copies pieces of
// both operands, STEP of the contraction at a time, into a ring of STAGES, and does not wait for the end of a tile. Two
// warpgroups multiply, 64 rows of the tile each; they leave their sums, rounded, on a desk of the size of the tile, and go on
// with the next. Three warps, FINISHERS, take them from there and do the rest, beside the products of the next tile.
// https://github.com/pranjalssh/fast.cu and https://github.com/NVIDIA/cutlass ("cooperative") divide copies and products so,
// and let the warpgroups that multiply finish.
//
// Every element is one sum in the order of the contraction, whatever the number of rows is.
#include "hopper.cuh"

typedef bf16 T;
typedef Vec<unsigned, 4> Piece;  // 8 neighbours in a row

constexpr int ROWS = 128, COLUMNS = 256, STEP = 64, STAGES = 3;
constexpr int GROUP = 16;            // tiles of rows that blocks walk through together, so that operands are read from the cache
constexpr int SLOTS = COLUMNS / 64;  // a tile's columns are pieces of 64, a box each, that may come from different matrices
constexpr int THREADS = 384, FINISHERS = 3;
constexpr int LEFT = ROWS * 128, BOX = 64 * 128, STAGE = LEFT + SLOTS * BOX;
constexpr int DESK = ROWS * COLUMNS * 2;  // for each warpgroup that multiplies, a box [64, 64] of each slot
constexpr int BARRIERS = 2 * STAGES + 4;   // of the ring and the desk
constexpr int WITH_TILES = STAGES * STAGE + DESK + 256;  // behind these and the barriers, what comes with a tile
constexpr int TILES = STAGES + 1;                          // of which there may be memory: copies are no more ahead

// What a warp does. All have the registers that those who multiply need.
enum Role { COPIES, FINISHES, MULTIPLIES };
GOJET_FN Role role() { return threadIdx.x >= 128 ? MULTIPLIES : warp_id() == 0 ? COPIES : FINISHES; }

// Ring is the stages and a place among them, of the thread that copies or of a warp that multiplies.
struct Ring {
  char* memory;
  Barrier *full, *empty;
  int at, parity;

  // All threads of the block open it together, and with it the desk.
  GOJET_FN explicit Ring(char* shared) : memory(shared), at(0), parity(0) {
    full = (Barrier*)(shared + STAGES * STAGE + DESK);
    empty = full + STAGES;
    if (threadIdx.x == 0) {
      for (int i = 0; i < STAGES; i++) barrier_init(full + i, 1), barrier_init(empty + i, 8);
      for (int i = 0; i < 4; i++) barrier_init(empty + STAGES + i, i < 2 ? 128 : 32 * FINISHERS);
      fence_barriers();
    }
    sync_block();
  }
  GOJET_FN char* stage() const { return memory + at * STAGE; }
  GOJET_FN void next() {
    if (++at == STAGES) at = 0, parity ^= 1;
  }
  // claim waits for the stage to be free and announces bytes; await waits for the bytes.
  GOJET_FN Barrier* claim(int bytes) {
    barrier_wait(empty + at, parity ^ 1);
    barrier_expect(full + at, bytes);
    return full + at;
  }
  GOJET_FN void await() { barrier_wait(full + at, parity); }
  // release gives stage `which` back.
  GOJET_FN void release(int which) {
    if (lane_id() == 0) barrier_arrive(empty + which);
  }
};

// Walk goes through the tiles of a block: m and n count tiles of ROWS and COLUMNS.
struct Walk {
  int index, down, across;
  int m, n;
  GOJET_FN Walk(int rows, int across) : index(blockIdx.x), down((rows + ROWS - 1) / ROWS), across(across) { find(); }
  GOJET_FN bool more() const { return index < down * across; }
  GOJET_FN void next() {
    index += gridDim.x;
    find();
  }
  GOJET_FN void find() {
    const int group = index / (GROUP * across), rest = index - group * (GROUP * across), wide = max(1, min(GROUP, down - group * GROUP));
    m = group * GROUP + rest % wide;
    n = rest / wide;
  }
};

// load_left copies the rows of a tile of the left operand [rows, contraction].
GOJET_FN void load_left(char* stage, const TensorMap* map, int column, int m, Barrier* full) { tma_load(stage, map, column, m * ROWS, full); }

// load_slot copies the box at column x and row y to slot `slot` of the right operand.
GOJET_FN void load_slot(char* stage, int slot, const TensorMap* map, int x, int y, Barrier* full) { tma_load(stage + LEFT + slot * BOX, map, x, y, full); }

// multiply takes the next `steps` stages: acc = left·right, a warpgroup's 64 rows of it. DOWN: boxes of an operand have the
// contraction down their rows, else along them.
template <int LEFT_DOWN, int DOWN> GOJET_FN void multiply(float (&acc)[COLUMNS / 2], Ring& ring, int steps) {
  char* rows = ring.memory + (warp_id() / 4 - 1) * BOX;
  const u64 left = LEFT_DOWN ? down_rows(rows, BOX) : along_row(rows);
  const u64 right = DOWN ? down_rows(ring.memory + LEFT, BOX) : along_row(ring.memory + LEFT);
  int before = 0;
  for (int k = 0; k < steps; k++) {
    ring.await();
    const u64 at = (u64)(ring.at * (STAGE / 16));
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < STEP / 16; i++)
      Wgmma<COLUMNS>::template ss<LEFT_DOWN, DOWN>(acc, left + at + i * (LEFT_DOWN ? 128 : 2), right + at + i * (DOWN ? 128 : 2), k + i > 0);
    wgmma_commit();
    wgmma_wait<1>();
    if (k > 0) ring.release(before);
    before = ring.at;
    ring.next();
  }
  wgmma_wait<0>(acc);
  ring.release(before);
}

GOJET_FN void put(T* to, const Piece& v) { storev((unsigned*)to, v); }

// Desk is where sums wait for their end: a half for each warpgroup that multiplies.
struct Desk {
  char* memory;
  Barrier *laid, *taken;
  int parity, half;

  GOJET_FN explicit Desk(char* shared) : memory(shared + STAGES * STAGE), parity(0), half(0) {
    laid = (Barrier*)(shared + STAGES * STAGE + DESK) + 2 * STAGES;
    taken = laid + 2;
  }
  // lay leaves a warpgroup's sums there, rounded, when what it left before has been taken.
  GOJET_FN void lay(const float (&acc)[COLUMNS / 2]) {
    const int half = warp_id() / 4 - 1, lane = lane_id();
    char* boxes = memory + half * (DESK / 2);
    barrier_wait(taken + half, parity ^ 1);
    parity ^= 1;
#pragma unroll
    for (int i = 0; i < COLUMNS / 16; i++) {
      unsigned p[4];
#pragma unroll
      for (int e = 0; e < 4; e++) p[e] = pack2(acc[8 * i + 2 * e], acc[8 * i + 2 * e + 1]);
      stmatrix_x4(boxes + i / 4 * BOX + swizzle128(warp_id() % 4 * 16 + lane % 16, i % 4 * 2 + lane / 16), p);
    }
    barrier_arrive(laid + half);
  }
  // Those who finish take a tile as strips of 16 rows of a box, half of them in each half, by turns: one goes from strip
  // first() to every FINISHERS-th, calls turn before each, and done behind the last.
  GOJET_FN int first() const { return warp_id() - 1; }
  GOJET_FN void turn(int strip, int strips) {
    if (strip == first()) barrier_wait(laid, parity);
    if (half == 0 && strip >= strips / 2) {
      barrier_arrive(taken);
      half = 1;
      barrier_wait(laid + 1, parity);
    }
  }
  GOJET_FN void done() {
    barrier_arrive(taken + 1);
    half = 0;
    parity ^= 1;
  }
  // empty writes the sums of tile m, n as they are to a matrix [N, columns].
  GOJET_FN void empty(T* to, int m, int n, int N, int columns) {
    constexpr int strips = ROWS / 16 * SLOTS;
#pragma unroll 1
    for (int t = first(); t < strips; t += FINISHERS) {
      turn(t, strips);
      const int slot = t / 4 % SLOTS, c = n * COLUMNS + slot * 64 + column();
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int r = m * ROWS + half * 64 + row(t, i);
        const Piece v = piece(t, slot, i);
        if (r < N && c < columns) put(to + (long long)r * columns + c, v);
      }
    }
    done();
  }
  // A thread has 4 pieces of a strip, in column() and row(strip, i) of the box, in one half of the tile.
  static GOJET_FN int column() { return lane_id() % 8 * 8; }
  static GOJET_FN int row(int strip, int i) { return strip % 4 * 16 + i * 4 + lane_id() / 8; }
  GOJET_FN Piece piece(int strip, int slot, int i) const { return at(row(strip, i), slot, lane_id() % 8); }
  // at is any piece of the half.
  GOJET_FN Piece at(int row, int slot, int piece) const {
    return loadv<4>((const unsigned*)(memory + half * (DESK / 2) + slot * BOX + swizzle128(row, piece)));
  }
};

// logistic is sigmoid with the machine's power of two.
GOJET_FN float logistic(float x) { return rcp_(1.f + exp2_(x * -1.4426950408889634f)); }

GOJET_FN unsigned silu2(unsigned v) {
  const float2 x = unpack2(v);
  return pack2(x.x * logistic(x.x), x.y * logistic(x.y));
}
