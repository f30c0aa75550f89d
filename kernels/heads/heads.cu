// Factors that features share. ONE, TWO and FACTOR are the types of x, y and s; DIM features in groups of GROUP, ROWS says
// whether every row has factors of its own. See heads.go.
#include "gojet.cuh"

constexpr int THREADS = 256;

#ifdef DIM
constexpr int GROUPS = DIM / GROUP;

GOJET_FN size_t factor(long long i) {
  int d = (int)(i % DIM);
  return (ROWS ? (size_t)(i / DIM) * GROUPS : 0) + d / GROUP;
}

// scale sets y [n] to x times its factors.
extern "C" __global__ void __launch_bounds__(THREADS) scale(TWO* y, const ONE* x, const FACTOR* s, long long n) {
  long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i < n) store(y + i, load(x + i) * load(s + factor(i)));
}

// dot_rows sets s [rows, GROUPS], a warp to a factor; or a thread, where a factor has one feature.
extern "C" __global__ void __launch_bounds__(THREADS) dot_rows(FACTOR* s, const ONE* x, const TWO* y, long long factors) {
  constexpr int LANES = GROUP == 1 ? 1 : 32;
  long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) / LANES;
  float sum = 0.f;
  if (i < factors)
    for (int e = GROUP == 1 ? 0 : lane_id(); e < GROUP; e += LANES) sum += load(x + i * GROUP + e) * load(y + i * GROUP + e);
  if (LANES > 1) sum = warp_sum(sum);
  if (i < factors && (LANES == 1 || lane_id() == 0)) store(s + i, sum);
}

// dot_features sets part [gridDim.y, GROUPS]: the sums of a block's share of the rows. Blocks are [32 columns of features,
// shares]; with groups wider than a feature, blocks are [GROUPS, shares].
extern "C" __global__ void __launch_bounds__(THREADS) dot_features(float* part, const ONE* x, const TWO* y, int rows) {
  __shared__ float sums[THREADS];
  constexpr int ACROSS = GROUP == 1 ? 32 : GROUP < 32 ? GROUP : 32, DOWN = THREADS / ACROSS;
  int column = threadIdx.x % ACROSS, lane = threadIdx.x / ACROSS;
  int begin = GROUP == 1 ? blockIdx.x * 32 : blockIdx.x * GROUP, end = GROUP == 1 ? min(begin + 32, DIM) : begin + GROUP;
  int each = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * each, last = min(rows, first + each);
  float sum = 0.f;
  if (lane < DOWN)
    for (int r = first + lane; r < last; r += DOWN)
      for (int d = begin + column; d < end; d += ACROSS) sum += load(x + (size_t)r * DIM + d) * load(y + (size_t)r * DIM + d);
  sums[threadIdx.x] = sum;
  sync_block();
  if (GROUP == 1) {
    if (lane == 0 && begin + column < end) {
      for (int k = 1; k < DOWN; k++) sum += sums[k * ACROSS + column];
      part[(size_t)blockIdx.y * GROUPS + begin + column] = sum;
    }
  } else if (threadIdx.x < 32) {
    sum = 0.f;
    for (int k = threadIdx.x; k < THREADS; k += 32) sum += sums[k];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) part[(size_t)blockIdx.y * GROUPS + blockIdx.x] = sum;
  }
}
#endif

#ifdef TIMES
// repeat sets y [groups, TIMES, GROUP], n values, to copies of x.
extern "C" __global__ void __launch_bounds__(THREADS) repeat(TWO* y, const ONE* x, long long n) {
  long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i < n) store(y + i, load(x + i / (GROUP * TIMES) * GROUP + i % GROUP));
}

// fold sets x, n values, to sums over y.
extern "C" __global__ void __launch_bounds__(THREADS) fold(ONE* x, const TWO* y, long long n) {
  long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  float sum = 0.f;
  for (int k = 0; k < TIMES; k++) sum += load(y + (i / GROUP * TIMES + k) * GROUP + i % GROUP);
  store(x + i, sum);
}
#endif
