// The forward pass over chunks in float32, without tensor cores: what chunks.cu and pass.cu do, in the same layouts.

constexpr int ROW = KEY + 1;   // pitch of keys in shared memory
constexpr int SIDE = CHUNK + 1;
constexpr int BLOCK = 16;      // columns of the value dim of a block of the pass

GOJET_FN void load_keys(float* dst, const float* src, int count) {
  for (int i = threadIdx.x; i < CHUNK * KEY; i += 256) {
    int row = i / KEY, at = i % KEY;
    dst[row * ROW + at] = row < count ? src[(size_t)row * (HEADS * KEY) + at] : 0.f;
  }
}

extern "C" __global__ void __launch_bounds__(256) gated_delta_chunks(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ g, const float* __restrict__ beta,
    const int* __restrict__ seqs, int N, int S, float* o, float* __restrict__ inverse, float* __restrict__ scores, float4* __restrict__ coef, float4* __restrict__ gates) {
  SHARED(shared);
  int slot = blockIdx.x, head = blockIdx.y, thread = threadIdx.x;
  const int* cu = sequences(seqs, S).cu;
  if (o) zero_outside<VALUE>(o, cu, S, N, slot, head, 256);
  Place at = find_slot(cu, S, slot);
  if (at.seq < 0) return;

  double* sums = (double*)shared;
  float* betas = (float*)(sums + CHUNK);
  float* norms = betas + CHUNK;      // keys, then queries
  float* kt = norms + 2 * CHUNK;     // [64, ROW]
  float* a = kt + CHUNK * ROW;       // [64, SIDE]
  float* t = a + CHUNK * SIDE;       // [64, SIDE]
  size_t token = (size_t)at.first * HEADS + head, sh = (size_t)slot * HEADS + head;
  const float* queries = q + token * KEY;

  load_keys(kt, k + token * KEY, at.count);
  if (warp_id() == 0) decay_sums(sums, g + token, at.count);
  if (thread < CHUNK) betas[thread] = thread < at.count ? floor_beta(beta[token + (size_t)thread * HEADS]) : 0.f;
  sync_block();
  for (int row = warp_id(); row < CHUNK; row += 8) {
    float kk = 0.f, qq = 0.f;
    for (int i = lane_id(); i < KEY; i += 32) {
      float x = kt[row * ROW + i], y = row < at.count ? queries[(size_t)row * (HEADS * KEY) + i] : 0.f;
      kk += x * x;
      qq += y * y;
    }
    kk = warp_sum(kk);
    qq = warp_sum(qq);
    if (lane_id() == 0) {
      norms[row] = NORM ? 1.f / sqrtf(kk + EPS) : 1.f;
      norms[CHUNK + row] = (NORM ? 1.f / sqrtf(qq + EPS) : 1.f) * SCALE;
    }
  }
  sync_block();

  for (int x = thread; x < CHUNK * CHUNK; x += 256) {
    int i = x / CHUNK, j = x % CHUNK;
    float qk = 0.f, kk = 0.f;
    if (j <= i && i < at.count) {
      for (int e = 0; e < KEY; e++) {
        qk += queries[(size_t)i * (HEADS * KEY) + e] * kt[j * ROW + e];
        kk += kt[i * ROW + e] * kt[j * ROW + e];
      }
      float d = exp_((float)(sums[i] - sums[j])) * norms[j];
      qk *= d * norms[CHUNK + i];
      kk *= j < i ? d * norms[i] * betas[i] : 0.f;
    }
    a[i * SIDE + j] = kk;
    if (j / 16 <= i / 16) scores[sh * TRI + tri_at(i, j)] = qk;
  }
  sync_block();

  if (thread < CHUNK) {  // column j of the inverse, which nobody else reads before the barrier
    int j = thread;
    for (int i = 0; i < CHUNK; i++) {
      float sum = 0.f;
      for (int m = j; m < i; m++) sum -= a[i * SIDE + m] * t[m * SIDE + j];
      t[i * SIDE + j] = i == j ? 1.f : sum;
    }
    float fall = exp_((float)sums[j]), kn = norms[j], be = betas[j];
    float rest = exp_((float)(sums[CHUNK - 1] - sums[j]));
    bool there = j < at.count;
    coef[sh * COEFS + j] = there ? make_float4(be * fall * kn, fall * norms[CHUNK + j], rest * kn, be) : make_float4(0.f, 0.f, 0.f, 0.f);
    if (gates) {
      float b = (float)sums[j];
      gates[sh * CHUNK + j] = make_float4(b, (float)(sums[j] - b), there ? norms[CHUNK + j] : 0.f, there ? kn : 0.f);
    }
    if (j == 0) coef[sh * COEFS + CHUNK] = make_float4(exp_((float)sums[CHUNK - 1]), 0.f, 0.f, 0.f);
  }
  sync_block();
  for (int x = thread; x < CHUNK * CHUNK; x += 256) {
    int i = x / CHUNK, j = x % CHUNK;
    if (j / 16 <= i / 16) inverse[sh * TRI + tri_at(i, j)] = i == j ? 0.f : t[i * SIDE + j];
  }
}

