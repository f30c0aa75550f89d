// Losses over rows of logits, gradients in place. A block takes one row of V logits (stored LD apart): one pass gathers
// the largest value and the sum of exponentials relative to it as it goes (Milakov and Gimelshein,
// https://arxiv.org/abs/1805.02867), a second one, from the end of the row, where the caches still hold it, writes the
// gradient over the logits.
//
// Constants: TYPE of logits, VOCAB, APART (elements between rows), BLOCK (threads).
#include "joins.cuh"

typedef TYPE T;
constexpr int V = VOCAB, LD = APART, THREADS = BLOCK;

constexpr int IGNORE = -100;
constexpr float LOWEST = -3.402823466e38f;

constexpr int W = 16 / (int)sizeof(T);  // elements of an access
constexpr int WHOLE = V / W;            // accesses of a row

// Sum adds up a row: float rows are summed in double, as their results must be good to six digits.
template <class E> struct Sums { typedef float type; };
template <> struct Sums<float> { typedef double type; };
typedef Sums<T>::type Sum;

// power is e^(cool·(x − top)).
GOJET_FN float power(float x, float top, float cool) {
  if constexpr (sizeof(T) == 4) return exp_((x - top) * cool);
  return exp2_((x - top) * (cool * 1.4426950408889634f));
}

// Softmax is part of a row: its largest value and Σ e^(cool·(x − top)).
struct Softmax {
  float top;
  Sum sum;

  GOJET_FN void raise(float to, float cool) {
    sum *= power(top, to, cool);
    top = to;
  }
  GOJET_FN void join(const Softmax& o, float cool) {
    if (o.top > top) raise(o.top, cool);
    sum += o.sum * power(o.top, top, cool);
  }
  template <int N> GOJET_FN void add(const float (&x)[N], float cool) {
    float most = x[0], part = 0.f;
#pragma unroll
    for (int i = 1; i < N; i++) most = fmaxf(most, x[i]);
    if (most > top) raise(most, cool);
#pragma unroll
    for (int i = 0; i < N; i++) part += power(x[i], top, cool);
    sum += part;
  }
};

// read converts what was loaded.
template <int N> GOJET_FN void read(float (&x)[N], const Vec<T, N>& a) {
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = float(a[i]);
}
template <int N> GOJET_FN void write(T* p, const float (&x)[N]) {
  Vec<T, N> a;
  if constexpr (sizeof(T) == 2) {
    unsigned pairs[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; i++) pairs[i] = pack2(x[2 * i], x[2 * i + 1]);
    memcpy(&a, pairs, sizeof(a));
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) a[i] = T(x[i]);
  }
  storev(p, a);
}

// each calls f(first element, values of a, values of b) for all of a row in accesses of W elements and single ones at the
// end of the row. b may be null; its values are then those of a. BACK goes from the end.
template <bool BACK, bool TWO, class F> GOJET_FN void each(const T* a, const T* b, F f) {
  constexpr int AHEAD = TWO ? 2 : 4;  // accesses to a row under way in a thread
  constexpr int STRIDE = THREADS * AHEAD, TURNS = (WHOLE + STRIDE - 1) / STRIDE;
  for (int turn = 0; turn < TURNS; turn++) {
    const int base = (BACK ? TURNS - 1 - turn : turn) * STRIDE + (int)threadIdx.x;
    Vec<T, W> va[AHEAD], vb[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      const int i = base + u * THREADS;
      if (i < WHOLE) {
        va[u] = loadv<W>(a + i * W);
        if constexpr (TWO) vb[u] = loadv<W>(b + i * W);
      }
    }
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      const int i = base + u * THREADS;
      if (i < WHOLE) {
        float x[W], y[W];
        read(x, va[u]);
        if constexpr (TWO) read(y, vb[u]);
        f(i * W, x, y);
      }
    }
  }
  if constexpr (V % W != 0) {
    const int i = WHOLE * W + (int)threadIdx.x;
    if (i < V) {
      float x[1] = {load(a + i)}, y[1] = {0.f};
      if constexpr (TWO) y[0] = load(b + i);
      f(i, x, y);
    }
  }
}

// put writes what each was called with: N values from element first.
template <int N> GOJET_FN void put(T* row, int first, const float (&x)[N]) {
  if constexpr (N == W)
    write(row + first, x);
  else
    store(row + first, x[0]);
}

GOJET_FN void fill(T* row, float value) {
  Vec<T, W> a;
#pragma unroll
  for (int i = 0; i < W; i++) a[i] = T(value);
  for (int i = threadIdx.x; i < WHOLE; i += THREADS) storev(row + i * W, a);
  const int i = WHOLE * W + (int)threadIdx.x;
  if (i < V) store(row + i, value);
}

// note keeps the loss of a token, and whether it agrees, for finish.
GOJET_FN void note(float* rows, float* token, size_t row, double loss, bool agree) {
  rows[2 * row] = (float)loss;
  rows[2 * row + 1] = agree ? 1.f : 0.f;
  if (token) token[row] = (float)loss;
}

