// The backward pass in float32, without tensor cores: the kernels of retreat.cu and gradients.cu, which say what they
// compute.

constexpr int THREADS = 256;
constexpr int ROW = KEY + 1;   // pitch of keys in shared memory
constexpr int BLOCK = 16;      // columns of the value dim of a block of the first kernel
constexpr int EACH = CHUNK * BLOCK / THREADS;
constexpr int SIDE = CHUNK + 1;
constexpr int KEYS = (KEY + 31) / 32;  // elements of a query or key that one lane has

extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_retreat(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dout, const float* __restrict__ inverse,
    const float* __restrict__ scores, const float4* __restrict__ coef, const int* __restrict__ seqs, int S, const float* dhT, float* dh0,
    float* __restrict__ dv, float* __restrict__ dstates) {
  SHARED(shared);
  float4* coefs = (float4*)shared;      // [COEFS]
  float* ds = (float*)(coefs + COEFS);  // [KEY, BLOCK]
  float* kt = ds + KEY * BLOCK;         // [64, ROW]
  float* out = kt + CHUNK * ROW;        // [64, BLOCK]
  float* du = out + CHUNK * BLOCK;      // [64, BLOCK]
  float* dx = du + CHUNK * BLOCK;       // [64, BLOCK]
  int block = blockIdx.x * BLOCK, head = blockIdx.y, seq = blockIdx.z, thread = threadIdx.x;
  int column = thread % BLOCK;          // every thread stays in its column
  bool there = block + column < VALUE;
  Sequences all = sequences(seqs, S);
  int first = all.cu[seq], tokens = all.cu[seq + 1] - first, chunks = (tokens + CHUNK - 1) / CHUNK;
  size_t row = ((size_t)all.slot[seq] * HEADS + head) * KEY * VALUE;
  size_t sh = (size_t)first_slot(all.cu, seq) * HEADS + head;

  for (int e = thread; e < KEY * BLOCK; e += THREADS) ds[e] = dhT && there ? dhT[row + (size_t)(e / BLOCK) * VALUE + block + column] : 0.f;
  for (int c = chunks - 1; c >= 0; c--) {
    int count = min(CHUNK, tokens - c * CHUNK);
    size_t token = (size_t)(first + c * CHUNK) * HEADS + head, at = sh + (size_t)c * HEADS;
    sync_block();
    for (int i = thread; i < CHUNK * KEY; i += THREADS) {
      int t = i / KEY, e = i % KEY;
      kt[t * ROW + e] = t < count ? k[(token + (size_t)t * HEADS) * KEY + e] : 0.f;
    }
    for (int i = thread; i < COEFS; i += THREADS) coefs[i] = coef[at * COEFS + i];
    for (int i = thread; i < CHUNK * BLOCK; i += THREADS) {
      int t = i / BLOCK;
      out[i] = there && t < count ? dout[(token + (size_t)t * HEADS) * VALUE + block + column] : 0.f;
    }
    sync_block();
    for (int e = thread; e < KP * BLOCK; e += THREADS)
      dstates[at * (KP * VP) + state_at(block + column, e / BLOCK)] = e / BLOCK < KEY ? ds[e] : 0.f;
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      int j = thread / BLOCK + n * (THREADS / BLOCK);
      float sum = 0.f;
      for (int e = 0; e < KEY; e++) sum += kt[j * ROW + e] * ds[e * BLOCK + column];
      sum *= coefs[j].z;
      for (int i = j; i < count; i++) sum += scores[at * TRI + tri_at(i, j)] * out[i * BLOCK + column];
      du[j * BLOCK + column] = sum;
    }
    sync_block();
#pragma unroll
    for (int n = 0; n < EACH; n++) {
      int j = thread / BLOCK + n * (THREADS / BLOCK);
      float sum = du[j * BLOCK + column];
      for (int i = j + 1; i < count; i++) sum += inverse[at * TRI + tri_at(i, j)] * du[i * BLOCK + column];
      dx[j * BLOCK + column] = sum;
      if (there && j < count) dv[(token + (size_t)j * HEADS) * VALUE + block + column] = coefs[j].w * sum;
    }
    sync_block();
    for (int e = thread; e < KEY * BLOCK; e += THREADS) {
      float sum = coefs[CHUNK].x * ds[e];
      for (int i = 0; i < count; i++)
        sum += coefs[i].y * q[(token + (size_t)i * HEADS) * KEY + e / BLOCK] * out[i * BLOCK + column] -
               coefs[i].x * kt[i * ROW + e / BLOCK] * dx[i * BLOCK + column];
      ds[e] = sum;
    }
  }
  if (dh0 && there)
    for (int e = thread; e < KEY * BLOCK; e += THREADS) dh0[row + (size_t)(e / BLOCK) * VALUE + block + column] = ds[e];
}

