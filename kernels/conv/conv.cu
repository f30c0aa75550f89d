// The short causal convolution. Activations are of type ELEMENT; the kernel is of type KERNEL, [D, W], or [N, D, W] if DYNAMIC;
// caches are of type ELEMENT. DIM is D, TAPS W; SILU applies it to the sum; SUMS is whether a backward pass leaves sums over
// tokens.
//
// A thread of a block of BLOCK walks over the tokens of a tile for PACK neighbouring features and keeps the last W−1 inputs in registers. The
// operands of AHEAD tokens are read before the first of them is used. A tile has TILE tokens; blocks of tiles that follow
// each other in time are far apart in number, blocks of neighbouring features next to each other.
#include "rows.cuh"

typedef ELEMENT T;
typedef KERNEL K;
constexpr int D = DIM, W = TAPS, PAST = W - 1, EACH = PACK, THREADS = BLOCK;
constexpr int COLUMNS = (D / EACH + THREADS - 1) / THREADS;  // blocks of a tile
typedef Pack<T, EACH> Values;
typedef Pack<K, EACH * W> Taps;  // of a token; tap w of feature f is f·W + w

// Inputs are the EACH features of the last PAST tokens, oldest first.
struct Inputs {
  float v[PAST ? PAST : 1][EACH];

  // before reads those before token t of the sequence at p: of the tokens, and of the cache before its first.
  GOJET_FN void before(int t, const Place& p, int d, const T* x, const T* cache, const int* slot) {
#pragma unroll
    for (int i = 0; i < PAST; i++) {
      const int from = t - PAST + i;
      if (from >= p.lo) {
        Values in;
        in.read(x + (long long)from * D + d);
#pragma unroll
        for (int f = 0; f < EACH; f++) v[i][f] = in[f];
      } else {
#pragma unroll
        for (int f = 0; f < EACH; f++)
          v[i][f] = cache && p.inside() ? float(cache[((long long)slot[p.s] * D + d + f) * PAST + from - p.lo + PAST]) : 0.f;
      }
    }
  }
  // next forgets the oldest and adds x.
  GOJET_FN void next(const Values& x) {
#pragma unroll
    for (int f = 0; f < EACH; f++) {
#pragma unroll
      for (int i = 0; i + 1 < PAST; i++) v[i][f] = v[i + 1][f];
      if (PAST) v[PAST - 1][f] = x[f];
    }
  }
  // sum is the convolution of feature f, with x the input of the token itself.
  GOJET_FN float sum(int f, const Values& x, const Taps& taps, float bias) const {
    float s = bias;
#pragma unroll
    for (int i = 0; i < PAST; i++) s += v[i][f] * taps[f * W + i];
    return s + x[f] * taps[f * W + PAST];
  }
  // write stores them as the cache of a row.
  GOJET_FN void write(T* cache, int row, int d) const {
#pragma unroll
    for (int f = 0; f < EACH; f++)
#pragma unroll
      for (int i = 0; i < PAST; i++) cache[((long long)row * D + d + f) * PAST + i] = T(v[i][f]);
  }
};

// feature is the first feature of this thread, or D or more if it has none.
GOJET_FN int feature() { return (int(blockIdx.x % COLUMNS) * THREADS + int(threadIdx.x)) * EACH; }

// clear writes zeros for tokens from to to.
GOJET_FN void clear(T* y, int from, int to, int d) {
  Values zero;
  zero.clear();
  for (int t = from; t < to; t++) zero.write(y + (long long)t * D + d);
}

