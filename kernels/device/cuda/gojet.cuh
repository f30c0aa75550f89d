// The words that kernels are written in.
//
// A kernel is CUDA C++17 without inline assembly and without the headers of any system; what needs PTX is a function
// here. The same text is compiled twice: by NVRTC for a GPU (compute capability 8.0 and up), and by g++ for the host
// emulator, where GOJET_EMULATE is defined and emulate.h gives every function below that holds PTX a twin.
//
// Legend: a lane is a thread's number in its warp; a fragment is the piece of a tile of a matrix that one thread holds
// in registers, laid out as the PTX ISA says under "Matrix fragments".
//
// To add a word that needs PTX: write it under GOJET_GPU below, its twin in emulate.h (which says how at its top), and
// where the two compute something, a test of the twin against a plain loop.
#pragma once

#ifdef GOJET_EMULATE
#include "emulate.h"
#else
#define GOJET_GPU 1

typedef unsigned long long gojet_u64;

// SHARED names the dynamic shared memory of the block: char name[], aligned for the bulk copy engine.
#define SHARED(name) extern __shared__ __align__(1024) char name[]
#endif

#define GOJET_FN __device__ __forceinline__

constexpr unsigned FULL = 0xffffffffu;

// ---------------------------------------------------------------------------------------------------- numbers

GOJET_FN float infinity() { return __uint_as_float(0x7f800000u); }

// round_bf16 is the bits of the bfloat16 nearest to f, ties to even; NaN stays NaN.
GOJET_FN unsigned short round_bf16(float f) {
#ifdef GOJET_GPU
  unsigned short r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(f));
  return r;
#else
  return gojet_emulate::round_bf16(f);
#endif
}

// bf16 is a bfloat16 number in memory. Arithmetic is in float: it converts by itself; back only by bf16(f).
struct bf16 {
  unsigned short bits;
  bf16() = default;
  GOJET_FN explicit bf16(float f) : bits(round_bf16(f)) {}
  GOJET_FN operator float() const { return __uint_as_float((unsigned)bits << 16); }
};

// pack2 rounds two floats to bfloat16, the first in the low half, as fragments hold them.
GOJET_FN unsigned pack2(float low, float high) {
#ifdef GOJET_GPU
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return (unsigned)round_bf16(high) << 16 | round_bf16(low);
#endif
}

// unpack2 is the reverse of pack2.
GOJET_FN float2 unpack2(unsigned v) { return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u)); }

// load reads one element as float, store writes one.
template <class T> GOJET_FN float load(const T* p) { return float(*p); }
template <class T> GOJET_FN void store(T* p, float v) { *p = T(v); }

// Vec is N elements that move in one access of 4, 8 or 16 bytes, or in several of 16.
template <class T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Vec {
  T v[N];
  GOJET_FN T& operator[](int i) { return v[i]; }
  GOJET_FN const T& operator[](int i) const { return v[i]; }
};

namespace gojet {
// Word is the machine type that moves B bytes at once.
template <int B> struct Word;
template <> struct Word<2> { typedef unsigned short type; };
template <> struct Word<4> { typedef unsigned type; };
template <> struct Word<8> { typedef uint2 type; };
template <> struct Word<16> { typedef uint4 type; };

// Pieces says how Vec<T, N> moves.
template <class T, int N> struct Pieces {
  static constexpr int total = N * (int)sizeof(T), each = total < 16 ? total : 16, count = total / each;
  static_assert(count * each == total, "a Vec has 2, 4, 8 or a multiple of 16 bytes");
  typedef typename Word<each>::type Unit;
};

#ifdef GOJET_GPU
GOJET_FN void aligned(const void*, int) {}
// Accesses that will not be repeated: they should not push others out of the caches.
GOJET_FN unsigned short read_once(const unsigned short* p) { unsigned short r; asm volatile("ld.global.L1::no_allocate.u16 %0, [%1];" : "=h"(r) : "l"(p)); return r; }
GOJET_FN unsigned read_once(const unsigned* p) { unsigned r; asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(r) : "l"(p)); return r; }
GOJET_FN uint2 read_once(const uint2* p) { uint2 r; asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(r.x), "=r"(r.y) : "l"(p)); return r; }
GOJET_FN uint4 read_once(const uint4* p) {
  uint4 r;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p));
  return r;
}
GOJET_FN void write_once(unsigned short* p, unsigned short v) { asm volatile("st.global.cs.u16 [%0], %1;" ::"l"(p), "h"(v) : "memory"); }
GOJET_FN void write_once(unsigned* p, unsigned v) { asm volatile("st.global.cs.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory"); }
GOJET_FN void write_once(uint2* p, uint2 v) { asm volatile("st.global.cs.v2.u32 [%0], {%1, %2};" ::"l"(p), "r"(v.x), "r"(v.y) : "memory"); }
GOJET_FN void write_once(uint4* p, uint4 v) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
#else
using gojet_emulate::aligned;
template <class U> U read_once(const U* p) { return *p; }
template <class U> void write_once(U* p, U v) { *p = v; }
#endif
}  // namespace gojet

