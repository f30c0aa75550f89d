// What the threads of a block hold, joined in an order that is always the same.
#pragma once

#include "gojet.cuh"

// exchange is v, of any type made of whole words, of the lane whose number differs in mask.
template <class S> GOJET_FN S exchange(const S& v, int mask) {
  static_assert(sizeof(S) % 4 == 0, "whole words");
  unsigned w[sizeof(S) / 4];
  memcpy(w, &v, sizeof(S));
#pragma unroll
  for (int i = 0; i < (int)sizeof(S) / 4; i++) w[i] = shfl_xor(w[i], mask);
  S r;
  memcpy(&r, w, sizeof(S));
  return r;
}

// join_block gives every thread of a block of COUNT the join of what all hold: v.join(o, with...) takes o in.
template <int COUNT, class S, class... With> GOJET_FN S join_block(S v, With... with) {
  __shared__ S parts[COUNT / 32];
#pragma unroll
  for (int m = 16; m > 0; m /= 2) v.join(exchange(v, m), with...);
  sync_block();  // the join before this one has been read
  if (lane_id() == 0) parts[warp_id()] = v;
  sync_block();
  v = parts[0];
  for (int w = 1; w < COUNT / 32; w++) v.join(parts[w], with...);
  return v;
}

// Total is a sum in double, for join_block.
struct Total {
  double sum;
  GOJET_FN void join(const Total& o) { sum += o.sum; }
};

// total gives every thread of a block of COUNT the sum of what all hold.
template <int COUNT> GOJET_FN double total(double v) { return join_block<COUNT>(Total{v}).sum; }
