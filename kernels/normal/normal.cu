// Normal draws: element i is a function of the seed and i alone, whatever the launch.
#include "philox.cuh"

// fill writes n draws of N(0, std²) to y, of type REAL, and unrounded to full unless it is null.
extern "C" __global__ void __launch_bounds__(256) fill(REAL* y, float* full, long long n, float std, int seed_low, int seed_high) {
  uint2 key = make_uint2((unsigned)seed_low, (unsigned)seed_high);
  long long stride = 4ll * gridDim.x * blockDim.x;
  for (long long i = 4ll * (blockIdx.x * (long long)blockDim.x + threadIdx.x); i < n; i += stride) {
    uint4 bits = philox(key, make_uint4((unsigned)(i >> 2), (unsigned)(i >> 34), 0, 0));
    // Box and Muller: two uniform numbers make two normal ones.
    float r0 = std * sqrtf(-2.0f * logf(unit(bits.x))), r1 = std * sqrtf(-2.0f * logf(unit(bits.z)));
    float s0, c0, s1, c1;
    sincospif(2.0f * unit(bits.y), &s0, &c0);
    sincospif(2.0f * unit(bits.w), &s1, &c1);
    float z[4] = {r0 * c0, r0 * s0, r1 * c1, r1 * s1};
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (i + k < n) {
        store(y + i + k, z[k]);
        if (full) full[i + k] = z[k];
      }
  }
}