extern "C" __global__ void __launch_bounds__(THREADS) gated_delta_gradients(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dout, float* dv, const float* __restrict__ states,
    const float* __restrict__ dstates, const float* __restrict__ values, const float4* __restrict__ gates, const float4* __restrict__ coef,
    const int* __restrict__ seqs, int N, int S, float* __restrict__ dq, float* __restrict__ dk, float* __restrict__ dg, float* __restrict__ dbeta) {
  SHARED(shared);
  int slot = blockIdx.x, head = blockIdx.y, thread = threadIdx.x, lane = lane_id();
  const int* cu = sequences(seqs, S).cu;
  zero_outside<VALUE>(dv, cu, S, N, slot, head, THREADS);
  if (dq) zero_outside<KEY>(dq, cu, S, N, slot, head, THREADS);
  if (dk) zero_outside<KEY>(dk, cu, S, N, slot, head, THREADS);
  if (dg) zero_outside<1>(dg, cu, S, N, slot, head, THREADS);
  if (dbeta) zero_outside<1>(dbeta, cu, S, N, slot, head, THREADS);
  Place at = find_slot(cu, S, slot);
  if (at.seq < 0) return;

  float* r = (float*)shared;    // [64, SIDE] each: R, L, E
  float* l = r + CHUNK * SIDE;
  float* carried = l + CHUNK * SIDE;
  float* here = carried + CHUNK * SIDE;  // [64], from the state before the chunk to the token
  float* after = here + CHUNK;           // [64], from the token to the state after the chunk
  size_t token = (size_t)at.first * HEADS + head, sh = (size_t)slot * HEADS + head;
  const float* s = states + sh * (KP * VP);
  const float* ds = dstates + sh * (KP * VP);
  const float* u = values + sh * (VP * CHUNK);
  const float4* gate = gates + sh * CHUNK;
  auto key = [&](int i) { return (token + (size_t)i * HEADS) * KEY; };
  auto value = [&](int i) { return (token + (size_t)i * HEADS) * VALUE; };

  for (int x = thread; x < CHUNK * CHUNK; x += THREADS) {
    int i = x / CHUNK, j = x % CHUNK;
    float rr = 0.f, ll = 0.f, e = 0.f;
    if (j <= i && i < at.count) {
      float4 a = gate[i], b = gate[j];
      float du = 0.f, dx = 0.f, qk = 0.f, kk = 0.f;
      for (int v = 0; v < VALUE; v++) {
        float y = u[value_at(v, j)];
        du += dout[value(i) + v] * y;
        dx += dv[value(i) + v] * y;
      }
      for (int n = 0; n < KEY; n++) {
        qk += q[key(i) + n] * k[key(j) + n];
        kk += k[key(i) + n] * k[key(j) + n];
      }
      float d = exp_(a.x - b.x + (a.y - b.y)) * b.w;
      rr = du * d * a.z;
      if (j < i) {
        ll = -dx * d * a.w;
        e = rr * qk + ll * kk;
      } else if (dbeta) {
        float beta = coef[sh * COEFS + i].w;
        dbeta[token + (size_t)i * HEADS] = dx / beta / beta;
      }
    }
    r[i * SIDE + j] = rr;
    l[i * SIDE + j] = ll;
    carried[i * SIDE + j] = e;
  }
  sync_block();

  for (int i = warp_id(); i < CHUNK; i += THREADS / 32) {
    float dqs[KEYS], dks[KEYS], toHere = 0.f, toEnd = 0.f, qdq = 0.f, kdk = 0.f;
    float4 a = gate[i], last = gate[CHUNK - 1];
    float fall = exp_(a.x + a.y), rest = exp_(last.x - a.x + (last.y - a.y)) * a.w;
    bool inside = i < at.count;
#pragma unroll
    for (int n = 0; n < KEYS; n++) {
      int kk = lane + 32 * n;
      dqs[n] = dks[n] = 0.f;
      if (!inside || kk >= KEY) continue;
      float go = 0.f, gv = 0.f, gu = 0.f, qi = q[key(i) + kk], ki = k[key(i) + kk];
      for (int v = 0; v < VALUE; v++) {
        float y = s[state_at(v, kk)];
        go += dout[value(i) + v] * y;
        gv += dv[value(i) + v] * y;
        gu += u[value_at(v, i)] * ds[state_at(v, kk)];
      }
      go *= fall * a.z;
      gv *= -fall * a.w;
      gu *= rest;
      toHere += qi * go + ki * gv;
      toEnd += ki * gu;
      float x = go, y = gv + gu;
      for (int j = 0; j <= i; j++) {
        float kj = k[key(j) + kk];
        x += r[i * SIDE + j] * kj;
        y += l[i * SIDE + j] * kj;
      }
      for (int j = i; j < at.count; j++) y += r[j * SIDE + i] * q[key(j) + kk] + l[j * SIDE + i] * k[key(j) + kk];
      dqs[n] = x;
      dks[n] = y;
      qdq += qi * x;
      kdk += ki * y;
    }
    toHere = warp_sum(toHere);
    toEnd = warp_sum(toEnd);
    if (lane == 0) {
      here[i] = toHere;
      after[i] = toEnd;
    }
    float qn = a.z * (1.f / SCALE), qc = NORM ? warp_sum(qdq) * qn * qn : 0.f, kc = NORM ? warp_sum(kdk) * a.w * a.w : 0.f;
#pragma unroll
    for (int n = 0; n < KEYS; n++) {
      int kk = lane + 32 * n;
      if (!inside || kk >= KEY) continue;
      if (dq) dq[key(i) + kk] = dqs[n] - qc * q[key(i) + kk];
      if (dk) dk[key(i) + kk] = dks[n] - kc * k[key(i) + kk];
    }
  }
  if (!dg) return;

  float through = 0.f;
  for (int e = thread; e < KP * VP; e += THREADS) through += s[e] * ds[e];
  sync_block();
  if (thread < CHUNK)
    for (int i = CHUNK - 2; i > thread; i--) carried[i * SIDE + thread] += carried[(i + 1) * SIDE + thread];
  through = block_sum<THREADS>(through, r) * coef[sh * COEFS + CHUNK].x;
  if (thread < at.count) {
    for (int i = thread; i < at.count; i++) through += here[i];
    for (int j = 0; j < thread; j++) through += carried[thread * SIDE + j] + after[j];
    dg[token + (size_t)thread * HEADS] = through;
  }
}
