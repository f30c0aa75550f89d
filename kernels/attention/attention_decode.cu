// Decoding in bfloat16: sequences of FEW new tokens or less read a cache split over its keys (flash decoding,
// https://pytorch.org/blog/flash-decoding/). Keys are divided into ranges of RANGE positions counted from the sequence's
// beginning, whatever else is in the batch, and merged in their order.
// A block is one sequence, one key head with up to 16 of its query heads, and one range. Each of its 4 warps walks over every
// fourth group of 16 keys with copies of its own under way, and never waits for another until the end. The results go to parts
// and sums, see slot_of; attention_finish merges them.

constexpr int THREADS = 128, WARPS = 4;
constexpr int BLOCKHEADS = GROUP < 16 ? GROUP : 16;
constexpr int PARTS = (GROUP + 15) / 16;  // blocks that share a key head
constexpr int STAGE = 2 * 16 * PITCH;                   // 16 keys and their values
constexpr int MERGE = WARPS * 16 * (DP + 2) * 4;        // what the warps leave for merging
constexpr int BYTES = STAGES * WARPS * STAGE > MERGE ? STAGES * WARPS * STAGE : MERGE;  // as the launch asks for them

// pair reads two neighbouring query features as a fragment holds them.
GOJET_FN unsigned pair(const T* row, int d, bool valid) {
  if (!valid) return 0;
  if constexpr (D % 2 == 0) return d < D ? *(const unsigned*)(row + d) : 0;
  return pack2(d < D ? load(row + d) : 0, d + 1 < D ? load(row + d + 1) : 0);
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_decode(float* parts, float* sums, const T* q, const T* k, const T* v, const T* kc, const T* vc, int cap,
                                                                       const int* buf, int S, int N, int ranges, float scale) {
  SHARED(memory);
  const Sequences seqs = sequences(buf, S);
  const int seq = blockIdx.y, part = blockIdx.x % (KV * PARTS), range = blockIdx.x / (KV * PARTS);
  const int first = seqs.cu[seq], count = seqs.cu[seq + 1] - first;
  if (count == 0 || count > FEW) return;
  const int head = part / PARTS * GROUP + part % PARTS * 16;  // the first query head
  const int heads = min(BLOCKHEADS, GROUP - part % PARTS * 16);
  Keys keys(k, v, kc, vc, cap, seqs, seq, part / PARTS);
  const int lane = lane_id(), warp = warp_id(), g = lane / 4, t = lane % 4;
  const float fold = scale * LOG2E;
  char* mine = memory + warp * (STAGES * STAGE);

  for (int token = 0; token < count; token++) {
    const int p = keys.start + token;
    const int from = max(oldest(p), (oldest(p) / RANGE + range) * RANGE), to = min(p + 1, (oldest(p) / RANGE + range + 1) * RANGE);
    if (from >= to) continue;
    const int base = from / 16 * 16, groups = (to - base + 15) / 16;

    const auto start_group = [&](int i) {
      if (i < groups) {
        char* stage = mine + i / WARPS % STAGES * STAGE;
        const int at = base + i * 16;
        keys.enter(at);
        const auto copy = [&](int j, const T* key, const T* value, bool valid) {
          fetch(place(stage, j / (DP / 8), j % (DP / 8)), key, j % (DP / 8), valid);
          fetch(place(stage + 16 * PITCH, j / (DP / 8), j % (DP / 8)), value, j % (DP / 8), valid);
        };
        if (at >= from && at + 16 <= min(to, keys.start) && keys.cell + 16 <= cap) {  // one piece of the ring, as almost always
          const T *key = keys.key(at), *value = keys.value(at);
#pragma unroll
          for (int j = lane; j < 16 * (DP / 8); j += 32) copy(j, key + j / (DP / 8) * (KV * D), value + j / (DP / 8) * (KV * D), true);
        } else {
          for (int j = lane; j < 16 * (DP / 8); j += 32) {
            const int p = at + j / (DP / 8);
            const bool valid = p >= from && p < to;
            copy(j, keys.key(valid ? p : at), keys.value(valid ? p : at), valid);
          }
        }
      }
      cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) start_group(warp + i * WARPS);

    // Rows of the fragments are heads; those past `heads` are zeros.
    unsigned a[DP / 16][4];
    const T* rows = q + ((size_t)(first + token) * H + head) * D;
#pragma unroll
    for (int d = 0; d < DP / 16; d++)
#pragma unroll
      for (int i = 0; i < 4; i++) a[d][i] = pair(rows + (g + i % 2 * 8) * D, 16 * d + i / 2 * 8 + 2 * t, g + i % 2 * 8 < heads);

    float acc[DP / 8][4] = {}, top[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};
    for (int i = warp; i < groups; i += WARPS) {
      cp_async_wait<STAGES - 2>();
      sync_warp();
      start_group(i + (STAGES - 1) * WARPS);
      char* stage = mine + i / WARPS % STAGES * STAGE;
      float s[2][4] = {};
#pragma unroll
      for (int d = 0; d < DP / 16; d++) {
        unsigned b[4];
        ldmatrix_x4(b, place(stage, lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
        mma_bf16(s[0], a[d], b);
        mma_bf16(s[1], a[d], b + 2);
      }
      const int at = base + i * 16 + 2 * t;
      if (base + i * 16 < from || base + i * 16 + 16 > to) {
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int e = 0; e < 4; e++)
            if (at + 8 * n + e % 2 < from || at + 8 * n + e % 2 >= to) s[n][e] = -infinity();
      }
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float most = fmaxf(top[h], warp_max<4>(fmaxf(fmaxf(s[0][2 * h], s[0][2 * h + 1]), fmaxf(s[1][2 * h], s[1][2 * h + 1]))));
        const float low = most * fold, shrink = exp2_(top[h] * fold - low);
        top[h] = most;
        sum[h] *= shrink;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            s[n][2 * h + e] = exp2_(fmaf(s[n][2 * h + e], fold, -low));
            sum[h] += s[n][2 * h + e];
          }
#pragma unroll
        for (int n = 0; n < DP / 8; n++) {
          acc[n][2 * h] *= shrink;
          acc[n][2 * h + 1] *= shrink;
        }
      }
      const unsigned x[4] = {pack2(s[0][0], s[0][1]), pack2(s[0][2], s[0][3]), pack2(s[1][0], s[1][1]), pack2(s[1][2], s[1][3])};
#pragma unroll
      for (int n = 0; n < DP / 16; n++) {
        unsigned b[4];
        ldmatrix_x4_trans(b, place(stage + 16 * PITCH, lane % 16, 2 * n + lane / 16));
        mma_bf16(acc[2 * n], x, b);
        mma_bf16(acc[2 * n + 1], x, b + 2);
      }
      sync_warp();
    }
    cp_async_wait<0>();
    sync_block();

    // The warps' results meet in shared memory: of each row the sum of products, the maximum and the sum.
    float* meet = (float*)memory;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float total = warp_sum<4>(sum[h]);
      float* row = meet + (warp * 16 + g + 8 * h) * (DP + 2);
#pragma unroll
      for (int n = 0; n < DP / 8; n++) {
        row[8 * n + 2 * t] = acc[n][2 * h];
        row[8 * n + 2 * t + 1] = acc[n][2 * h + 1];
      }
      if (t == 0) {
        row[DP] = top[h] * fold;
        row[DP + 1] = total;
      }
    }
    sync_block();
    const int slot = slot_of(first + token, seq, token, N, S);
    for (int r = warp; r < heads; r += WARPS) {
      float high = -infinity(), total = 0, weight[WARPS];
#pragma unroll
      for (int w = 0; w < WARPS; w++) high = fmaxf(high, meet[(w * 16 + r) * (DP + 2) + DP]);
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        weight[w] = exp2_(meet[(w * 16 + r) * (DP + 2) + DP] - high);
        total += weight[w] * meet[(w * 16 + r) * (DP + 2) + DP + 1];
      }
      const size_t out = ((size_t)slot * H + head + r) * ranges + range;
      for (int d = lane; d < DP; d += 32) {
        float x = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++) x = fmaf(weight[w], meet[(w * 16 + r) * (DP + 2) + d], x);
        parts[out * DP + d] = x / total;
      }
      if (lane == 0) sums[out] = high + __log2f(total);
    }
    sync_block();
  }
}
