// A dynamic convolution whose kernels are a product: with k = h·wᵀ + b [N, D, TAPS], rounded,
//
//	y_t = silu( Σ_i x_{t−PAST+i} · k_{t,·,i} )
//
// h [N, K]; w [D·TAPS, K]; b [D·TAPS] or null; x, y [N, D]; cache [rows, D, PAST] or null; k is written where it is not null.
// Sequences and what lies before their first tokens are as in kernels/conv. See product.cuh; K is STAGES steps or more, so that
// biases of two tiles are enough.
//
// A tile has all taps of CHANNELS channels. Those who finish take it as strips of DEEP rows, of which a lane has two channels.
// Their x, and the PAST rows before, come by a copy of the warp's own, which asks for AHEAD strips ahead.
#include "rows.cuh"

constexpr int TAPS = 4, PAST = TAPS - 1, CHANNELS = COLUMNS / TAPS;
constexpr int DEEP = 8, STRIPS = ROWS / DEEP;
constexpr int AHEAD = 4, WINDOW = (DEEP + PAST) * CHANNELS * 2;
static_assert(CHANNELS == 64 && SLOTS == 4, "a lane has two channels, and their taps are one piece of the tile");

// Windows are the x of the strips that a warp finishes, in their order.
struct Windows {
  const TensorMap* x;
  char* memory;
  Barrier* full;
  int at, parity;  // of the next one to be used
  Walk next;       // of the next one to be asked for
  int strip;

  GOJET_FN Windows(const TensorMap* x, char* shared, int first, Walk begin)
      : x(x), memory(shared + WITH_TILES + first * AHEAD * WINDOW), full(barriers(shared) + first * AHEAD), at(0), parity(0), next(begin), strip(first) {
    for (int i = 0; i < AHEAD; i++) ask(i, first);
  }
  static GOJET_FN Barrier* barriers(char* shared) { return (Barrier*)(shared + STAGES * STAGE + DESK) + BARRIERS; }
  GOJET_FN void ask(int place, int first) {
    if (!next.more()) return;
    if (lane_id() == 0) {
      barrier_expect(full + place, WINDOW);
      tma_load(memory + place * WINDOW, x, next.n * CHANNELS, next.m * ROWS + strip * DEEP - PAST, full + place);
    }
    strip += FINISHERS;
    if (strip >= STRIPS) strip = first, next.next();
  }
  // take reads a lane's two channels and asks for the window that comes into the same place.
  GOJET_FN void take(unsigned (&v)[DEEP + PAST], int first) {
    barrier_wait(full + at, parity);
#pragma unroll
    for (int i = 0; i < DEEP + PAST; i++) v[i] = ((const unsigned*)(memory + at * WINDOW))[i * (CHANNELS / 2) + lane_id()];
    sync_warp();
    ask(at, first);
    if (++at == AHEAD) at = 0, parity ^= 1;
  }
};