// loadv<N> reads N elements from an address aligned to their size in bytes, at most 16.
template <int N, class T> GOJET_FN Vec<T, N> loadv(const T* p) {
  typedef gojet::Pieces<T, N> P;
  typedef typename P::Unit Unit;
  gojet::aligned(p, P::each);
  Unit u[P::count];
#pragma unroll
  for (int i = 0; i < P::count; i++) u[i] = reinterpret_cast<const Unit*>(p)[i];
  Vec<T, N> r;
  memcpy(&r, u, sizeof(r));
  return r;
}

// storev writes what loadv reads.
template <class T, int N> GOJET_FN void storev(T* p, const Vec<T, N>& v) {
  typedef gojet::Pieces<T, N> P;
  typedef typename P::Unit Unit;
  gojet::aligned(p, P::each);
  Unit u[P::count];
  memcpy(u, &v, sizeof(v));
#pragma unroll
  for (int i = 0; i < P::count; i++) reinterpret_cast<Unit*>(p)[i] = u[i];
}

// loadv_once and storev_once are for global memory that the kernel does not touch again: no place in L1, first out of L2.
template <int N, class T> GOJET_FN Vec<T, N> loadv_once(const T* p) {
  typedef gojet::Pieces<T, N> P;
  typedef typename P::Unit Unit;
  gojet::aligned(p, P::each);
  Unit u[P::count];
#pragma unroll
  for (int i = 0; i < P::count; i++) u[i] = gojet::read_once(reinterpret_cast<const Unit*>(p) + i);
  Vec<T, N> r;
  memcpy(&r, u, sizeof(r));
  return r;
}
template <class T, int N> GOJET_FN void storev_once(T* p, const Vec<T, N>& v) {
  typedef gojet::Pieces<T, N> P;
  typedef typename P::Unit Unit;
  gojet::aligned(p, P::each);
  Unit u[P::count];
  memcpy(u, &v, sizeof(v));
#pragma unroll
  for (int i = 0; i < P::count; i++) gojet::write_once(reinterpret_cast<Unit*>(p) + i, u[i]);
}

// Functions of one number. exp_, log_ and rsqrt_ err by at most 2 units in the last place, rcp_ by 1; exp2_ is the
// machine's own approximation (2^-22), with subnormal numbers taken as zero.
GOJET_FN float exp_(float x) { return expf(x); }
GOJET_FN float log_(float x) { return logf(x); }
GOJET_FN float rsqrt_(float x) { return rsqrtf(x); }
#ifdef GOJET_GPU
GOJET_FN float exp2_(float x) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
GOJET_FN float rcp_(float x) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
#else
using gojet_emulate::exp2_;
using gojet_emulate::rcp_;
#endif
GOJET_FN float sigmoid(float x) { return rcp_(1.f + exp_(-x)); }
GOJET_FN float silu(float x) { return x * sigmoid(x); }
// softplus is log(1 + e^x).
GOJET_FN float softplus(float x) { return fmaxf(x, 0.f) + log1pf(exp_(-fabsf(x))); }

// ------------------------------------------------------------------------------------------------------- warp

// Blocks are lines of threads: only x is used. What follows must be reached by all 32 lanes of a warp together.
GOJET_FN int lane_id() { return (int)(threadIdx.x & 31); }
GOJET_FN int warp_id() { return (int)(threadIdx.x >> 5); }

#ifdef GOJET_GPU
template <class V> GOJET_FN V shfl(V v, int lane) { return __shfl_sync(FULL, v, lane); }
template <class V> GOJET_FN V shfl_xor(V v, int mask) { return __shfl_xor_sync(FULL, v, mask); }
// shfl_up and shfl_down leave v in the lanes that have no partner.
template <class V> GOJET_FN V shfl_up(V v, int delta) { return __shfl_up_sync(FULL, v, delta); }
template <class V> GOJET_FN V shfl_down(V v, int delta) { return __shfl_down_sync(FULL, v, delta); }
// A macro, because CUDA's own headers have an old function of that name.
#define ballot(pred) __ballot_sync(FULL, (pred))
GOJET_FN void sync_warp() { __syncwarp(); }
#else
using gojet_emulate::shfl;
using gojet_emulate::shfl_down;
using gojet_emulate::shfl_up;
using gojet_emulate::shfl_xor;
using gojet_emulate::sync_warp;
#endif

