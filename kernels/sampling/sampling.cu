// Tokens from logits, in two launches. survey reads the whole rows, cut into chunks, on as many blocks as there are: it notes
// the largest logit of every chunk and what the chunk weighs. choose, one block a sequence, then reads again only the chunks
// that can matter. The k-th largest logit and the end of the nucleus are found by narrowing an interval of keys, integers in
// the order of floats: each step measures three cuts. Nothing depends on how many sequences there are.
//
// Constants: TYPE of logits, VOCAB, BLOCK (threads of choose).
#include "joins.cuh"

typedef TYPE T;
constexpr int V = VOCAB, THREADS = BLOCK;

constexpr int W = V % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;
constexpr int WARPS = THREADS / 32;
constexpr int STEP = 32 * W;                                     // tokens that a warp looks at together
constexpr int STEPS = (V + STEP * 1024 - 1) / (STEP * 1024);     // of a chunk
constexpr int CHUNK = STEP * STEPS, CHUNKS = (V + CHUNK - 1) / CHUNK;  // at most 1024
constexpr int AHEAD = STEPS < 4 ? 4 / STEPS : 1;                 // chunks that a warp has under way
constexpr int SURVEY = 8;                                        // warps of a block of survey, which take AHEAD chunks each
constexpr int PARTS = (CHUNKS + SURVEY * AHEAD - 1) / (SURVEY * AHEAD);
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
  float temperature, topP, penalty, minP, top;
  double topK;
  int shift;  // low bits that all keys have in common

  GOJET_FN Row(const T* logits, const float* settings, const unsigned* history, int s, int row) {
    const float* set = settings + 5 * (size_t)row;
    temperature = fminf(set[0], 3e38f), topP = set[1], topK = set[2], penalty = set[3], minP = set[4], top = 0.f;
    const bool penal = history && penalty != 1.f;
    z = logits + (size_t)s * V;
    seen = penal ? history + (size_t)row * WORDS : nullptr;
    shift = !penal && sizeof(T) == 2 ? 16 : 0;
  }
  // after is the logit after the repetition penalty.
  GOJET_FN float after(float x, int id) const {
    if (!seen || !(seen[id >> 5] >> (id & 31) & 1u)) return x;
    return (float)(x < 0.f ? (double)x * penalty : (double)x / penalty);
  }
  GOJET_FN unsigned rank(float z) const { return key(z) >> shift; }
  // logit is the reverse of rank.
  GOJET_FN float logit(unsigned rank) const {
    const unsigned k = rank << shift;
    return __uint_as_float(k >> 31 ? k ^ 0x80000000u : ~(k | ((1u << shift) - 1)));
  }
  // least is the lowest rank whose tokens are at least minP times as likely as the best.
  GOJET_FN unsigned least() const {
    if (!(minP > 0.f)) return 0;
    const float z = top + temperature * log_(minP);
    const unsigned lo = rank(z);
    return lo + (logit(lo) < z);
  }
  GOJET_FN float weight(float z) const { return exp_((z - top) / temperature); }
};

// First is what one look at the row says: the largest logit after the penalty and its lowest id, whether one is NaN, and, of
// the logits before it, the largest and the sum of exponentials.
struct First {
  float best, most;
  double sum;
  int id, bad;
  static GOJET_FN First none() { return First{-infinity(), -3.402823466e38f, 0, V, 0}; }
  GOJET_FN void join(const First& o) {
    if (o.best > best || (o.best == best && o.id < id)) best = o.best, id = o.id;
    bad |= o.bad;
    const float top = fmaxf(most, o.most);
    sum = sum * exp_(most - top) + o.sum * exp_(o.most - top);
    most = top;
  }
};

// Chunk is the largest logit of a chunk after the penalty, and the sum of the weights of its tokens where that one has 1.
struct Chunk {
  float most, weight;
};

// read reads chunk c of the warp, W tokens a lane and step.
GOJET_FN void read(const Row& r, int c, Vec<T, W> (&a)[STEPS]) {
#pragma unroll
  for (int s = 0; s < STEPS; s++) {
    const int id = c * CHUNK + s * STEP + lane_id() * W;
    if (id < V) a[s] = loadv<W>(r.z + id);
  }
}

