// Tokens from logits: one block a sequence. Every warp owns a stretch of the vocabulary, so that sums and walks are in the
// order of ids. The k-th largest logit and the end of the nucleus are found by narrowing an interval of keys, integers in the
// order of floats: each pass over the row measures three cuts.
//
// Constants: TYPE of logits, VOCAB, BLOCK (threads).
#include "joins.cuh"

typedef TYPE T;
constexpr int V = VOCAB, THREADS = BLOCK;

constexpr int W = V % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;
constexpr int WARPS = THREADS / 32;
constexpr int STEP = 32 * W;  // tokens of a warp's step
constexpr int STEPS = (V + WARPS * STEP - 1) / (WARPS * STEP);
constexpr int AHEAD = STEPS < 3 ? STEPS : 3;
constexpr int WORDS = (V + 31) / 32;

// key is an integer in the order of z; −0 counts as 0.
GOJET_FN unsigned key(float z) {
  const unsigned b = __float_as_uint(z + 0.f);
  return b ^ ((unsigned)((int)b >> 31) | 0x80000000u);
}

// Row is a row of logits with the settings of its sequence.
struct Row {
  const T* z;
  const unsigned* seen;  // null, or a bit for each token of the history
  float penalty, temperature, top;
  int shift;  // low bits that all keys have in common

  // after is the logit after the repetition penalty.
  GOJET_FN float after(float x, int id) const {
    if (!seen || !(seen[id >> 5] >> (id & 31) & 1u)) return x;
    return (float)(x < 0.f ? (double)x * penalty : (double)x / penalty);
  }
  GOJET_FN unsigned rank(float z) const { return key(z) >> shift; }
  GOJET_FN float weight(float z) const { return exp_((z - top) / temperature); }
};

// visit calls f(first id, logits) for the tokens of the warp in the order of ids, W a lane; all lanes call it together,
// with first V or more past the end.
template <class F> GOJET_FN void visit(const Row& r, F f) {
  const int start = warp_id() * STEPS * STEP + lane_id() * W;
  for (int s = 0; s < STEPS; s += AHEAD) {
    Vec<T, W> a[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      const int id = start + (s + u) * STEP;
      if (s + u < STEPS && id < V) a[u] = loadv<W>(r.z + id);
    }
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      if (s + u >= STEPS) break;
      const int id = start + (s + u) * STEP;
      float x[W];
#pragma unroll
      for (int k = 0; k < W; k++) x[k] = id < V ? float(a[u][k]) : 0.f;
      f(id, x);
    }
  }
}

// Three are sums for three cuts.
struct Three {
  double a, b, c;
  GOJET_FN void join(const Three& o) { a += o.a, b += o.b, c += o.c; }
};

// First is what one look at the row says: the largest logit after the penalty and its lowest id, whether one is NaN, and, of
// the logits before it, the largest and the sum of exponentials.
struct First {
  float best, most;
  double sum;
  int id, bad;
  GOJET_FN void join(const First& o) {
    if (o.best > best || (o.best == best && o.id < id)) best = o.best, id = o.id;
    bad |= o.bad;
    const float top = fmaxf(most, o.most);
    sum = sum * exp_(most - top) + o.sum * exp_(o.most - top);
    most = top;
  }
};

// measure is the number, or the weight, of the tokens whose keys reach each of three cuts, the lowest first.
template <bool WEIGHT> GOJET_FN Three measure(const Row& r, unsigned a, unsigned b, unsigned c) {
  Three t{0, 0, 0};
  visit(r, [&](int id, const float (&x)[W]) {
    if (id >= V) return;
    float pa = 0.f, pb = 0.f, pc = 0.f;
#pragma unroll
    for (int k = 0; k < W; k++) {
      const float z = r.after(x[k], id + k);
      const unsigned rank = r.rank(z);
      if (rank < a) continue;
      const float w = WEIGHT ? r.weight(z) : 1.f;
      pa += w;
      pb += rank >= b ? w : 0.f;
      pc += rank >= c ? w : 0.f;
    }
    t.join(Three{pa, pb, pc});
  });
  return join_block<THREADS>(t);
}