// walk computes y for tokens from to to, with p the place of the first, and leaves the last inputs. It goes from run to run:
// tokens of one sequence.
GOJET_FN void walk(T* y, const T* x, const K* kernel, const float* bias, const T* cache, const int* slot, Place p, int from, int to, int d, Inputs& past) {
  Taps fixed;
  if constexpr (!DYNAMIC) fixed.read(kernel + d * W);
  float b[EACH];
#pragma unroll
  for (int f = 0; f < EACH; f++) b[f] = bias ? bias[d + f] : 0.f;
#pragma unroll 1
  for (int end;; from = end, p.next()) {
    end = min(to, p.hi);
    past.before(from, p, d, x, cache, slot);
#pragma unroll 1
    for (int base = from; base < end; base += AHEAD) {
      Values in[AHEAD];
      Taps taps[DYNAMIC ? AHEAD : 1];
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        const long long at = (long long)min(base + j, end - 1) * D + d;
        in[j].read(x + at);
        if constexpr (DYNAMIC) taps[j].read_once(kernel + at * W);
      }
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        if (base + j >= end) break;
        Values out;
#pragma unroll
        for (int f = 0; f < EACH; f++) {
          const float s = past.sum(f, in[j], DYNAMIC ? taps[DYNAMIC ? j : 0] : fixed, b[f]);
          out.set(f, p.inside() ? (SILU ? silu(s) : s) : 0.f);
        }
        out.write(y + (long long)(base + j) * D + d);
        past.next(in[j]);
      }
    }
    if (end == to) break;
  }
}

// forward computes y [tokens, D], a block for each tile.
extern "C" __global__ void __launch_bounds__(THREADS) forward(T* y, const T* x, const K* kernel, const float* bias, const T* cache, const int* buffer, int S, int tokens) {
  const int d = feature(), from = int(blockIdx.x / COLUMNS) * TILE, to = min(tokens, from + TILE);
  if (d >= D) return;
  const Sequences q = sequences(buffer, S);
  Place p{q.cu, S};
  p.find(from);
  Inputs past;
  walk(y, x, kernel, bias, cache, q.slot, p, from, to, d, past);
}

// advance sets the rows of next [rows, D, W−1], which may be cache, and with y, few tokens, that as well: a block for each
// sequence.
extern "C" __global__ void __launch_bounds__(THREADS) advance(T* next, T* y, const T* x, const K* kernel, const float* bias, const T* cache, const int* buffer, int S, int tokens) {
  const int d = feature(), s = blockIdx.x / COLUMNS;
  if (d >= D) return;
  const Sequences q = sequences(buffer, S);
  const Place p{q.cu, S, s, q.cu[s], q.cu[s + 1]};
  Inputs past;
  if (y) {
    if (s == 0) clear(y, 0, p.lo, d);
    if (s == S - 1) clear(y, p.hi, tokens, d);
    walk(y, x, kernel, bias, cache, q.slot, p, p.lo, p.hi, d, past);
  } else {
    past.before(p.hi, p, d, x, cache, q.slot);
  }
  past.write(next, q.slot[s], d);
}

// Gradients are those of the inputs of the last PAST tokens, oldest first, as far as they are known.
struct Gradients {
  float v[PAST ? PAST : 1][EACH];
  T* dx;
  T* dcache;        // zeroed; may be null
  const int* slot;
  int from, to, d;  // the tile

  GOJET_FN void clear() {
#pragma unroll
    for (int i = 0; i < PAST; i++)
#pragma unroll
      for (int f = 0; f < EACH; f++) v[i][f] = 0;
  }
  // emit writes the gradient g of the input at token t, which may lie in the cache of the sequence at p.
  GOJET_FN void emit(const float (&g)[EACH], int t, const Place& p) const {
    if (t >= p.lo) {
      if (t < from || t >= to || !dx) return;
      Values out;
#pragma unroll
      for (int f = 0; f < EACH; f++) out.set(f, g[f]);
      out.write(dx + (long long)t * D + d);
    } else if (dcache && p.inside() && p.lo >= from) {
#pragma unroll
      for (int f = 0; f < EACH; f++) dcache[((long long)slot[p.s] * D + d + f) * PAST + t - p.lo + PAST] = T(g[f]);
    }
  }
  // flush writes all of them; t is the token after the last.
  GOJET_FN void flush(int t, const Place& p) const {
#pragma unroll
    for (int i = 0; i < PAST; i++) emit(v[i], t - PAST + i, p);
  }
  // add takes the gradient g of the sum at token t, and writes that of the input that no later token uses.
  GOJET_FN void add(const float (&g)[EACH], const Taps& taps, int t, const Place& p) {
    float own[EACH];
#pragma unroll
    for (int f = 0; f < EACH; f++) {
      own[f] = g[f] * taps[f * W + PAST];
#pragma unroll
      for (int i = 0; i < PAST; i++) v[i][f] += g[f] * taps[f * W + i];
    }
    emit(PAST ? v[0] : own, t - PAST, p);
#pragma unroll
    for (int i = 0; i + 1 < PAST; i++)
#pragma unroll
      for (int f = 0; f < EACH; f++) v[i][f] = v[i + 1][f];
    if (PAST)
#pragma unroll
      for (int f = 0; f < EACH; f++) v[PAST - 1][f] = own[f];
  }
};