// survey: parts [S, PARTS] and chunks [S, CHUNKS]. rows [S] says which row of settings and seen is a sequence's; null is its own.
extern "C" __global__ void __launch_bounds__(32 * SURVEY)
survey(First* parts, Chunk* chunks, const T* logits, const float* settings, const unsigned* seen, const int* rows) {
  const int s = blockIdx.y;
  const Row r(logits, settings, seen, s, rows ? rows[s] : s);
  const int begin = (blockIdx.x * SURVEY + warp_id()) * AHEAD;
  Vec<T, W> a[AHEAD][STEPS];
#pragma unroll
  for (int u = 0; u < AHEAD; u++)
    if (begin + u < CHUNKS) read(r, begin + u, a[u]);
  First f = First::none();
#pragma unroll
  for (int u = 0; u < AHEAD; u++) {
    const int c = begin + u;
    if (c >= CHUNKS) break;
    float most = -infinity(), weight = 0.f;
#pragma unroll
    for (int t = 0; t < STEPS; t++) {
      const int id = c * CHUNK + t * STEP + lane_id() * W;
      if (id >= V) continue;
      float raw = float(a[u][t][0]), part = 0.f;
#pragma unroll
      for (int k = 0; k < W; k++) {
        const float x = float(a[u][t][k]), z = r.after(x, id + k);
        if (z > f.best) f.best = z, f.id = id + k;
        f.bad |= z != z;
        most = fmaxf(most, z);
        raw = fmaxf(raw, x);
      }
      if (raw > f.most) {
        f.sum *= exp_(f.most - raw);
        f.most = raw;
      }
#pragma unroll
      for (int k = 0; k < W; k++) part += exp_(float(a[u][t][k]) - f.most);
      f.sum += part;
    }
    most = warp_max(most);
    if (r.temperature > 0.f && most > -infinity()) {
#pragma unroll
      for (int t = 0; t < STEPS; t++) {
        const int id = c * CHUNK + t * STEP + lane_id() * W;
        if (id >= V) continue;
#pragma unroll
        for (int k = 0; k < W; k++) weight += exp_((r.after(float(a[u][t][k]), id + k) - most) / r.temperature);
      }
    }
    weight = warp_sum(weight);
    if (lane_id() == 0) chunks[(size_t)s * CHUNKS + c] = Chunk{most, weight};
  }
  f = join_block<32 * SURVEY>(f);
  if (threadIdx.x == 0) parts[(size_t)s * PARTS + blockIdx.x] = f;
}

// Three are sums for three cuts.
struct Three {
  double a, b, c;
  GOJET_FN void join(const Three& o) { a += o.a, b += o.b, c += o.c; }
};

// Table is what choose keeps of the chunks of its row.
struct Table {
  double above[CHUNKS];    // weight of a chunk, of its tokens above the end of the nucleus
  unsigned rank[CHUNKS];   // of its largest logit
  int equal[CHUNKS];       // its tokens at the end of the nucleus
  int live[CHUNKS], lives; // chunks to be read
  unsigned least;          // rank that min-p asks for
};

// keep makes the chunks live that have a token of rank lo or more.
GOJET_FN void keep(Table& t, unsigned lo) {
  sync_block();
  if (warp_id() == 0) {
    int n = 0;
    for (int base = 0; base < CHUNKS; base += 32) {
      const int c = base + lane_id();
      const bool on = c < CHUNKS && t.rank[c] >= lo;
      const unsigned all = ballot(on);
      if (on) t.live[n + __popc(all & ((1u << lane_id()) - 1))] = c;
      n += __popc(all);
    }
    if (lane_id() == 0) t.lives = n;
  }
  sync_block();
}