// cut is the largest key whose measure reaches target, where that of lo does; above becomes the measure of the next key.
template <bool WEIGHT> GOJET_FN unsigned cut(const Row& r, unsigned lo, double target, double& above) {
  gojet_u64 low = lo, high = (gojet_u64)r.rank(r.top) + 1;
  above = 0;
  while (high - low > 1) {
    const gojet_u64 d = high - low, at[3] = {low + d * 3 / 4, low + d / 2, low + d / 4};
    const Three t = measure<WEIGHT>(r, (unsigned)at[2], (unsigned)at[1], (unsigned)at[0]);
    const double reached[3] = {t.c, t.b, t.a};
#pragma unroll
    for (int i = 0; i < 3; i++) {
      if (at[i] <= low || at[i] >= high) continue;
      if (reached[i] >= target)
        low = at[i];
      else
        high = at[i], above = reached[i];
    }
  }
  return (unsigned)low;
}

// uniform is draw number `at` of a seed, in [0, 1): Philox 4x32-10 of Salmon et al., https://doi.org/10.1145/2063384.2063405.
GOJET_FN double uniform(unsigned seed0, unsigned seed1, unsigned at) {
  unsigned c0 = at, c1 = 0, c2 = 0, c3 = 0;
  for (int round = 0; round < 10; round++) {
    const unsigned h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0, h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ seed0, c1 = l1, c2 = h0 ^ c3 ^ seed1, c3 = l0;
    seed0 += 0x9E3779B9u, seed1 += 0xBB67AE85u;
  }
  return (double)(((gojet_u64)c1 << 32 | c0) >> 11) * 0x1p-53;
}

// Kept is how many tokens of a warp lie above the end of the nucleus, by weight, and at it, by number.
struct Kept {
  double above;
  int ties, pad;
};

// draw chooses among tokens with keys above end, and the first `ties` with key end, in proportion to their weights.
// Every thread gets the id.
GOJET_FN int draw(const Row& r, unsigned end, double ties, double u) {
  __shared__ Kept kept[WARPS];
  __shared__ int chosen;
  double above = 0, equal = 0;
  float tie = 0.f;
  visit(r, [&](int id, const float (&x)[W]) {
    if (id >= V) return;
    float part = 0.f;
#pragma unroll
    for (int k = 0; k < W; k++) {
      const float z = r.after(x[k], id + k);
      const unsigned rank = r.rank(z);
      if (rank > end) part += r.weight(z);
      if (rank == end) equal += 1, tie = r.weight(z);
    }
    above += part;
  });
#pragma unroll
  for (int m = 16; m > 0; m /= 2) {
    above += exchange(above, m);
    equal += exchange(equal, m);
    tie = fmaxf(tie, shfl_xor(tie, m));
  }
  sync_block();
  if (lane_id() == 0) kept[warp_id()] = Kept{above, (int)equal, __float_as_int(tie)};
  if (threadIdx.x == 0) chosen = -1;
  sync_block();
  for (int w = 0; w < WARPS; w++) tie = fmaxf(tie, __int_as_float(kept[w].pad));
  // The warp in whose stretch the draw falls, what lies before it and the ties before it.
  double left = ties, sum = 0;
  for (int w = 0; w < WARPS; w++) {
    const double n = min(left, (double)kept[w].ties);
    sum += kept[w].above + n * tie;
    left -= n;
  }
  double target = u * sum;
  left = ties;
  int mine = -1, last = -1;
  double within = 0, tiesLeft = 0, lastTies = 0;
  for (int w = 0; w < WARPS; w++) {
    const double n = min(left, (double)kept[w].ties), own = kept[w].above + n * tie;
    if (own > 0) last = w, lastTies = left;
    if (mine < 0 && own > target) mine = w, within = target, tiesLeft = left;
    target -= own;
    left -= n;
  }
  if (mine < 0) mine = last, within = infinity(), tiesLeft = lastTies;
  if (warp_id() == mine) {
    int found = -1, fallback = -1;
    visit(r, [&](int id, const float (&x)[W]) {
      if (found >= 0) return;  // for all lanes alike
      float w[W];
      int equal = 0;
#pragma unroll
      for (int k = 0; k < W; k++) {
        const float z = id < V ? r.after(x[k], id + k) : 0.f;
        const unsigned rank = r.rank(z);
        w[k] = id < V && rank >= end ? r.weight(z) : 0.f;
        equal += id < V && rank == end;
      }
      int upto = equal;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const int other = shfl_up(upto, d);
        if (lane_id() >= d) upto += other;
      }
      int before = upto - equal;
      double own = 0;
      int lastKept = -1;
#pragma unroll
      for (int k = 0; k < W; k++) {
        const float z = id < V ? r.after(x[k], id + k) : 0.f;
        if (id < V && r.rank(z) == end && before++ >= tiesLeft) w[k] = 0.f;
        own += w[k];
        if (w[k] > 0.f) lastKept = id + k;
      }
      tiesLeft -= shfl(upto, 31);
      double sum = own;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const double other = shfl_up(sum, d);
        if (lane_id() >= d) sum += other;
      }
      const unsigned past = ballot(sum > within), some = ballot(lastKept >= 0);
      int own_id = -1;
      double rest = within - (sum - own);
#pragma unroll
      for (int k = 0; k < W; k++) {
        if (w[k] > 0.f && (own_id < 0 || rest >= 0)) own_id = id + k;
        rest -= w[k];
      }
      if (past) found = shfl(own_id, __ffs((int)past) - 1);
      if (some) fallback = shfl(lastKept, 31 - __clz((int)some));
      within -= shfl(sum, 31);
    });
    if (lane_id() == 0) chosen = found >= 0 ? found : fallback;
  }
  sync_block();
  return chosen;
}

