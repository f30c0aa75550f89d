// AdamW and sums of gradients over many tensors in one launch: block b does part parts[2b+1], of PART elements, of tensor
// parts[2b].
#include "gojet.cuh"

// Constants: BLOCK (threads), LENGTH (of a part).
constexpr int THREADS = BLOCK, PART = LENGTH;

// What Entry.kind tells, bit by bit.
constexpr int GRADIENT_BF16 = 1, PARAM_BF16 = 2, WIDE = 4;

// Param is one tensor: param of float, its own master, or of bf16 beside a float master.
struct Param {
  void* param;
  float* master;
  float* m;
  float* v;
  const void* g;
  float* done;
  long long n;
  int kind;
  float decay, beta1, beta2, new1, new2, log1, log2, epsilon;  // new is 1−β, log is log β
  int pad;
};

// Factors are what every element shares.
struct Factors {
  float keep, beta1, beta2, new1, new2, rate, root, epsilon, grad;
};

// advance is one step of one element; it returns the new parameter.
GOJET_FN float advance(const Factors& f, float p, float& m, float& v, float g) {
  g *= f.grad;
  m = f.beta1 * m + f.new1 * g;
  v = f.beta2 * v + f.new2 * g * g;
  return f.keep * p - f.rate * m / (sqrtf(v) * f.root + f.epsilon);
}

template <class P, class G> GOJET_FN void advance_part(const Param& e, const Factors& f, long long lo, long long hi) {
  P* param = (P*)e.param;
  float* master = sizeof(P) == 4 ? (float*)e.param : e.master;
  const G* g = (const G*)e.g;
  long long i = lo;
  if (e.kind & WIDE) {
    const long long end = lo + (hi - lo) / 4 * 4;
    for (i = lo + 4 * (int)threadIdx.x; i < end; i += 4 * THREADS) {
      Vec<float, 4> p = loadv_once<4>(master + i), m = loadv_once<4>(e.m + i), v = loadv_once<4>(e.v + i);
      const Vec<G, 4> d = loadv_once<4>(g + i);
#pragma unroll
      for (int k = 0; k < 4; k++) p[k] = advance(f, p[k], m[k], v[k], float(d[k]));
      storev_once(master + i, p);
      storev_once(e.m + i, m);
      storev_once(e.v + i, v);
      if constexpr (sizeof(P) == 2) {
        Vec<P, 4> r;
#pragma unroll
        for (int k = 0; k < 4; k++) r[k] = P(p[k]);
        storev(param + i, r);
      }
    }
    i = end;
  }
  for (i += threadIdx.x; i < hi; i += THREADS) {
    const float p = advance(f, master[i], e.m[i], e.v[i], float(g[i]));
    master[i] = p;
    if constexpr (sizeof(P) == 2) store(param + i, p);
  }
}

// step advances all tensors. clip holds the norm of all gradients and what they are multiplied with; settings the learning
// rate and the number of the step, from 1. Where the norm is not finite nothing is written but done.
extern "C" __global__ void __launch_bounds__(THREADS) step(const Param* entries, const int* parts, const float* clip, const float* settings) {
  const Param e = entries[parts[2 * blockIdx.x]];
  const int part = parts[2 * blockIdx.x + 1];
  const float norm = clip[0], lr = settings[0], t = settings[1];
  const bool finite = norm - norm == 0.f;
  if (part == 0 && threadIdx.x == 0 && e.done) *e.done = finite ? 1.f : 0.f;
  if (!finite) return;
  // 1 − β^t without the loss of digits that it has where β^t is near 1.
  const float bias1 = -expm1f(t * e.log1), bias2 = -expm1f(t * e.log2);
  const Factors f{1.f - lr * e.decay, e.beta1, e.beta2, e.new1, e.new2, lr / bias1, 1.f / sqrtf(bias2), e.epsilon, clip[1]};
  const long long lo = (long long)part * PART, hi = e.n < lo + PART ? e.n : lo + PART;
  switch (e.kind & (GRADIENT_BF16 | PARAM_BF16)) {
    case 0: advance_part<float, float>(e, f, lo, hi); break;
    case GRADIENT_BF16: advance_part<float, bf16>(e, f, lo, hi); break;
    case PARAM_BF16: advance_part<bf16, float>(e, f, lo, hi); break;
    default: advance_part<bf16, bf16>(e, f, lo, hi);
  }
}

// Sum is one tensor of a running sum.
struct Sum {
  float* sum;
  const void* g;
  float* done;
  long long n;
  int kind, pad;
};

template <class G> GOJET_FN void accumulate_part(const Sum& e, long long lo, long long hi) {
  const G* g = (const G*)e.g;
  long long i = lo;
  if (e.kind & WIDE) {
    const long long end = lo + (hi - lo) / 4 * 4;
    for (i = lo + 4 * (int)threadIdx.x; i < end; i += 4 * THREADS) {
      Vec<float, 4> s = loadv_once<4>(e.sum + i);
      const Vec<G, 4> d = loadv_once<4>(g + i);
#pragma unroll
      for (int k = 0; k < 4; k++) s[k] += float(d[k]);
      storev_once(e.sum + i, s);
    }
    i = end;
  }
  for (i += threadIdx.x; i < hi; i += THREADS) e.sum[i] += float(g[i]);
}

// accumulate adds gradients to sums.
extern "C" __global__ void __launch_bounds__(THREADS) accumulate(const Sum* entries, const int* parts) {
  const Sum e = entries[parts[2 * blockIdx.x]];
  const int part = parts[2 * blockIdx.x + 1];
  if (part == 0 && threadIdx.x == 0 && e.done) *e.done = 1.f;
  const long long lo = (long long)part * PART, hi = e.n < lo + PART ? e.n : lo + PART;
  if (e.kind & GRADIENT_BF16)
    accumulate_part<bf16>(e, lo, hi);
  else
    accumulate_part<float>(e, lo, hi);
}