// warp_sum and warp_max give every lane the result, always added in the same order. width, a power of two, makes
// them work in groups of so many neighbouring lanes.
template <int WIDTH = 32> GOJET_FN float warp_sum(float v) {
#ifdef GOJET_GPU
#pragma unroll
  for (int m = WIDTH / 2; m > 0; m /= 2) v += shfl_xor(v, m);
  return v;
#else
  return gojet_emulate::warp_fold(v, WIDTH, [](float a, float b) { return a + b; });
#endif
}
template <int WIDTH = 32> GOJET_FN float warp_max(float v) {
#ifdef GOJET_GPU
#pragma unroll
  for (int m = WIDTH / 2; m > 0; m /= 2) v = fmaxf(v, shfl_xor(v, m));
  return v;
#else
  return gojet_emulate::warp_fold(v, WIDTH, [](float a, float b) { return fmaxf(a, b); });
#endif
}

// ------------------------------------------------------------------------------------------------------ block

// sync_block is __syncthreads.
GOJET_FN void sync_block() { __syncthreads(); }

// named_barrier waits until `threads` threads (a multiple of 32) have come to barrier id, 1 to 15, by waiting there or by
// named_arrive, which does not wait. Barrier 0 is sync_block's.
GOJET_FN void named_barrier(int id, int threads) {
#ifdef GOJET_GPU
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  gojet_emulate::barrier(id, threads, true);
#endif
}
GOJET_FN void named_arrive(int id, int threads) {
#ifdef GOJET_GPU
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  gojet_emulate::barrier(id, threads, false);
#endif
}

// block_sum and block_max give every thread of a block of THREADS the result, in a fixed order. scratch is THREADS/32 floats
// of shared memory; it may be used again as soon as they return, and must not be in use by others when they are called.
template <int THREADS> GOJET_FN float block_sum(float v, void* scratch) {
  float* s = reinterpret_cast<float*>(scratch);
  v = warp_sum(v);
  if (lane_id() == 0) s[warp_id()] = v;
  sync_block();
  v = lane_id() < THREADS / 32 ? s[lane_id()] : 0.f;
  v = warp_sum(v);
  sync_block();
  return v;
}
template <int THREADS> GOJET_FN float block_max(float v, void* scratch) {
  float* s = reinterpret_cast<float*>(scratch);
  v = warp_max(v);
  if (lane_id() == 0) s[warp_id()] = v;
  sync_block();
  v = lane_id() < THREADS / 32 ? s[lane_id()] : -infinity();
  v = warp_max(v);
  sync_block();
  return v;
}

// ----------------------------------------------------------------------------------------------- tensor cores

#ifdef GOJET_GPU
// shared_address is the address within shared memory that PTX wants.
GOJET_FN unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// mma_bf16 adds a product of tiles: d[16×8] += a[16×16]·b[16×8]. With g = lane/4, t = lane%4 a thread holds
//   a[0], a[1], a[2], a[3]: rows g, g+8, g, g+8 at columns 2t, 2t+1 (the first two) and 2t+8, 2t+9;
//   b[0], b[1]: rows 2t, 2t+1 and 2t+8, 2t+9 of column g;   d[0..3]: row g, columns 2t, 2t+1, then row g+8.
GOJET_FN void mma_bf16(float* d, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// mma_tf32 is d[16×8] += a[16×8]·b[8×8] on float bits of which the lowest 13 are dropped.
//   a[0], a[1], a[2], a[3]: rows g, g+8, g, g+8 at columns t, t, t+4, t+4;   b[0], b[1]: rows t, t+4 of column g.
GOJET_FN void mma_tf32(float* d, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ldmatrix_xN reads N tiles of 8×8 two-byte elements: lane 8i+r gives the address of row r of tile i (16 bytes, aligned),
// and r[i] gets row lane/4, columns 2(lane%4) and the next, of tile i. _trans reads each tile transposed.
GOJET_FN void ldmatrix_x1(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(p)) : "memory");
}
GOJET_FN void ldmatrix_x2(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)) : "memory");
}
GOJET_FN void ldmatrix_x4(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)) : "memory");
}
GOJET_FN void ldmatrix_x1_trans(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(p)) : "memory");
}
GOJET_FN void ldmatrix_x2_trans(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)) : "memory");
}
GOJET_FN void ldmatrix_x4_trans(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)) : "memory");
}