// visit calls f(chunk, first id, logits) for the live chunks, W tokens a lane and at most V; chunks are dealt to the warps in
// turn. done(chunk) follows the last call for a chunk, for all lanes together.
template <class F, class D> GOJET_FN void visit(const Row& r, const Table& t, F f, D done) {
  for (int i = warp_id(); i < t.lives; i += WARPS * AHEAD) {
    Vec<T, W> a[AHEAD][STEPS];
#pragma unroll
    for (int u = 0; u < AHEAD; u++)
      if (i + u * WARPS < t.lives) read(r, t.live[i + u * WARPS], a[u]);
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      if (i + u * WARPS >= t.lives) break;
      const int c = t.live[i + u * WARPS];
#pragma unroll
      for (int s = 0; s < STEPS; s++) {
        const int id = c * CHUNK + s * STEP + lane_id() * W;
        float x[W];
#pragma unroll
        for (int k = 0; k < W; k++) x[k] = id < V ? r.after(float(a[u][s][k]), id + k) : 0.f;
        if (id < V) f(id, x);
      }
      done(c);
    }
  }
}

// measure is the number, or the weight, of the tokens of live chunks whose keys reach each of three cuts, the lowest first.
template <bool WEIGHT> GOJET_FN Three measure(const Row& r, const Table& table, unsigned a, unsigned b, unsigned c) {
  Three t{0, 0, 0};
  float pa = 0.f, pb = 0.f, pc = 0.f;
  visit(r, table, [&](int, const float (&z)[W]) {
#pragma unroll
    for (int k = 0; k < W; k++) {
      const unsigned rank = r.rank(z[k]);
      if (rank < a) continue;
      const float w = WEIGHT ? r.weight(z[k]) : 1.f;
      pa += w;
      pb += rank >= b ? w : 0.f;
      pc += rank >= c ? w : 0.f;
    }
  }, [&](int) {
    t.join(Three{pa, pb, pc});
    pa = pb = pc = 0.f;
  });
  return join_block<THREADS>(t);
}

// cut is the largest key whose measure reaches target, where that of lo does.
template <class M> GOJET_FN unsigned cut(const Row& r, unsigned lo, double target, M measured) {
  gojet_u64 low = lo, high = (gojet_u64)r.rank(r.top) + 1;
  while (high - low > 1) {
    const gojet_u64 d = high - low, at[3] = {low + d * 3 / 4, low + d / 2, low + d / 4};
    const Three t = measured((unsigned)at[2], (unsigned)at[1], (unsigned)at[0]);
    const double reached[3] = {t.c, t.b, t.a};
#pragma unroll
    for (int i = 0; i < 3; i++) {
      if (at[i] <= low || at[i] >= high) continue;
      if (reached[i] >= target)
        low = at[i];
      else
        high = at[i];
    }
  }
  return (unsigned)low;
}

// kth is the rank of the k-th largest logit.
GOJET_FN unsigned kth(const Row& r, Table& t, double k) {
  unsigned lo = 0;
  if (k <= CHUNKS) { // that of the chunks' largest is no higher
    lo = cut(r, 0, k, [&](unsigned a, unsigned b, unsigned c) {
      Three n{0, 0, 0};
      for (int i = threadIdx.x; i < CHUNKS; i += THREADS) n.join(Three{double(t.rank[i] >= a), double(t.rank[i] >= b), double(t.rank[i] >= c)});
      return join_block<THREADS>(n);
    });
  }
  keep(t, lo);
  return cut(r, lo, k, [&](unsigned a, unsigned b, unsigned c) { return measure<false>(r, t, a, b, c); });
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

// running is the sum of v over this thread of the block and those before it, and in all that over all threads.
template <class N> GOJET_FN N running(N v, N& all) {
  __shared__ N warps[WARPS];
#pragma unroll
  for (int d = 1; d < 32; d *= 2) {
    const N other = shfl_up(v, d);
    if (lane_id() >= d) v += other;
  }
  sync_block();
  if (lane_id() == 31) warps[warp_id()] = v;
  sync_block();
  N before = 0;
  all = 0;
  for (int w = 0; w < WARPS; w++) {
    if (w == warp_id()) before = all;
    all += warps[w];
  }
  return before + v;
}

// Pick is the first chunk that a draw can lie in, and the last that weighs anything.
struct Pick {
  int first, last;
  GOJET_FN void join(const Pick& o) { first = min(first, o.first), last = max(last, o.last); }
};

// draw chooses among the tokens that the table has above end, and the first `ties` with key end, which weigh tie each, in
// proportion to their weights, in the order of ids: the u-th part of all falls on it. Every thread gets the id.
GOJET_FN int draw(const Row& r, const Table& t, unsigned end, int ties, double tie, double u) {
  __shared__ double within;
  __shared__ int left, chosen;
  constexpr int EACH = (CHUNKS + THREADS - 1) / THREADS;
  const int begin = threadIdx.x * EACH;
  int equal = 0, all;
#pragma unroll
  for (int i = 0; i < EACH; i++)
    if (begin + i < CHUNKS) equal += t.equal[begin + i];
  int before = running(equal, all) - equal;
  double own[EACH], sum = 0, whole;
  int allowed[EACH];
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    own[i] = 0, allowed[i] = 0;
    if (begin + i >= CHUNKS) continue;
    allowed[i] = max(0, min(t.equal[begin + i], ties - before));
    before += t.equal[begin + i];
    own[i] = t.above[begin + i] + allowed[i] * tie;
    sum += own[i];
  }
  double upto = running(sum, whole) - sum;
  const double target = u * whole;
  Pick p{CHUNKS, -1};
  double start[EACH];
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    start[i] = upto;
    upto += own[i];
    if (own[i] <= 0) continue;
    p.last = begin + i;
    if (upto > target) p.first = min(p.first, begin + i);
  }
  p = join_block<THREADS>(p);
  const int c = p.first < CHUNKS ? p.first : p.last;
