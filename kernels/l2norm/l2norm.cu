// Rows scaled to one length. LANES threads share a row of FEATURES of type ELEMENT, which stays in their registers; PACK is
// how many neighbouring features a thread takes at a time.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int THREADS = LANES > 256 ? LANES : 256;
constexpr int GROUPS = THREADS / LANES;  // rows of a block
typedef Row<T, FEATURES, PACK, LANES> Share;

// dot is the scalar product of two rows.
GOJET_FN float dot(const Share& a, const Share& b, float* scratch) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
    for (int j = 0; j < PACK; j++) sum += a.part[i][j] * b.part[i][j];
  return row_sum<LANES>(sum, scratch);
}

// forward sets y [rows, K] to x·length/√(Σx²+eps).
extern "C" __global__ void __launch_bounds__(THREADS) forward(T* y, const T* x, int rows, float length, float eps) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % LANES, row = blockIdx.x * GROUPS + threadIdx.x / LANES;
  const long long at = (long long)min(row, rows - 1) * FEATURES;
  Share in;
  in.read(x + at, lane);
  const float scale = length * rsqrt_(dot(in, in, scratch) + eps);
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
    for (int j = 0; j < PACK; j++) in.part[i].set(j, in.part[i][j] * scale);
  if (row < rows) in.write(y + at, lane);
}

// backward sets dx [rows, K]: with r = 1/√(Σx²+eps), dx = length·r·(dy − x·r²·Σ x·dy).
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* dx, const T* dy, const T* x, int rows, float length, float eps) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % LANES, row = blockIdx.x * GROUPS + threadIdx.x / LANES;
  const long long at = (long long)min(row, rows - 1) * FEATURES;
  Share in, out;
  in.read(x + at, lane);
  out.read(dy + at, lane);
  const float r = rsqrt_(dot(in, in, scratch) + eps);
  const float along = dot(in, out, scratch) * r * r;
#pragma unroll
  for (int i = 0; i < Share::COUNT; i++)
#pragma unroll
    for (int j = 0; j < PACK; j++) out.part[i].set(j, length * r * (out.part[i][j] - in.part[i][j] * along));
  if (row < rows) out.write(dx + at, lane);
}