// stmatrix_xN writes what ldmatrix_xN reads. Before compute capability 9.0 it is made of shuffles and stores.
namespace gojet {
template <int N, bool TRANS> GOJET_FN void stmatrix_slow(void* p, const unsigned* r) {
  gojet_u64 mine = (gojet_u64)p;
#pragma unroll
  for (int i = 0; i < N; i++) {
    if (TRANS) {
      char* even = (char*)__shfl_sync(FULL, mine, 8 * i + 2 * (lane_id() & 3));
      char* odd = (char*)__shfl_sync(FULL, mine, 8 * i + 2 * (lane_id() & 3) + 1);
      reinterpret_cast<unsigned short*>(even)[lane_id() >> 2] = (unsigned short)r[i];
      reinterpret_cast<unsigned short*>(odd)[lane_id() >> 2] = (unsigned short)(r[i] >> 16);
    } else {
      char* row = (char*)__shfl_sync(FULL, mine, 8 * i + (lane_id() >> 2));
      reinterpret_cast<unsigned*>(row)[lane_id() & 3] = r[i];
    }
  }
}
}  // namespace gojet
#if __CUDA_ARCH__ >= 900
GOJET_FN void stmatrix_x2(void* p, const unsigned* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(p)), "r"(r[0]), "r"(r[1]) : "memory");
}
GOJET_FN void stmatrix_x4(void* p, const unsigned* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(p)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
GOJET_FN void stmatrix_x2_trans(void* p, const unsigned* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(p)), "r"(r[0]), "r"(r[1]) : "memory");
}
GOJET_FN void stmatrix_x4_trans(void* p, const unsigned* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(p)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
#else
GOJET_FN void stmatrix_x2(void* p, const unsigned* r) { gojet::stmatrix_slow<2, false>(p, r); }
GOJET_FN void stmatrix_x4(void* p, const unsigned* r) { gojet::stmatrix_slow<4, false>(p, r); }
GOJET_FN void stmatrix_x2_trans(void* p, const unsigned* r) { gojet::stmatrix_slow<2, true>(p, r); }
GOJET_FN void stmatrix_x4_trans(void* p, const unsigned* r) { gojet::stmatrix_slow<4, true>(p, r); }
#endif

// ------------------------------------------------------------------------------------- copies that do not wait

// cp_async16 starts copying 16 bytes from global to shared memory, both aligned to 16; zeros are written, and src not
// read, if !valid. cp_async_commit closes a group of such copies of this thread; cp_async_wait<N> waits until at most the N
// newest groups are under way. Other threads see the bytes only after a barrier that follows the wait.
GOJET_FN void cp_async16(void* dst, const void* src, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(valid ? 16 : 0) : "memory");
}
GOJET_FN void cp_async8(void* dst, const void* src, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(valid ? 8 : 0) : "memory");
}
GOJET_FN void cp_async4(void* dst, const void* src, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(valid ? 4 : 0) : "memory");
}
GOJET_FN void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> GOJET_FN void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
using namespace gojet_emulate::words;
#endif

// -------------------------------------------------------------------------------------------------- sequences

// Sequences locates S packed sequences: sequence s owns tokens cu[s] to cu[s+1], its first token has position pos[s], its
// state is row slot[s]. Tokens before cu[0] and from cu[S] on belong to none; empty sequences are common.
struct Sequences {
  const int* cu;
  const int* pos;
  const int* slot;
};

// sequences reads a buffer [3, S+1].
GOJET_FN Sequences sequences(const int* buf, int S) { return Sequences{buf, buf + (S + 1), buf + 2 * (S + 1)}; }

// find_chunk says what chunk number index is, when every sequence is cut into chunks of chunkSize tokens and the last chunk
// of a sequence is short: sequence seq (-1 past the end), tokens first to first+count. There are at most N/chunkSize + S
// chunks in N tokens. All lanes of a warp must ask together, for the same chunk.
GOJET_FN void find_chunk(const int* cu, int S, int chunkSize, int index, int& seq, int& first, int& count) {
  int before = 0;
  for (int base = 0; base < S; base += 32) {
    int s = base + lane_id();
    int lo = s < S ? cu[s] : 0, hi = s < S ? cu[s + 1] : 0;
    int chunks = (hi - lo + chunkSize - 1) / chunkSize;
    int upto = chunks;  // of the sequences up to this lane's
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      int other = shfl_up(upto, d);
      if (lane_id() >= d) upto += other;
    }
    unsigned past = ballot(before + upto > index);
    if (past) {
      int lane = __ffs((int)past) - 1;
      int own = index - before - shfl(upto - chunks, lane);
      lo = shfl(lo, lane);
      hi = shfl(hi, lane);
      seq = base + lane;
      first = lo + own * chunkSize;
      count = min(chunkSize, hi - first);
      return;
    }
    before += shfl(upto, 31);
  }
  seq = -1;
  first = count = 0;
}

// find_sequence is the sequence of a token, or -1 if it belongs to none. Each thread may ask for its own.
GOJET_FN int find_sequence(const int* cu, int S, int token) {
  if (token < cu[0] || token >= cu[S]) return -1;
  int lo = 0, hi = S;  // cu[lo] <= token < cu[hi]
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (cu[mid] <= token)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

// ------------------------------------------------------------------------------------------------ tensor maps

// TensorMap describes a matrix to the bulk copy engine; a kernel takes it as a parameter `const __grid_constant__ TensorMap m`.
struct alignas(64) TensorMap {
  unsigned char bytes[128];
};