// cross_entropy: logits [rows, LD] of tokens with these labels, of which *counted count in the whole batch. With gradient
// the logits become weight/counted · (softmax − onehot(label)). A label that is no token gives NaN.
extern "C" __global__ void __launch_bounds__(THREADS, 1024 / THREADS)
cross_entropy(T* logits, const int* labels, const int* counted, float weight, float* rows, float* token, int gradient) {
  const size_t row = blockIdx.x;
  T* z = logits + row * LD;
  const int label = labels[row];
  if (label == IGNORE) {
    if (gradient) fill(z, 0.f);
    if (threadIdx.x == 0) note(rows, token, row, 0, false);
    return;
  }
  if (label < 0 || label >= V) {
    const float nan = __uint_as_float(0x7fc00000u);
    if (gradient) fill(z, nan);
    if (threadIdx.x == 0) note(rows, token, row, nan, false);
    return;
  }
  const float at = load(z + label);
  Softmax s{LOWEST, 0};
  each<false, false>(z, nullptr, [&](int, auto& x, auto&) { s.add(x, 1.f); });
  s = join_block<THREADS>(s, 1.f);  // its barrier keeps the logit of the label until all have it
  if (threadIdx.x == 0) note(rows, token, row, log((double)s.sum) + ((double)s.top - at), at == s.top);
  if (!gradient) return;
  const float scale = weight / (float)*counted, part = (float)(1 / s.sum);
  each<true, false>(z, nullptr, [&](int first, auto& x, auto&) {
    constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = power(x[i], s.top, 1.f) * part;
    if (first <= label && label < first + N) {
#pragma unroll
      for (int i = 0; i < N; i++) x[i] -= first + i == label ? 1.f : 0.f;
    }
#pragma unroll
    for (int i = 0; i < N; i++) x[i] *= scale;
    put(z, first, x);
  });
}

// Divergence is part of two rows: with x = cool·z, Σ e^(xt − top) (zt − zs) beside the sums of both, and the first place of
// the teacher's largest value.
struct Divergence {
  Softmax s, t;
  Sum cross;
  int place, pad;

  GOJET_FN void raise(float to, float cool) {
    cross *= power(t.top, to, cool);
    t.raise(to, cool);
  }
  GOJET_FN void join(const Divergence& o, float cool) {
    s.join(o.s, cool);
    if (o.t.top > t.top || (o.t.top == t.top && o.place < place)) place = o.place;
    if (o.t.top > t.top) raise(o.t.top, cool);
    const Sum down = power(o.t.top, t.top, cool);
    t.sum += o.t.sum * down;
    cross += o.cross * down;
  }
  template <int N> GOJET_FN void add(int first, const float (&x)[N], const float (&y)[N], float cool) {
    s.add(x, cool);
    float most = y[0], sum = 0.f, both = 0.f;
#pragma unroll
    for (int i = 1; i < N; i++) most = fmaxf(most, y[i]);
    if (most > t.top) {
      raise(most, cool);
#pragma unroll
      for (int i = N - 1; i >= 0; i--) {
        if (y[i] == most) place = first + i;
      }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
      const float e = power(y[i], t.top, cool);
      sum += e;
      both = fmaf(e, y[i] - x[i], both);
    }
    t.sum += sum;
    cross += both;
  }
};

// kl: logits of student and teacher [rows, LD]. With gradient the student's become τ·weight/counted · (q − p).
extern "C" __global__ void __launch_bounds__(THREADS, 1024 / THREADS)
kl(T* student, const T* teacher, const int* labels, const int* counted, float weight, float temperature, float* rows, float* token, int gradient) {
  const size_t row = blockIdx.x;
  T* zs = student + row * LD;
  const T* zt = teacher + row * LD;
  if (labels && labels[row] == IGNORE) {
    if (gradient) fill(zs, 0.f);
    if (threadIdx.x == 0) note(rows, token, row, 0, false);
    return;
  }
  const float cool = 1.f / temperature;
  Divergence d{{LOWEST, 0}, {LOWEST, 0}, 0, V - 1, 0};
  each<false, true>(zs, zt, [&](int first, auto& x, auto& y) { d.add(first, x, y, cool); });
  d = join_block<THREADS>(d, cool);
  if (threadIdx.x == 0) {
    const double c = 1. / (double)temperature, sumS = d.s.sum, sumT = d.t.sum;
    const double gap = c * ((double)d.t.top - (double)d.s.top);
    const double loss = c * (double)d.cross / sumT - gap + log(sumS) - log(sumT);
    note(rows, token, row, (double)temperature * temperature * loss, load(zs + d.place) == d.s.top);
  }
  if (!gradient) return;
  sync_block();  // thread 0 has read the student's logit
  const float scale = weight / (float)*counted * temperature;
  const float q = (float)(scale / d.s.sum), p = (float)(scale / d.t.sum);
  each<true, true>(zs, zt, [&](int first, auto& x, auto& y) {
    constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = q * power(x[i], d.s.top, cool) - p * power(y[i], d.t.top, cool);
    put(zs, first, x);
  });
}
