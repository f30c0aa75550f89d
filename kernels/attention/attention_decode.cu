// Decoding in bfloat16: sequences of FEW new tokens or less read a cache split over its keys (flash decoding,
// https://pytorch.org/blog/flash-decoding/). Keys are divided into leaves of LEAF positions counted from the sequence's
// beginning, whatever else is in the batch. Results of leaves are folded in their order within each FOLD positions, and then
// those; attention_finish goes on where a block ends. So a sequence's last bits do not depend on the keys of a block.
//
// A block is one sequence, KEYHEADS key heads with up to 16 query heads each, and `walk` leaves: one, or whole folds. Each of its 4 warps walks over
// every WALKERS-th group of 16 keys of one head with copies of its own under way, and waits for the others at the end of a leaf
// only; warps that read the same keys of different heads stay together, because those lie side by side in memory. The results of
// a single leaf or of each fold go to parts and sums, see slot_of.

constexpr int THREADS = 128, WARPS = 4;
constexpr int BLOCKHEADS = GROUP < 16 ? GROUP : 16;
constexpr int PARTS = (GROUP + 15) / 16;  // blocks that share a key head
constexpr int WALKERS = WARPS / KEYHEADS;
constexpr int STAGE = 2 * 16 * PITCH;                   // 16 keys and their values
constexpr int MEET = DP + 8;                            // floats of a row where the warps' results meet
constexpr int BYTES = STAGES * WARPS * STAGE + WARPS * BLOCKHEADS * MEET * 4;  // as the launch asks for them
static_assert(KV % KEYHEADS == 0 && (KEYHEADS == 1 || PARTS == 1) && LEAF % (16 * WALKERS) == 0, "shares of the work");

