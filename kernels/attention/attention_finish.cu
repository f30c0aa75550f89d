// After attention with a cache: the new keys and values go into the cache, and what attention_decode found is folded.
//
// The first blocks are a decoded token and a head each. Its parts come to shared memory together, those of ROUND folds at a time;
// where they are single leaves, EACH of a fold, a warp folds those of each fold first. The other blocks are a token each and write
// the cache, or zeros to the result of a token that no sequence owns. Without parts there are only these, and nothing to zero.

constexpr int THREADS = EACH > 1 ? 32 * ROUND : 128, PIECES = (DP + 127) / 128;
constexpr int BYTES = ROUND * EACH * (DP * 4 + 8);  // as the launch asks for them

// find_owner is find_sequence by a warp together, for one token: few sequences take one trip to memory.
GOJET_FN int find_owner(const int* cu, int S, int token) {
  const int lane = lane_id(), first = cu[0], last = cu[S];
  int lo = 0, hi = S;  // sequences among which it is
  while (hi - lo > 128) {
    const int step = (hi - lo + 31) / 32, at = lo + lane * step;
    const unsigned behind = ballot(at >= hi || cu[at] > token);
    const int begun = behind ? __ffs((int)behind) - 1 : 32;
    lo += max(begun - 1, 0) * step;
    hi = min(hi, lo + step);
  }
  int ends[4], seq = lo;
#pragma unroll
  for (int i = 0; i < 4; i++) ends[i] = cu[min(lo + 32 * i + lane + 1, hi)];
#pragma unroll
  for (int i = 0; i < 4; i++) seq += __popc(ballot(lo + 32 * i + lane < hi && ends[i] <= token));
  return token < first || token >= last ? -1 : seq;
}

// weigh makes of the first n Sums the weights with which they join what is there and `total`. It chooses rather than branches, so that
// all exponentials are under way together.
template <int COUNT> GOJET_FN void weigh(float2 (&s)[COUNT], int n, Sum& total) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    Sum next = total;
    s[i] = next.add(s[i].x, s[i].y);
    total.high = i < n ? next.high : total.high;
    total.sum = i < n ? next.sum : total.sum;
  }
}

// merge folds the result of one slot and head.
GOJET_FN void merge(T* o, float* lse, const float* parts, const float2* sums, const int* buf, int S, int N, int ranges, int slot, int head) {
  SHARED(memory);
  float* rows = (float*)memory;
  float2* tops = (float2*)(rows + ROUND * EACH * DP);
  const bool dense = N <= FEW * S;  // slots are tokens
  const int seq = dense ? find_owner(buf, S, slot) : slot / FEW;
  if (seq < 0) return;
  const Entry own(buf, S, seq);
  const int t = dense ? slot - own.first : slot % FEW;
  if (own.count > FEW || t >= own.count) return;
  const int p = own.start + t, lane = lane_id(), warp = warp_id();
  constexpr int OWN = (DP + THREADS - 1) / THREADS, SPAN = FOLD / EACH;
  const int oldest_span = oldest(p) / SPAN;
  parts += ((size_t)slot * H + head) * ranges * DP;
  sums += ((size_t)slot * H + head) * ranges;
  float all[OWN] = {};
  Sum total;
  for (int base = oldest(p) / FOLD; base * FOLD <= p; base += ROUND) {
    const int from = max(oldest_span, base * EACH), to = min(p / SPAN + 1, (base + ROUND) * EACH), folds = min(ROUND, p / FOLD + 1 - base);
    for (int i = threadIdx.x; i < (to - from) * (DP / 4); i += THREADS) cp_async16(rows + 4 * i, parts + (from - oldest_span) * DP + 4 * i);
    for (int i = threadIdx.x; i < to - from; i += THREADS) cp_async8(tops + i, sums + (from - oldest_span) + i);
    cp_async_commit();
    cp_async_wait<0>();
    sync_block();
    // row is where the parts of a fold begin.
    const auto row = [&](int fold) { return max((base + fold) * EACH - from, 0); };
    if (EACH > 1) {
      if (warp < folds) {  // the result takes the place of the first one
        const int at = row(warp), leaves = min(row(warp + 1), to - from) - at;
        float2 share[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) share[i] = tops[at + min(i, leaves - 1)];
        Sum sum;
        weigh(share, leaves, sum);
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
          const int d = 128 * m + 4 * lane;
          if (d >= DP) continue;
          float4 x = make_float4(0, 0, 0, 0);
#pragma unroll
          for (int i = 0; i < EACH; i++)
            if (i < leaves) x = Sum::fold(x, *(const float4*)(rows + (at + i) * DP + d), share[i]);
          *(float4*)(rows + at * DP + d) = x;
        }
        sync_warp();
        if (lane == 0) tops[at] = make_float2(sum.high, sum.sum);
      }
      sync_block();
    }
    float2 share[ROUND];
#pragma unroll
    for (int i = 0; i < ROUND; i++) share[i] = tops[row(min(i, folds - 1))];
    weigh(share, folds, total);
#pragma unroll
    for (int i = 0; i < ROUND; i++)
#pragma unroll
      for (int j = 0; j < OWN; j++)
        if (i < folds && j * THREADS + threadIdx.x < DP) all[j] = Sum::fold(all[j], rows[row(i) * DP + j * THREADS + threadIdx.x], share[i]);
    sync_block();
  }
  const size_t out = (size_t)(own.first + t) * H + head;
#pragma unroll
  for (int j = 0; j < OWN; j++)
    if (j * THREADS + threadIdx.x < D) store(o + out * D + j * THREADS + threadIdx.x, all[j] / total.sum);
  if (lse && threadIdx.x == 0) lse[out] = (total.high + __log2f(total.sum)) * LN2;
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_finish(T* o, float* lse, T* kc, T* vc, int cap, const T* k, const T* v, const float* parts,
                                                                       const float2* sums, const int* buf, int S, int N, int ranges) {
  int n = blockIdx.x;
  if (parts) {
    const int merges = min(N, FEW * S) * H;
    if (n < merges) {
      merge(o, lse, parts, sums, buf, S, N, ranges, n / H, n % H);
      return;
    }
    n -= merges;
  }
  const int seq = find_owner(buf, S, n);
  if (seq < 0) {
    if (!parts) return;
#pragma unroll 1
    for (int i = threadIdx.x; i < H * D; i += THREADS) store(o + (size_t)n * (H * D) + i, 0.f);
#pragma unroll 1
    for (int i = threadIdx.x; lse && i < H; i += THREADS) lse[(size_t)n * H + i] = 0;
    return;
  }
  const Entry own(buf, S, seq);
  const int t = n - own.first;
  if (t < own.count - cap) return;
  const size_t to = ((size_t)own.slot * cap + (own.start + t) % cap) * (KV * D), from = (size_t)n * (KV * D);
  constexpr int each = KV * D % 8 == 0 ? 8 : 1;
#pragma unroll 1
  for (int i = threadIdx.x * each; i < KV * D; i += THREADS * each) {
    const Vec<T, each> key = loadv<each>(k + from + i), value = loadv<each>(v + from + i);
    storev(kc + to + i, key);
    storev(vc + to + i, value);
  }
}
