// The states at the ends of segments, from what warpgroup_ahead.cu or warpgroup_retreat.cu found: segment after segment, in float32.

constexpr int COLUMNS = 16;              // of the value dim, of a block
constexpr int USED = KEY / 8 * COLUMNS;  // threads, each with 8 rows of a column
constexpr int THREADS = (USED + 31) / 32 * 32;

// gated_delta_join: grid (blocks of the value dim, heads, sequences). Where states [parts, H, K, V] has E, with what a segment that
// begins with no state ends, it puts the state S that the segment begins with: outer [rows, H, K, V] for the first segment, and then
// M S + E, of which transitions [parts, H, K, K] are M transposed. The first E is complete already. Backwards, the last segment is the
// first one. Without DELTA a matrix is a number times the identity, and transitions are [parts, H].
extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_join(
    float* __restrict__ states, const float* __restrict__ transitions, const float* __restrict__ outer, const int* __restrict__ seqs, int S,
    int size, int backwards) {
#if DELTA
  SHARED(shared);
  float* m = (float*)shared;         // [2, KEY, KEY]
  float* s = m + 2 * KEY * KEY;      // [KEY, COLUMNS]
#endif
  int head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x;
  int column = thread % COLUMNS, row = thread / COLUMNS * 8, v = blockIdx.x * COLUMNS + column;
  bool active = thread < USED && v < VALUE;
  Sequences all = sequences(seqs, S);
  int tokens = all.cu[seq + 1] - all.cu[seq], parts = max(1, (tokens + size - 1) / size), number = all.cu[seq] / size + seq;
  auto part = [&](int i) { return (size_t)(number + (backwards ? parts - 1 - i : i)) * HEADS + head; };
#if DELTA
  auto fetch = [&](int i) {
    if (i < parts - 1)
      for (int e = thread * 4; e < KEY * KEY; e += THREADS * 4) cp_async16(m + i % 2 * (KEY * KEY) + e, transitions + part(i) * (KEY * KEY) + e);
    cp_async_commit();
  };
#endif
  float now[8] = {}, end[8] = {};
  auto read = [&](float (&to)[8], const float* from) {
#pragma unroll
    for (int e = 0; e < 8; e++)
      if (active) to[e] = from[(size_t)(row + e) * VALUE + v];
  };
  auto write = [&](int i) {
    float* to = states + part(i) * (KEY * VALUE);
#pragma unroll
    for (int e = 0; e < 8; e++)
      if (active) to[(size_t)(row + e) * VALUE + v] = now[e];
  };
  if (outer) read(now, outer + ((size_t)all.slot[seq] * HEADS + head) * (KEY * VALUE));
#if DELTA
  fetch(1);
#endif
  if (parts > 1) read(end, states + part(0) * (KEY * VALUE));
  write(0);
  for (int i = 1; i < parts; i++) {
    // now becomes the state that segment i begins with
#pragma unroll
    for (int e = 0; e < 8; e++) now[e] = end[e];
    if (i == parts - 1) {
      write(i);
      break;
    }
    read(end, states + part(i) * (KEY * VALUE));
    write(i);
#if DELTA
    sync_block();
#pragma unroll
    for (int e = 0; e < 8; e++)
      if (active) s[(row + e) * COLUMNS + column] = now[e];
    fetch(i + 1);
    cp_async_wait<1>();
    sync_block();
    if (active) {
      const float* from = m + i % 2 * (KEY * KEY) + row;
#pragma unroll 8
      for (int c = 0; c < KEY; c++) {
        Vec<float, 4> a = loadv<4>(from + c * KEY), b = loadv<4>(from + c * KEY + 4);
        float x = s[c * COLUMNS + column];
#pragma unroll
        for (int e = 0; e < 4; e++) {
          end[e] += a[e] * x;
          end[4 + e] += b[e] * x;
        }
      }
    }
#else
    float m = transitions[part(i)];
#pragma unroll
    for (int e = 0; e < 8; e++) end[e] += m * now[e];
#endif
  }
}
