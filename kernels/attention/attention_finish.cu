// After attention with a cache: the new keys and values go into the cache, and what attention_decode found is folded.
//
// The first blocks are a decoded token and a head each, its warps fold FOLD positions each. The others are a token each and write
// the cache, or zeros to the result of a token that no sequence owns. Without parts there are only these, and nothing to zero.

constexpr int THREADS = 128, WARPS = 4, PIECES = (DP + 63) / 64;

// merge folds the result of one slot and head.
GOJET_FN void merge(T* o, float* lse, const float* parts, const float2* sums, Sequences seqs, int S, int N, int ranges, int walk, int slot, int head) {
  __shared__ float meet[WARPS][DP + 2];
  const bool dense = N <= FEW * S;  // slots are tokens
  const int seq = dense ? find_sequence(seqs.cu, S, slot) : slot / FEW;
  if (seq < 0) return;
  const int first = seqs.cu[seq], count = seqs.cu[seq + 1] - first, t = dense ? slot - first : slot % FEW;
  if (count > FEW || t >= count) return;
  const int p = seqs.pos[seq] + t, span = walk * LEAF, lane = lane_id(), warp = warp_id();
  const size_t at = ((size_t)slot * H + head) * ranges;
  const int oldest_span = oldest(p) / span;
  constexpr int OWN = (DP + THREADS - 1) / THREADS;
  float all[OWN] = {};
  Sum total;
  for (int base = oldest(p) / FOLD; base * FOLD <= p; base += WARPS) {
    const int from = max(oldest_span, (base + warp) * (FOLD / span)), to = min(p / span + 1, (base + warp + 1) * (FOLD / span));
    float2 x[PIECES] = {};
    Sum sum;
#pragma unroll 8
    for (int i = from; i < to; i++) {
      const size_t from = at + i - oldest_span;
      const float2 s = sums[from], share = sum.add(s.x, s.y);
#pragma unroll
      for (int m = 0; m < PIECES; m++)
        if (64 * m + 2 * lane < DP) x[m] = Sum::fold(x[m], *(const float2*)(parts + from * DP + 64 * m + 2 * lane), share);
    }
#pragma unroll
    for (int m = 0; m < PIECES; m++)
      if (64 * m + 2 * lane < DP) *(float2*)(meet[warp] + 64 * m + 2 * lane) = x[m];
    if (lane == 0) meet[warp][DP] = sum.high, meet[warp][DP + 1] = sum.sum;
    sync_block();
    for (int w = 0; w < WARPS && (base + w) * FOLD <= p; w++) {
      const float2 share = total.add(meet[w][DP], meet[w][DP + 1]);
#pragma unroll
      for (int j = 0; j < OWN; j++)
        if (j * THREADS + threadIdx.x < DP) all[j] = fmaf(all[j], share.x, meet[w][j * THREADS + threadIdx.x] * share.y);
    }
    sync_block();
  }
  const size_t out = (size_t)(first + t) * H + head;
#pragma unroll
  for (int j = 0; j < OWN; j++)
    if (j * THREADS + threadIdx.x < D) store(o + out * D + j * THREADS + threadIdx.x, all[j] / total.sum);
  if (lse && threadIdx.x == 0) lse[out] = (total.high + __log2f(total.sum)) * LN2;
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_finish(T* o, float* lse, T* kc, T* vc, int cap, const T* k, const T* v, const float* parts,
                                                                       const float2* sums, const int* buf, int S, int N, int ranges, int walk) {
  const Sequences seqs = sequences(buf, S);
  int n = blockIdx.x;
  if (parts) {
    const int merges = min(N, FEW * S) * H;
    if (n < merges) {
      merge(o, lse, parts, sums, seqs, S, N, ranges, walk, n / H, n % H);
      return;
    }
    n -= merges;
  }
  const int seq = find_sequence(seqs.cu, S, n);
  if (seq < 0) {
    if (!parts) return;
    for (int i = threadIdx.x; i < H * D; i += THREADS) store(o + (size_t)n * (H * D) + i, 0.f);
    for (int i = threadIdx.x; lse && i < H; i += THREADS) lse[(size_t)n * H + i] = 0;
    return;
  }
  const int t = n - seqs.cu[seq];
  if (t < seqs.cu[seq + 1] - seqs.cu[seq] - cap) return;
  const size_t to = ((size_t)seqs.slot[seq] * cap + (seqs.pos[seq] + t) % cap) * (KV * D), from = (size_t)n * (KV * D);
  constexpr int each = KV * D % 8 == 0 ? 8 : 1;
  for (int i = threadIdx.x * each; i < KV * D; i += THREADS * each) {
    storev(kc + to + i, loadv<each>(k + from + i));
    storev(vc + to + i, loadv<each>(v + from + i));
  }
}