#pragma unroll
  for (int i = 0; i < EACH; i++)
    if (begin + i == c) within = p.first < CHUNKS ? target - start[i] : infinity(), left = allowed[i];
  sync_block();
  if (warp_id() == 0) {
    Vec<T, W> a[STEPS];
    read(r, c, a);
    double rest = within;
    int free = left, found = -1, fallback = -1;
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      const int id = c * CHUNK + s * STEP + lane_id() * W;
      float z[W], w[W];
      int equal = 0;
#pragma unroll
      for (int k = 0; k < W; k++) {
        z[k] = id < V ? r.after(float(a[s][k]), id + k) : 0.f;
        const unsigned rank = r.rank(z[k]);
        w[k] = id < V && rank >= end ? r.weight(z[k]) : 0.f;
        equal += id < V && rank == end;
      }
      int count = equal;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const int other = shfl_up(count, d);
        if (lane_id() >= d) count += other;
      }
      int at = count - equal, last = -1;
      double own = 0;
#pragma unroll
      for (int k = 0; k < W; k++) {
        if (id < V && r.rank(z[k]) == end && at++ >= free) w[k] = 0.f;
        own += w[k];
        if (w[k] > 0.f) last = id + k;
      }
      free -= shfl(count, 31);
      double sum = own;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        const double other = shfl_up(sum, d);
        if (lane_id() >= d) sum += other;
      }
      const unsigned past = ballot(sum > rest), some = ballot(last >= 0);
      int mine = -1;
      double over = rest - (sum - own);
#pragma unroll
      for (int k = 0; k < W; k++) {
        if (w[k] > 0.f && (mine < 0 || over >= 0)) mine = id + k;
        over -= w[k];
      }
      mine = shfl(mine, past ? __ffs((int)past) - 1 : 0);
      last = shfl(last, some ? 31 - __clz((int)some) : 0);
      if (past && found < 0) found = mine;
      if (some) fallback = last;
      rest -= shfl(sum, 31);
    }
    if (lane_id() == 0) chosen = found >= 0 ? found : fallback;
  }
  sync_block();
  return chosen;
}

