// Philox4x32-10, a random number generator without state: the numbers are a function of a key and a counter
// (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
#pragma once
#include "gojet.cuh"

GOJET_FN uint4 philox(uint2 key, uint4 c) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned long long a = 0xD2511F53ull * c.x, b = 0xCD9E8D57ull * c.z;
    c = make_uint4((unsigned)(b >> 32) ^ c.y ^ key.x, (unsigned)b, (unsigned)(a >> 32) ^ c.w ^ key.y, (unsigned)a);
    key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
  }
  return c;
}

// unit maps random bits to (0, 1): the middle of one of 2^23 equal pieces, which float32 holds exactly.
GOJET_FN float unit(unsigned bits) { return ((float)(bits >> 9) + 0.5f) * (1.0f / 8388608.0f); }