// pair reads two neighbouring query features as a fragment holds them.
GOJET_FN unsigned pair(const T* row, int d, bool valid) {
  if (!valid) return 0;
  if constexpr (D % 2 == 0) return d < D ? *(const unsigned*)(row + d) : 0;
  return pack2(d < D ? load(row + d) : 0, d + 1 < D ? load(row + d + 1) : 0);
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_decode(float* parts, float2* sums, const T* q, const T* k, const T* v, const T* kc, const T* vc, int cap,
                                                                       const int* buf, int S, int N, int ranges, int walk, float scale, int* counter) {
  SHARED(memory);
  if (counter && blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) *counter = 0;  // of attention_wgmma, which follows
  constexpr int each = KV / KEYHEADS * PARTS;  // blocks that share keys
  const int seq = blockIdx.y, part = blockIdx.x % each, own_span = blockIdx.x / each;
  const Entry entry(buf, S, seq);
  const int first = entry.first, count = entry.count, start = entry.start;
  if (count == 0 || count > FEW) return;
  const int lane = lane_id(), warp = warp_id(), g = lane / 4, t = lane % 4;
  const int walker = warp / KEYHEADS, own = warp % KEYHEADS;  // own: of the block's key heads
  const int keyhead = part / PARTS * KEYHEADS, head = keyhead * GROUP + part % PARTS * 16;  // the block's first ones
  const int heads = min(BLOCKHEADS, GROUP - part % PARTS * 16);
  Keys keys(k, v, kc, vc, cap, first, start, entry.slot, keyhead + own);
  const float fold = scale * LOG2E;
  char* mine = memory + warp * (STAGES * STAGE);
  float* meet = (float*)(memory + STAGES * WARPS * STAGE);
  const int kept = min(walk, FOLD / LEAF);  // leaves of a result

  for (int token = 0; token < count; token++) {
    const int p = start + token, span = walk * LEAF, begin = (oldest(p) / span + own_span) * span;
    const int from = max(oldest(p), begin), to = min(p + 1, begin + span);
    if (from >= to) continue;
    int group = from / 16;  // the warp's next: every WALKERS-th one of the sequence's
    group += (walker - group % WALKERS + WALKERS) % WALKERS;

    int coming = group, stage = 0, free = 0;  // the next group to copy, the stage to read, the stage to write
    const auto start_group = [&]() {
      const int at = coming * 16;
      if (at < to) {
        char* stage = mine + free * STAGE;
        keys.enter(at);
        if (at >= from && at + 16 <= min(to, start) && keys.cell + 16 <= cap) {  // one piece of the ring, as almost always
          const T *key = keys.key(at), *value = keys.value(at);
#pragma unroll
          for (int j = lane; j < 16 * (DP / 8); j += 32) {
            const int row = j / (DP / 8), c = j % (DP / 8);
            fetch(place(stage, row, c), key + row * (KV * D), c, true);
            fetch(place(stage + 16 * PITCH, row, c), value + row * (KV * D), c, true);
          }
        } else {
          for (int j = lane; j < 16 * (DP / 8); j += 32) {
            const int row = j / (DP / 8), c = j % (DP / 8), p = at + row;
            const bool valid = p >= from && p < to;
            fetch(place(stage, row, c), keys.key(valid ? p : at), c, valid);
            fetch(place(stage + 16 * PITCH, row, c), keys.value(valid ? p : at), c, valid);
          }
        }
      }
      cp_async_commit();
      coming += WALKERS;
      if (++free == STAGES) free = 0;
    };
#pragma unroll 1  // the first copies wait for the text, too
    for (int i = 0; i < STAGES - 1; i++) start_group();

    // Rows of the fragments are heads; those past `heads` are zeros.
    unsigned a[DP / 16][4];
    const T* rows = q + ((size_t)(first + token) * H + head + own * GROUP) * D;
#pragma unroll
    for (int d = 0; d < DP / 16; d++)
#pragma unroll
      for (int i = 0; i < 4; i++) a[d][i] = pair(rows + (g + i % 2 * 8) * D, 16 * d + i / 2 * 8 + 2 * t, g + i % 2 * 8 < heads);

    // What the leaves have come to: the warp's lanes own features 4·lane + 128m of rows warp + 4j of all key heads.
    constexpr int ROWS = (KEYHEADS * BLOCKHEADS + WARPS - 1) / WARPS, PIECES = (DP + 127) / 128;
    float4 all[ROWS][PIECES] = {};
    Sum total[ROWS];

    for (int leaf = from / LEAF; leaf * LEAF < to; leaf++) {
      const int end = min(to, (leaf + 1) * LEAF);
      float acc[DP / 8][4] = {}, top[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};
      for (; group * 16 < end; group += WALKERS) {
        cp_async_wait<STAGES - 2>();
        if (KEYHEADS > 1)
          named_barrier(1 + walker, 32 * KEYHEADS);
        else
          sync_warp();
        start_group();
        char* ready = mine + stage * STAGE;
        if (++stage == STAGES) stage = 0;
        float s[2][4] = {};
#pragma unroll
        for (int d = 0; d < DP / 16; d++) {
          unsigned b[4];
          ldmatrix_x4(b, place(ready, lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
          mma_bf16(s[0], a[d], b);
          mma_bf16(s[1], a[d], b + 2);
        }
        if (group * 16 < from || group * 16 + 16 > to) {
          const int at = group * 16 + 2 * t;
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
          ldmatrix_x4_trans(b, place(ready + 16 * PITCH, lane % 16, 2 * n + lane / 16));
          mma_bf16(acc[2 * n], x, b);
          mma_bf16(acc[2 * n + 1], x, b + 2);
        }
      }

      // The warps' results meet in shared memory: of each row the sum of products, the maximum and the sum.
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float each = warp_sum<4>(sum[h]);
        if (g + 8 * h >= BLOCKHEADS) continue;
        float* row = meet + (warp * BLOCKHEADS + g + 8 * h) * MEET;
#pragma unroll
        for (int n = 0; n < DP / 8; n++) *(float2*)(row + 8 * n + 2 * t) = make_float2(acc[n][2 * h], acc[n][2 * h + 1]);
        if (t == 0) *(float2*)(row + DP) = make_float2(top[h] * fold, each);
      }
      sync_block();
#pragma unroll
      for (int j = 0; j < ROWS; j++) {
        const int r = warp + WARPS * j;
        if (r >= KEYHEADS * BLOCKHEADS) continue;
        const float* row = meet + r * MEET;
        float weight[WALKERS], high = -infinity(), sum = 0;
#pragma unroll
        for (int w = 0; w < WALKERS; w++) high = fmaxf(high, row[w * (KEYHEADS * BLOCKHEADS * MEET) + DP]);
#pragma unroll
        for (int w = 0; w < WALKERS; w++) {
          weight[w] = exp2_(row[w * (KEYHEADS * BLOCKHEADS * MEET) + DP] - high);
          sum = fmaf(weight[w], row[w * (KEYHEADS * BLOCKHEADS * MEET) + DP + 1], sum);
        }
        const float2 share = total[j].add(high, sum);
#pragma unroll
        for (int m = 0; m < PIECES; m++) {
          const int d = 128 * m + 4 * lane;
          if (d >= DP) continue;
          float4 x = make_float4(0, 0, 0, 0);
#pragma unroll
          for (int w = 0; w < WALKERS; w++) {
            const float4 y = *(const float4*)(row + w * (KEYHEADS * BLOCKHEADS * MEET) + d);
            x.x = fmaf(weight[w], y.x, x.x);
            x.y = fmaf(weight[w], y.y, x.y);
            x.z = fmaf(weight[w], y.z, x.z);
            x.w = fmaf(weight[w], y.w, x.w);
          }
          all[j][m] = Sum::fold(all[j][m], x, share);
        }
      }
      if (end == to || (leaf + 1) % kept == 0) {
        const size_t slot = slot_of(first + token, seq, token, N, S);
        const int range = leaf / kept - oldest(p) / (kept * LEAF);
#pragma unroll
        for (int j = 0; j < ROWS; j++) {
          const int r = warp + WARPS * j, h = r % BLOCKHEADS;
          if (r >= KEYHEADS * BLOCKHEADS || h >= heads) continue;
          const size_t out = (slot * H + head + r / BLOCKHEADS * GROUP + h) * ranges + range;
#pragma unroll
          for (int m = 0; m < PIECES; m++) {
            if (128 * m + 4 * lane < DP) *(float4*)(parts + out * DP + 128 * m + 4 * lane) = all[j][m];
            all[j][m] = make_float4(0, 0, 0, 0);
          }
          if (lane == 0) sums[out] = make_float2(total[j].high, total[j].sum);
          total[j] = Sum();
        }
      }
      if (end < to || token + 1 < count) sync_block();
    }
    cp_async_wait<0>();
  }
}