// remembered is input i of a cache row's PAST, of channels d and d+1.
GOJET_FN unsigned remembered(const T* row, int d, int i) {
  const T* at = row + (long long)d * PAST + i;
  return at[0].bits | (unsigned)at[PAST].bits << 16;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    generated(const __grid_constant__ TensorMap h, const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap x, const float* bias, const T* cache,
              const int* buffer, T* y, T* kernel, int S, int N, int D, int K) {
  SHARED(memory);
  float* biases = (float*)(memory + WITH_TILES + FINISHERS * AHEAD * WINDOW);  // COLUMNS of each of two tiles
  int tile = 0;                                                                // which of them
  const int steps = (K + STEP - 1) / STEP, across = (D + CHANNELS - 1) / CHANNELS;
  if (threadIdx.x == 0)
    for (int i = 0; i < FINISHERS * AHEAD; i++) barrier_init(Windows::barriers(memory) + i, 1);
  Ring ring(memory);
  Desk desk(memory);
  if (role() == COPIES) {
    if (threadIdx.x == 0) {
      tma_prefetch(&h), tma_prefetch(&w), tma_prefetch(&x);
      for (Walk at(N, across); at.more(); at.next(), tile ^= 1) {
        const int column = at.n * COLUMNS, more = bias ? min(COLUMNS, D * TAPS - column) * 4 : 0;
        for (int k = 0; k < steps; k++) {
          Barrier* full = ring.claim(k == 0 ? STAGE + more : STAGE);
          if (k == 0 && bias) bulk_load(biases + tile * COLUMNS, bias + column, more, full);
          load_left(ring.stage(), &h, k * STEP, at.m, full);
#pragma unroll
          for (int s = 0; s < SLOTS; s++) load_slot(ring.stage(), s, &w, k * STEP, column + s * 64, full);
          ring.next();
        }
      }
    }
  } else if (role() == FINISHES) {
    const Sequences q = sequences(buffer, S);
    Place p{q.cu, S};
    Walk at(N, across);
    const int first = desk.first(), lane = lane_id();
    Windows windows(&x, memory, first, at);
    for (; at.more(); at.next()) {
      const int d = at.n * CHANNELS + lane * 2;
      p.find(at.m * ROWS + first * DEEP);
#pragma unroll 1
      for (int t = first; t < STRIPS; t += FINISHERS) {
        const int row = at.m * ROWS + t * DEEP;
        unsigned in[DEEP + PAST], past[DEEP][PAST], inside = FULL;
        windows.take(in, first);
#pragma unroll
        for (int i = 0; i < DEEP; i++)
#pragma unroll
          for (int k = 0; k < PAST; k++) past[i][k] = in[i + k];
        while (row >= p.hi) p.next();
        if (row - PAST < p.lo || row + DEEP > p.hi || !p.inside()) {
          inside = 0;
#pragma unroll
          for (int i = 0; i < DEEP; i++) {
            while (row + i >= p.hi) p.next();
            if (p.inside()) inside |= 1u << i;
            const bool had = cache && p.inside() && d < D;
#pragma unroll
            for (int k = 0; k < PAST; k++) {
              const int from = row + i - PAST + k - p.lo;
              if (from < 0) past[i][k] = had ? remembered(cache + (long long)q.slot[p.s] * D * PAST, d, PAST + from) : 0;
            }
          }
        }
        desk.turn(t, STRIPS);
        Piece taps[DEEP];
        unsigned out[DEEP];
#pragma unroll
        for (int i = 0; i < DEEP; i++) taps[i] = desk.at((t & (64 / DEEP - 1)) * DEEP + i, lane / 8, lane % 8);
#pragma unroll
        for (int i = 0; i < DEEP; i++) {  // without a branch, so that rows are computed beside each other
          float s0 = 0, s1 = 0;
#pragma unroll
          for (int k = 0; k < TAPS; k++) {
            const float2 v = unpack2(k < PAST ? past[i][k < PAST ? k : 0] : in[i + PAST]);
            const float2 a = unpack2(taps[i][k / 2]), b = unpack2(taps[i][2 + k / 2]);
            s0 += v.x * (k % 2 ? a.y : a.x);
            s1 += v.y * (k % 2 ? b.y : b.x);
          }
          out[i] = pack2(s0 * logistic(s0), s1 * logistic(s1)) & (0u - (inside >> i & 1));
        }
        const int rows = d < D ? min(DEEP, N - row) : 0;
        const long long to = (long long)row * D + d;
#pragma unroll
        for (int i = 0; i < DEEP; i++)
          if (i < rows) *(unsigned*)(y + to + (long long)i * D) = out[i];
        if (kernel) {
#pragma unroll
          for (int i = 0; i < DEEP; i++)
            if (i < rows) put(kernel + (to + (long long)i * D) * TAPS, taps[i]);
        }
      }
      desk.done();
    }
  } else {
    for (Walk at(N, across); at.more(); at.next(), tile ^= 1) {
      float acc[COLUMNS / 2];
      multiply<0, 0>(acc, ring, steps);
      if (bias) {
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
          const float2 b = *(const float2*)(biases + tile * COLUMNS + j * 8 + lane_id() % 4 * 2);
          float* a = acc + 4 * j;
          a[0] += b.x, a[1] += b.y, a[2] += b.x, a[3] += b.y;
        }
      }
      desk.lay(acc);
    }
  }
}