extern "C" __global__ void __launch_bounds__(256) gated_delta_pass(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, const float* __restrict__ inverse,
    const float* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* h0, float* hT,
    float* __restrict__ o, float* __restrict__ states, float* __restrict__ values) {
  SHARED(shared);
  float4* coefs = (float4*)shared;         // [COEFS]
  float* s = (float*)(coefs + COEFS);      // [KEY, BLOCK]
  float* kt = s + KEY * BLOCK;             // [64, ROW]
  float* x = kt + CHUNK * ROW;             // [64, BLOCK]
  float* u = x + CHUNK * BLOCK;            // [64, BLOCK]
  int block = blockIdx.x * BLOCK, head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x;
  int column = thread % BLOCK;             // every thread stays in its column
  bool there = block + column < VALUE;
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], tokens = all.cu[seq + 1] - first, chunks = (tokens + CHUNK - 1) / CHUNK;
  size_t row = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)first_slot(all.cu, seq) * HEADS + head;

  for (int e = thread; e < KEY * BLOCK; e += 256) s[e] = h0 && there ? h0[row + (size_t)(e / BLOCK) * VALUE + block + column] : 0.f;
  for (int c = 0; c < chunks; c++) {
    int count = min(CHUNK, tokens - c * CHUNK);
    size_t token = (size_t)(first + c * CHUNK) * HEADS + head, at = sh + (size_t)c * HEADS;
    sync_block();
    load_keys(kt, k + token * KEY, count);
    for (int i = thread; i < COEFS; i += 256) coefs[i] = coef[at * COEFS + i];
    sync_block();
    if (states)
      for (int e = thread; e < KP * BLOCK; e += 256)
        states[at * (KP * VP) + state_at(block + column, e / BLOCK)] = e / BLOCK < KEY ? s[e] : 0.f;

    float out[CHUNK * BLOCK / 256];
#pragma unroll
    for (int n = 0; n < CHUNK * BLOCK / 256; n++) {
      int i = thread / BLOCK + n * (256 / BLOCK);
      float ks = 0.f, qs = 0.f;
      if (i < count)
        for (int e = 0; e < KEY; e++) {
          ks += kt[i * ROW + e] * s[e * BLOCK + column];
          qs += q[(token + (size_t)i * HEADS) * KEY + e] * s[e * BLOCK + column];
        }
      float value = there && i < count ? v[(token + (size_t)i * HEADS) * VALUE + block + column] : 0.f;
      x[i * BLOCK + column] = coefs[i].w * value - coefs[i].x * ks;
      out[n] = coefs[i].y * qs;
    }
    sync_block();
#pragma unroll
    for (int n = 0; n < CHUNK * BLOCK / 256; n++) {
      int i = thread / BLOCK + n * (256 / BLOCK);
      float sum = x[i * BLOCK + column];
      for (int j = 0; j < i; j++) sum += inverse[at * TRI + tri_at(i, j)] * x[j * BLOCK + column];
      u[i * BLOCK + column] = sum;
      if (values) values[at * (VP * CHUNK) + value_at(block + column, i)] = sum;
    }
    sync_block();
#pragma unroll
    for (int n = 0; n < CHUNK * BLOCK / 256; n++) {
      int i = thread / BLOCK + n * (256 / BLOCK);
      if (!o || !there || i >= count) continue;
      float sum = out[n];
      for (int j = 0; j <= i; j++) sum += scores[at * TRI + tri_at(i, j)] * u[j * BLOCK + column];
      o[(token + (size_t)i * HEADS) * VALUE + block + column] = sum;
    }
    for (int e = thread; e < KEY * BLOCK; e += 256) {
      float sum = 0.f;
      for (int j = 0; j < count; j++) sum += coefs[j].z * kt[j * ROW + e / BLOCK] * u[j * BLOCK + column];
      s[e] = coefs[CHUNK].x * s[e] + sum;
    }
  }
  if (hT && there)
    for (int e = thread; e < KEY * BLOCK; e += 256) hT[row + (size_t)(e / BLOCK) * VALUE + block + column] = s[e];
}