// choose: ids [S] get a token of each row of logits [S, V], or −1 if a logit is NaN or +Inf or all are −Inf; logprob [S],
// if not null, its log-probability before any setting. settings [S, 4]: temperature (0 is greedy), top-p (1 keeps all),
// top-k (0 keeps all), repetition penalty (1 is none). draws [S, 3]: the seed's low and high half, and the number of the draw,
// which advances. seen [S, WORDS], if not null: the history as bits; the token joins it.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
choose(int* ids, float* logprob, const T* logits, const float* settings, unsigned* draws, unsigned* seen) {
  const size_t s = blockIdx.x;
  const float topP = settings[4 * s + 1], penalty = settings[4 * s + 3];
  const double topK = settings[4 * s + 2];
  const bool penal = seen && penalty != 1.f;
  Row r{logits + s * V, penal ? seen + s * WORDS : nullptr, penalty, fminf(settings[4 * s], 3e38f), 0.f, !penal && sizeof(T) == 2 ? 16 : 0};

  First f{-infinity(), -3.402823466e38f, 0, V, 0};
  visit(r, [&](int id, const float (&x)[W]) {
    if (id >= V) return;
    float most = x[0], part = 0.f;
#pragma unroll
    for (int k = 0; k < W; k++) {
      const float z = r.after(x[k], id + k);
      if (z > f.best) f.best = z, f.id = id + k;
      f.bad |= z != z;
      most = fmaxf(most, x[k]);
    }
    if (most > f.most) {
      f.sum *= exp_(f.most - most);
      f.most = most;
    }
#pragma unroll
    for (int k = 0; k < W; k++) part += exp_(x[k] - f.most);
    f.sum += part;
  });
  f = join_block<THREADS>(f);
  r.top = f.best;
  int id = f.id;
  if (f.bad || f.id >= V || f.best == infinity()) {
    id = -1;
  } else if (r.temperature > 0.f) {
    unsigned end = 0;
    double above = 0, ties = V;
    if (topK > 0 && topK < V) end = cut<false>(r, 0, topK, above);
    if (topP < 1.f) {
      const double target = topP * measure<true>(r, end, end, end).a;
      end = cut<true>(r, end, target, above);
      // Equals at the end of the nucleus come in by their ids until the target is reached.
      const double weights = measure<true>(r, end, end, end).a - above;
      const Three n = measure<false>(r, end, end + 1, end + 1);
      const double count = n.a - n.b, need = weights > 0 ? (target - above) / weights * count * (1 - 1e-12) : count;
      ties = max(1., min((double)(int)need + ((int)need < need), count));
    }
    id = draw(r, end, ties, uniform(draws[3 * s], draws[3 * s + 1], draws[3 * s + 2]));
  }
  if (threadIdx.x != 0) return;
  ids[s] = id;
  draws[3 * s + 2]++;
  if (logprob) logprob[s] = id < 0 ? __uint_as_float(0x7fc00000u) : (float)((double)load(r.z + id) - f.most - log(f.sum));
  if (seen && id >= 0) seen[s * WORDS + (id >> 5)] |= 1u << (id & 31);
}

// mark puts the tokens of sequences into their histories. ids [N], seen [S, WORDS]. One block a sequence.
extern "C" __global__ void __launch_bounds__(256) mark(unsigned* seen, const int* ids, const int* packed, int S) {
  const Sequences q = sequences(packed, S);
  const int s = blockIdx.x;
  for (int t = q.cu[s] + threadIdx.x; t < q.cu[s + 1]; t += 256) {
    const int id = ids[t];
    if (id >= 0 && id < V) atomicOr(seen + (size_t)s * WORDS + (id >> 5), 1u << (id & 31));
  }
}
