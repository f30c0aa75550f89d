// Rotary position embedding of heads of FEATURES of type ELEMENT. A thread turns PACK pairs of features of one token in up to
// AHEAD of its HEADS heads, so that angles are computed once for those. THETA_LOG is the logarithm of the base.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int HALF = FEATURES / 2;
constexpr int LANES = HALF / PACK;  // threads of a token
constexpr int THREADS = LANES > 128 ? LANES : 128;
constexpr int TOKENS = THREADS / LANES;  // of a block

// turn is the cosine and sine of so many turns of the circle. The quarter that an angle falls in is found in double, which
// is exact to 1e-10 at a million turns; what is left of it, at most an eighth of a turn, is a sum of powers in float.
GOJET_FN void turn(double turns, float& cosine, float& sine) {
  const double quarters = turns * 4;
  const long long nearest = (long long)(quarters + 0.5);  // positions are not negative
  const float x = float(quarters - double(nearest)) * 1.57079632679f, y = x * x;
  const float s = x + x * y * (-1.f / 6 + y * (1.f / 120 + y * (-1.f / 5040 + y * (1.f / 362880))));
  const float c = 1 + y * (-0.5f + y * (1.f / 24 + y * (-1.f / 720 + y * (1.f / 40320))));
  const int quarter = int(nearest & 3);
  cosine = quarter & 1 ? s : c;
  sine = quarter & 1 ? c : s;
  if (quarter == 1 || quarter == 2) cosine = -cosine;
  if (quarter >= 2) sine = -sine;
}

// rotate sets y [tokens, HEADS, FEATURES], which may be x, to x turned by the angles of each token's position, or back by
// them where direction is -1. Tokens outside every sequence get zeros. Block (i, j) has heads j·AHEAD and on.
extern "C" __global__ void __launch_bounds__(THREADS) rotate(T* y, const T* x, const int* buffer, int S, int tokens, float direction) {
  const int lane = threadIdx.x % LANES, t = blockIdx.x * TOKENS + threadIdx.x / LANES;
  const bool mine = threadIdx.x < TOKENS * LANES && t < tokens;
  const int first = blockIdx.y * AHEAD;
  const long long at = ((long long)t * HEADS + first) * FEATURES + lane * PACK;
  Pack<T, PACK> a[AHEAD], b[AHEAD];
#pragma unroll
  for (int h = 0; h < AHEAD; h++) {
    if (!mine || (HEADS % AHEAD && first + h >= HEADS)) continue;
    a[h].read(x + at + h * FEATURES);
    b[h].read(x + at + h * FEATURES + HALF);
  }
  // How far the angle of each pair goes in one position, in turns: θ^(−2i/D) / 2π.
  __shared__ double speed[HALF];
  for (int i = threadIdx.x; i < HALF; i += THREADS) speed[i] = exp(-double(i) / HALF * THETA_LOG) * 0.15915494309189535;
  sync_block();
  if (!mine) return;
  const Sequences q = sequences(buffer, S);
  const int s = find_sequence(q.cu, S, t);
  float cosine[PACK], sine[PACK];
  if (s >= 0) {
    const double position = q.pos[s] + (t - q.cu[s]);
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      turn(position * speed[lane * PACK + j], cosine[j], sine[j]);
      sine[j] *= direction;
    }
  }
#pragma unroll
  for (int h = 0; h < AHEAD; h++) {
    if (HEADS % AHEAD && first + h >= HEADS) continue;
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      const float u = a[h][j], v = b[h][j];
      a[h].set(j, s < 0 ? 0 : u * cosine[j] - v * sine[j]);
      b[h].set(j, s < 0 ? 0 : v * cosine[j] + u * sine[j]);
    }
    a[h].write(y + at + h * FEATURES);
    b[h].write(y + at + h * FEATURES + HALF);
  }
}