// backward computes dx [tokens, D], dcache and, if DYNAMIC, dkernel [tokens, D, W], where they are not null; if SUMS it leaves
// the sums of a tile for the kernel, [tiles, D, W], and unless DYNAMIC the bias, [tiles, D], of float, where they are not. A tile
// computes the sums of its tokens again, and of the W−1 tokens after it, to which its inputs contribute.
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* dx, T* dcache, K* dkernel, float* sumKernel, float* sumBias, const T* dy, const T* x, const K* kernel, const float* bias, const T* cache, const int* buffer, int S, int tokens) {
  const int d = feature(), tile = blockIdx.x / COLUMNS, from = tile * TILE, to = min(tokens, from + TILE);
  if (d >= D) return;
  const Sequences q = sequences(buffer, S);
  Place p{q.cu, S};
  p.find(to - 1);
  const int last = min(min(tokens, to + PAST), p.hi);
  p.find(from);
  Inputs past;
  Gradients grad{{}, dx, dcache, q.slot, from, to, d};
  Taps fixed;
  if constexpr (!DYNAMIC) fixed.read(kernel + d * W);
  float b[EACH], sumB[EACH] = {}, sumK[SUMS ? EACH * W : 1] = {};
#pragma unroll
  for (int f = 0; f < EACH; f++) b[f] = bias ? bias[d + f] : 0.f;
#pragma unroll 1
  for (int first = from, end;; first = end, p.next()) {
    end = min(last, p.hi);
    past.before(first, p, d, x, cache, q.slot);
    grad.clear();
#pragma unroll 1
    for (int base = first; base < end; base += AHEAD) {
      Values in[AHEAD], out[AHEAD];
      Taps taps[DYNAMIC ? AHEAD : 1];
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        const long long at = (long long)min(base + j, end - 1) * D + d;
        in[j].read(x + at);
        out[j].read(dy + at);
        if constexpr (DYNAMIC) taps[j].read_once(kernel + at * W);
      }
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        const int t = base + j;
        if (t >= end) break;
        const Taps& own = DYNAMIC ? taps[DYNAMIC ? j : 0] : fixed;
        float g[EACH];
#pragma unroll
        for (int f = 0; f < EACH; f++) {
          g[f] = p.inside() ? out[j][f] : 0.f;
          if constexpr (SILU) {
            const float v = past.sum(f, in[j], own, b[f]), s = sigmoid(v);
            g[f] *= s * (1 + v * (1 - s));
          }
        }
        grad.add(g, own, t, p);
        if (t < to) {
          Taps dk;
#pragma unroll
          for (int f = 0; f < EACH; f++) {
            sumB[f] += g[f];
#pragma unroll
            for (int i = 0; i < W; i++) {
              const float v = g[f] * (i < PAST ? past.v[i < PAST ? i : 0][f] : in[j][f]);
              if constexpr (DYNAMIC) dk.set(f * W + i, v);
              if constexpr (SUMS) sumK[f * W + i] += DYNAMIC ? dk[f * W + i] : v;
            }
          }
          if constexpr (DYNAMIC)
            if (dkernel) dk.write_once(dkernel + ((long long)t * D + d) * W);
        }
        past.next(in[j]);
      }
    }
    grad.flush(end, p);
    if (end == last) break;
  }
  if constexpr (SUMS) {
#pragma unroll
    for (int f = 0; f < EACH; f++) {
      if (!DYNAMIC && sumBias) sumBias[(long long)tile * D + d + f] = sumB[f];
#pragma unroll
      for (int i = 0; i < W; i++)
        if (sumKernel) sumKernel[((long long)tile * D + d + f) * W + i] = sumK[f * W + i];
    }
  }
}