// sample draws a token by the settings of a row whose largest logit is known.
GOJET_FN int sample(const Row& r, const Chunk* chunks, double u) {
  __shared__ Table t;
  if (threadIdx.x == 0) t.least = r.least();
  double sum = 0;
  for (int c = threadIdx.x; c < CHUNKS; c += THREADS) {
    t.rank[c] = r.rank(chunks[c].most);
    t.above[c] = chunks[c].weight * (double)r.weight(chunks[c].most);
    t.equal[c] = 0;
    sum += t.above[c];
  }
  sync_block();
  const bool some = r.topK > 0 && r.topK < V;
  bool nucleus = r.topP < 1.f;
  if (!some && !nucleus && t.least == 0) return draw(r, t, 0, 0, 0, u);
  unsigned end = some ? kth(r, t, r.topK) : 0;
  double target = 0;
  if (nucleus) {
    unsigned lo = end;
    if (some) {
      keep(t, end);
      target = r.topP * measure<true>(r, t, end, end, end).a;
    } else {
      // All tokens that weigh less than this come to less than what is cut.
      sum = total<THREADS>(sum);
      target = r.topP * sum;
      const float z = r.top + r.temperature * (log_((1.f - r.topP) * (float)(sum / V)) - 1e-3f);
      lo = r.rank(z - 1e-6f * fabsf(z));
      keep(t, lo);
    }
    end = cut(r, lo, target, [&](unsigned a, unsigned b, unsigned c) { return measure<true>(r, t, a, b, c); });
  }
  if (t.least > end) end = t.least, nucleus = false;
  for (int c = threadIdx.x; c < CHUNKS; c += THREADS) t.above[c] = 0;
  keep(t, end);
  float part = 0.f;
  int equal = 0;
  visit(r, t, [&](int, const float (&z)[W]) {
#pragma unroll
    for (int k = 0; k < W; k++) {
      const unsigned rank = r.rank(z[k]);
      if (rank > end) part += r.weight(z[k]);
      equal += rank == end;
    }
  }, [&](int c) {
    part = warp_sum(part);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) equal += shfl_xor(equal, m);
    if (lane_id() == 0) t.above[c] = part, t.equal[c] = equal;
    part = 0.f, equal = 0;
  });
  sync_block();
  // Equals at the end of the nucleus come in by their ids until the target is reached.
  const double tie = r.weight(r.logit(end));
  int ties = V;
  if (nucleus && tie > 0) {
    double above = 0;
    for (int c = threadIdx.x; c < CHUNKS; c += THREADS) above += t.above[c];
    const double need = (target - total<THREADS>(above)) / tie * (1 - 1e-12);
    ties = need < V ? max(1, (int)need + ((int)need < need)) : V;
  }
  return draw(r, t, end, ties, tie, u);
}

// choose: ids [S] get a token of each row of logits [S, V], or −1 if a logit is NaN or +Inf or all are −Inf; logprob [S],
// if not null, its log-probability before any setting. parts and chunks are survey's. What a sequence keeps is in row rows[s],
// or s where rows is null. settings [·, 5]: temperature (0 is greedy), top-p (1 keeps all), top-k (0 keeps all), repetition
// penalty (1 is none), min-p (0 keeps all). draws [·, 3]: the seed's low and high half, and the number of the draw, which advances. seen [·, WORDS],
// if not null: the history as bits; the token joins it.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
choose(int* ids, float* logprob, const First* parts, const Chunk* chunks, const T* logits, const float* settings, unsigned* draws, unsigned* seen, const int* rows) {
  const int s = blockIdx.x, row = rows ? rows[s] : s;
  Row r(logits, settings, seen, s, row);
  First f = First::none();
  for (int p = threadIdx.x; p < PARTS; p += THREADS) f.join(parts[(size_t)s * PARTS + p]);
  f = join_block<THREADS>(f);
  r.top = f.best;
  draws += 3 * (size_t)row;
  int id = f.id;
  if (f.bad || f.id >= V || f.best == infinity())
    id = -1;
  else if (r.temperature > 0.f)
    id = sample(r, chunks + (size_t)s * CHUNKS, uniform(draws[0], draws[1], draws[2]));
  if (threadIdx.x != 0) return;
  ids[s] = id;
  draws[2]++;
  if (logprob) logprob[s] = id < 0 ? __uint_as_float(0x7fc00000u) : (float)((double)load(r.z + id) - f.most - log(f.sum));
  if (seen && id >= 0) seen[(size_t)row * WORDS + (id >> 5)] |= 1u << (id & 31);
}
