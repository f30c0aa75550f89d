// After attention with a cache: the new keys and values go into the cache, and what attention_decode found is merged.
//
// A block is a token and 4 heads, one a warp; the block of the first heads also writes the cache. Without parts there is nothing
// to merge and one block a token.

constexpr int THREADS = 128, WARPS = 4;

extern "C" __global__ void __launch_bounds__(THREADS) attention_finish(T* o, float* lse, T* kc, T* vc, int cap, const T* k, const T* v, const float* parts, const float* sums,
                                                                       const int* buf, int S, int N, int ranges) {
  const Sequences seqs = sequences(buf, S);
  const int n = blockIdx.x, lane = lane_id(), head = blockIdx.y * WARPS + warp_id();
  const int seq = find_sequence(seqs.cu, S, n);
  if (seq < 0) {
    if (parts && head < H)
      for (int d = lane; d < D; d += 32) store(o + ((size_t)n * H + head) * D + d, 0.f);
    if (parts && lse && head < H && lane == 0) lse[(size_t)n * H + head] = 0;
    return;
  }
  const int count = seqs.cu[seq + 1] - seqs.cu[seq], t = n - seqs.cu[seq], p = seqs.pos[seq] + t;
  if (blockIdx.y == 0 && t >= count - cap) {
    const size_t to = ((size_t)seqs.slot[seq] * cap + p % cap) * (KV * D), from = (size_t)n * (KV * D);
    constexpr int each = KV * D % 8 == 0 ? 8 : 1;
    for (int i = threadIdx.x * each; i < KV * D; i += THREADS * each) {
      storev(kc + to + i, loadv<each>(k + from + i));
      storev(vc + to + i, loadv<each>(v + from + i));
    }
  }
  if (!parts || count > FEW || head >= H) return;
  const size_t at = ((size_t)slot_of(n, seq, t, N, S) * H + head) * ranges;
  const int used = p / RANGE - oldest(p) / RANGE + 1;
  float high = -infinity();
  for (int r = lane; r < used; r += 32) high = fmaxf(high, sums[at + r]);
  high = warp_max(high);
  float total = 0;
  for (int r = lane; r < used; r += 32) total += exp2_(sums[at + r] - high);
  total = warp_sum(total);
  const float each = 1 / total;
  for (int d = lane; d < D; d += 32) {
    float x = 0;
#pragma unroll 8
    for (int r = 0; r < used; r++) x = fmaf(exp2_(sums[at + r] - high) * each, parts[(at + r) * DP + d], x);
    store(o + ((size_t)n * H + head) * D + d, x);
  }
  if (lse && lane == 0) lse[(size_t)n * H + head] = (high + __log2f(total)) * LN2;
}
