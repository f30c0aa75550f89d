// The emulator's side of gojet.cuh: kernels run on the host, thread by thread.
//
// The threads of a block are fibers: each runs until it must wait for others, then another is resumed. Which one, and in
// which order blocks run, is drawn from a seed, so that a race shows as a result that changes with the seed. Blocks run one
// after another. Mistakes that hardware forgives or hides are made to show:
//
//   - shared memory, static and dynamic, is NaN (bytes 0xff) when a block starts, and guarded at the end of the dynamic part;
//   - a copy that does not wait (cp_async) destroys its target when it is issued and lands when it is waited for;
//   - a collective operation of a warp needs all 32 lanes; a block in which everybody waits is reported, with who waits where;
//   - misaligned vector accesses and accesses to memory that is not mapped are reported with kernel, block and thread.
//
// To add a word that needs PTX, write its twin here, in namespace gojet_emulate::words, out of these parts:
//
//   - collect(lanes, tag, &arg, f): the threads of a group (32: the warp, 128: the warpgroup) meet; the last to arrive
//     runs f(A** args), where args[i] is the argument of the i-th thread of the group, for all of them. Arguments live on
//     their threads' stacks: f reads the operands there and writes the results there. tag names the word in reports.
//   - wait_until(tag, f): the calling thread goes on when f() is true; f must have no effects. For mbarriers.
//   - later(f): runs f at a random time from now on, at the latest when nobody else can run or the block ends. f is copied
//     (256 bytes at most) and must not touch stacks. For the bulk copy engine, which lands its bytes and then arrives at an mbarrier.
//   - fail(format, ...): gives up, naming kernel, block and thread.
//   - aligned(p, n): fails unless p is aligned to n bytes.
#pragma once

#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#ifndef GOJET_EMULATE_ARCH
#define GOJET_EMULATE_ARCH 900
#endif
#define __CUDA_ARCH__ GOJET_EMULATE_ARCH

// ------------------------------------------------------------------------------------------------ the dialect

#define __device__
#define __host__
#define __global__
#define __constant__ static const
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define alignas(n) __attribute__((aligned(n)))  // which may stand in more places
#define __restrict__ __restrict
// Static shared arrays are the only variables local to an OS thread: see Emulator::statics.
#define __shared__ static thread_local
#define SHARED(name) char* name = gojet_emulate::the.dynamic

typedef unsigned long long gojet_u64;

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct int2 { int x, y; } __align__(8);
struct uint2 { unsigned x, y; } __align__(8);
struct float2 { float x, y; } __align__(8);
struct double2 { double x, y; } __align__(16);
struct int3 { int x, y, z; };
struct float3 { float x, y, z; };
struct int4 { int x, y, z, w; } __align__(16);
struct uint4 { unsigned x, y, z, w; } __align__(16);
struct float4 { float x, y, z, w; } __align__(16);
struct ushort2 { unsigned short x, y; } __align__(4);
struct ushort4 { unsigned short x, y, z, w; } __align__(8);
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern "C" {
float fmaf(float, float, float) noexcept;
float fmaxf(float, float) noexcept;
float fminf(float, float) noexcept;
float fabsf(float) noexcept;
float sqrtf(float) noexcept;
float expf(float) noexcept;
float exp2f(float) noexcept;
float expm1f(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float log1pf(float) noexcept;
float powf(float, float) noexcept;
float sinf(float) noexcept;
float cosf(float) noexcept;
float tanhf(float) noexcept;
float erff(float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float truncf(float) noexcept;
float rintf(float) noexcept;
float roundf(float) noexcept;
float fmodf(float, float) noexcept;
float copysignf(float, float) noexcept;
float ldexpf(float, int) noexcept;
double fma(double, double, double) noexcept;
double fmax(double, double) noexcept;
double fmin(double, double) noexcept;
double fabs(double) noexcept;
double sqrt(double) noexcept;
double exp(double) noexcept;
double log(double) noexcept;
double pow(double, double) noexcept;
double sin(double) noexcept;
double cos(double) noexcept;
}
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline void sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline void sincospif(float x, float* s, float* c) { *s = (float)sin(x * 3.14159265358979323846), *c = (float)cos(x * 3.14159265358979323846); }
inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1.f / sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fmul_rn(float x, float y) { volatile float r = x * y; return r; }
inline float __fadd_rn(float x, float y) { volatile float r = x + y; return r; }
inline float __fsub_rn(float x, float y) { volatile float r = x - y; return r; }
inline float __saturatef(float x) { return x > 0.f ? x < 1.f ? x : 1.f : 0.f; }
inline float __uint_as_float(unsigned v) { return __builtin_bit_cast(float, v); }
inline float __int_as_float(int v) { return __builtin_bit_cast(float, v); }
inline unsigned __float_as_uint(float v) { return __builtin_bit_cast(unsigned, v); }
inline int __float_as_int(float v) { return __builtin_bit_cast(int, v); }
inline int __float2int_rn(float v) { return (int)rintf(v); }
inline int __float2int_rd(float v) { return (int)floorf(v); }
inline int __float2int_rz(float v) { return (int)v; }
inline float __int2float_rn(int v) { return (float)v; }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(gojet_u64 v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((gojet_u64)a * b >> 32); }
inline gojet_u64 __umul64hi(gojet_u64 a, gojet_u64 b) { return (gojet_u64)((unsigned __int128)a * b >> 64); }
inline unsigned __brev(unsigned v) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r = r << 1 | (v >> i & 1);
  return r;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
  gojet_u64 both = (gojet_u64)y << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) r |= (unsigned)(both >> 8 * (s >> 4 * i & 7) & 0xff) << 8 * i;
  return r;
}
inline bool isnan(float v) { return v != v; }
inline bool isinf(float v) { return __builtin_isinf(v); }
inline bool isfinite(float v) { return __builtin_isfinite(v); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline gojet_u64 min(gojet_u64 a, gojet_u64 b) { return a < b ? a : b; }
inline gojet_u64 max(gojet_u64 a, gojet_u64 b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
template <class T> inline T __ldg(const T* p) { return *p; }
// Fibers give way only at collectives, so integer atomics need nothing special. There are none for floats, on purpose.
template <class T> inline T gojet_swap(T* p, T v) { T old = *p; *p = v; return old; }
inline int atomicAdd(int* p, int v) { return gojet_swap(p, *p + v); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return gojet_swap(p, *p + v); }
inline gojet_u64 atomicAdd(gojet_u64* p, gojet_u64 v) { return gojet_swap(p, *p + v); }
inline int atomicMax(int* p, int v) { return gojet_swap(p, max(*p, v)); }
inline unsigned atomicMax(unsigned* p, unsigned v) { return gojet_swap(p, max(*p, v)); }
inline int atomicMin(int* p, int v) { return gojet_swap(p, min(*p, v)); }
inline unsigned atomicMin(unsigned* p, unsigned v) { return gojet_swap(p, min(*p, v)); }
inline unsigned atomicOr(unsigned* p, unsigned v) { return gojet_swap(p, *p | v); }
inline unsigned atomicExch(unsigned* p, unsigned v) { return gojet_swap(p, v); }
inline int atomicExch(int* p, int v) { return gojet_swap(p, v); }
inline unsigned atomicInc(unsigned* p, unsigned top) { return gojet_swap(p, *p >= top ? 0 : *p + 1); }
inline int atomicCAS(int* p, int compare, int v) { return gojet_swap(p, *p == compare ? v : *p); }
inline unsigned atomicCAS(unsigned* p, unsigned compare, unsigned v) { return gojet_swap(p, *p == compare ? v : *p); }
inline void __threadfence() {}
inline void __threadfence_block() {}

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

// ---------------------------------------------------------------------------------------------------- fibers

namespace gojet_emulate {

constexpr int maxThreads = 1024, stackBytes = 256 << 10, guardBytes = 1024;

// A copy that a thread has issued and not waited for.
struct Copy {
  void* dst;
  const void* src;
  int size, group;
};

struct Fiber {
  int id;
  char* stack;
#ifdef __x86_64__
  void* sp;
#else
  ucontext_t context;
#endif
  enum State { Ready, Waiting, Polling, Done } state;
  const char* tag;  // what it waits at
  int detail;       // which barrier
  bool (*ready)(void*);
  void* readyArg;
  void* arg;  // of the collective it waits at
  Copy* copies;
  int copyCount, copyRoom, group;
};

// Where threads meet: the 16 barriers of a block.
struct Barrier {
  int arrived, want;
  gojet_u64 waiters[maxThreads / 64];
};

// A group of threads meeting in a collective.
struct Meeting {
  int arrived;
  const char* tag;
};

// Something that happens by itself, later.
struct Event {
  void (*run)(void*);
  alignas(16) char data[256];
};

struct Emulator {
  Fiber fibers[maxThreads];
  int threads, left;  // of the block: all, not yet done
  Fiber* current;
  unsigned ready[32];  // lanes that can run, by warp
  int polling;
  Barrier barriers[16];
  Meeting warps[32], groups[8];
  Event* events;
  int eventCount, eventRoom;
  gojet_u64 random;

  char* dynamic;
  size_t dynamicRoom;
  char* statics;  // this OS thread's copy of the static shared arrays
  size_t staticBytes;

  const char* kernel;
  void (*entry)(const void*);
  const void* args;
  char* stacks;
#ifdef __x86_64__
  void* home;
#else
  ucontext_t home;
#endif
  bool failed;
  pthread_t owner;
  struct sigaction before[3];
  char message[2048];
};

static Emulator the;
static thread_local char statics_anchor;

inline unsigned draw(unsigned n) {
  the.random = the.random * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)((the.random >> 33) * n >> 31);
}

#ifdef __x86_64__
// Saves the callee's registers on the stack and its pointer at *from, and goes on where to was saved.
extern "C" void gojet_switch(void** from, void* to);
asm(".text\n.type gojet_switch,@function\n.local gojet_switch\ngojet_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
    ".size gojet_switch,.-gojet_switch\n");
#endif

inline void resume(Fiber* f) {
  Fiber* self = the.current;
  if (f == self) return;
  the.current = f;
  threadIdx.x = (unsigned)f->id;
#ifdef __x86_64__
  gojet_switch(&self->sp, f->sp);
#else
  swapcontext(&self->context, &f->context);
#endif
}

inline void go_home() {
#ifdef __x86_64__
  gojet_switch(&the.current->sp, the.home);
#else
  swapcontext(&the.current->context, &the.home);
#endif
}

inline void report(const char* format, va_list list) {
  the.failed = true;
  int n = snprintf(the.message, sizeof the.message, "%s, block (%u, %u, %u), thread %u: ", the.kernel, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x);
  vsnprintf(the.message + n, sizeof the.message - n, format, list);
}

__attribute__((noinline, format(printf, 1, 2))) inline void fail(const char* format, ...) {
  va_list list;
  va_start(list, format);
  report(format, list);
  va_end(list);
  go_home();  // and never back
  abort();
}

inline void aligned(const void* p, int n) {
  if ((size_t)p % n) fail("address %p is not aligned to %d bytes", p, n);
}

inline void make_ready(Fiber* f) {
  f->state = Fiber::Ready;
  the.ready[f->id >> 5] |= 1u << (f->id & 31);
}

inline bool run_event() {
  if (!the.eventCount) return false;
  int i = (int)draw(the.eventCount);
  Event e = the.events[i];
  the.events[i] = the.events[--the.eventCount];
  e.run(e.data);
  return true;
}

inline void poll() {
  if (!the.polling) return;
  for (int i = 0; i < the.threads; i++) {
    Fiber* f = &the.fibers[i];
    if (f->state == Fiber::Polling && f->ready(f->readyArg)) {
      the.polling--;
      make_ready(f);
    }
  }
}

// Says who waits where: as many lines as there are different places.
inline void deadlock() {
  char text[1536];
  int n = 0;
  bool told[maxThreads] = {};
  for (int i = 0; i < the.threads; i++) {
    Fiber* f = &the.fibers[i];
    if (told[i]) continue;
    int count = 0, last = i;
    for (int j = i; j < the.threads; j++) {
      Fiber* o = &the.fibers[j];
      bool same = o->state == Fiber::Done ? f->state == Fiber::Done : f->state != Fiber::Done && o->tag == f->tag && o->detail == f->detail;
      if (same) told[j] = true, count++, last = j;
    }
    if (n < (int)sizeof text - 160) {
      n += snprintf(text + n, sizeof text - n, "; %d threads (%d to %d) ", count, i, last);
      if (f->state == Fiber::Done)
        n += snprintf(text + n, sizeof text - n, "have returned");
      else if (f->detail >= 0)
        n += snprintf(text + n, sizeof text - n, "wait at %s %d", f->tag, f->detail);
      else
        n += snprintf(text + n, sizeof text - n, "wait at %s", f->tag);
    }
  }
  fail("deadlock%s", text);
}

// Runs somebody else; comes back when the current fiber can go on.
__attribute__((noinline)) inline void yield() {
  for (;;) {
    if (the.eventCount && draw(16) == 0) run_event();
    if (the.polling && draw(8) == 0) poll();
    int warps = (the.threads + 31) / 32;
    int w = the.current->id >> 5;
    if (!the.ready[w] || draw(8) == 0) {
      int from = (int)draw(warps);
      for (int i = 0; i < warps; i++) {
        w = (from + i) % warps;
        if (the.ready[w]) break;
      }
    }
    if (unsigned m = the.ready[w]) {
      unsigned r = draw(32);
      unsigned turned = r ? m >> r | m << (32 - r) : m;
      int lane = (__builtin_ctz(turned) + r) & 31;
      the.ready[w] &= ~(1u << lane);
      resume(&the.fibers[w * 32 + lane]);
      return;
    }
    if (!run_event()) {
      int before = the.polling;
      poll();
      if (the.polling == before) deadlock();
    } else {
      poll();
    }
  }
}

inline void sleep_at(Fiber::State state, const char* tag, int detail) {
  Fiber* self = the.current;
  self->state = state;
  self->tag = tag;
  self->detail = detail;
  yield();
}

// ---------------------------------------------------------------------------------------------------- meeting

inline void wake_barrier(Barrier* b) {
  for (int i = 0; i < maxThreads / 64; i++) {
    for (gojet_u64 m = b->waiters[i]; m; m &= m - 1) make_ready(&the.fibers[64 * i + __builtin_ctzll(m)]);
    b->waiters[i] = 0;
  }
  b->arrived = b->want = 0;
}

// Barrier 0 with threads 0 is for all threads that have not returned.
__attribute__((noinline)) inline void barrier(int id, int threads, bool wait) {
  Barrier* b = &the.barriers[id & 15];
  Fiber* self = the.current;
  if (id < 0 || id > 15) fail("barrier %d: there are 0 to 15", id);
  if (threads % 32 || threads > (the.threads + 31) / 32 * 32) fail("barrier %d for %d threads in a block of %d", id, threads, the.threads);
  if (b->arrived && b->want != threads) fail("barrier %d is for %d threads here and for %d elsewhere", id, threads, b->want);
  b->want = threads;
  b->arrived++;
  if (wait) b->waiters[self->id / 64] |= 1ull << self->id % 64;
  if (b->arrived == (threads ? threads : the.left)) {
    b->waiters[self->id / 64] &= ~(1ull << self->id % 64);
    wake_barrier(b);
    if (wait && draw(2)) {  // the last to arrive is not always the first to leave
      make_ready(self);
      self->tag = "barrier";
      self->detail = id;
      yield();
    }
    return;
  }
  if (wait) sleep_at(Fiber::Waiting, "barrier", id);
}

template <class A, class F> inline void collect(int lanes, const char* tag, A* arg, F f) {
  Fiber* self = the.current;
  int group = self->id / lanes;
  Meeting* m = lanes == 32 ? &the.warps[group] : &the.groups[group];
  if (m->arrived && m->tag != tag && strcmp(m->tag, tag)) fail("meets at %s, while other threads of its %s are at %s", tag, lanes == 32 ? "warp" : "warpgroup", m->tag);
  m->tag = tag;
  self->arg = arg;
  Fiber* first = &the.fibers[group * lanes];
  if (++m->arrived < lanes) {
    sleep_at(Fiber::Waiting, tag, -1);
    return;
  }
  m->arrived = 0;
  A* args[128];
  for (int i = 0; i < lanes; i++) args[i] = (A*)first[i].arg;
  f(args);
  for (int i = 0; i < lanes; i++)
    if (&first[i] != self) make_ready(&first[i]);
}

template <class F> inline void wait_until(const char* tag, F f) {
  if (f()) return;
  the.current->ready = [](void* p) { return (*(F*)p)(); };
  the.current->readyArg = &f;
  the.polling++;
  sleep_at(Fiber::Polling, tag, -1);
}

template <class F> inline void later(F f) {
  static_assert(sizeof(F) <= sizeof(Event::data) && __is_trivially_copyable(F), "later takes a small function that can be copied");
  if (the.eventCount == the.eventRoom) {
    the.eventRoom = the.eventRoom ? 2 * the.eventRoom : 64;
    the.events = (Event*)realloc(the.events, the.eventRoom * sizeof(Event));
  }
  Event* e = &the.events[the.eventCount++];
  e->run = [](void* p) { (*(F*)p)(); };
  memcpy(e->data, &f, sizeof f);
}

// ------------------------------------------------------------------------------------------------------ words

inline unsigned short round_bf16(float f) {
  unsigned u = __float_as_uint(f);
  if (f != f) return 0x7fff;
  return (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
inline float widen_bf16(unsigned v) { return __uint_as_float(v << 16); }
inline float flush(float x) { return fabsf(x) < 1.17549435e-38f ? copysignf(0.f, x) : x; }
inline float exp2_(float x) { return flush(exp2f(flush(x))); }
inline float rcp_(float x) { return flush(1.f / flush(x)); }

template <class V> struct Exchange {
  V v, result;
  int lane;
};
template <class V> inline V exchange(const char* tag, V v, int lane) {
  Exchange<V> x{v, v, lane};
  collect(32, tag, &x, [](Exchange<V>** a) {
    for (int i = 0; i < 32; i++) a[i]->result = a[a[i]->lane]->v;
  });
  return x.result;
}
inline int lane() { return the.current->id & 31; }
template <class V> inline V shfl(V v, int from) { return exchange("shfl", v, from & 31); }
template <class V> inline V shfl_xor(V v, int mask) { return exchange("shfl_xor", v, (lane() ^ mask) & 31); }
template <class V> inline V shfl_up(V v, int delta) { return exchange("shfl_up", v, lane() >= delta ? lane() - delta : lane()); }
template <class V> inline V shfl_down(V v, int delta) { return exchange("shfl_down", v, lane() + delta < 32 ? lane() + delta : lane()); }
inline unsigned ballot(bool pred) {
  struct Vote { bool pred; unsigned result; } x{pred, 0};
  collect(32, "ballot", &x, [](Vote** a) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (unsigned)a[i]->pred << i;
    for (int i = 0; i < 32; i++) a[i]->result = r;
  });
  return x.result;
}
inline void whole(unsigned mask) {
  if (mask != 0xffffffffu) fail("a collective operation of lanes %#x: here they take whole warps", mask);
}
inline void sync_warp() {
  int none = 0;
  collect(32, "sync_warp", &none, [](int**) {});
}
template <class F> inline float warp_fold(float v, int width, F add) {
  collect(32, "warp_fold", &v, [=](float** a) {
    float x[32], y[32];
    for (int i = 0; i < 32; i++) x[i] = *a[i];
    for (int m = width / 2; m > 0; m /= 2) {
      for (int i = 0; i < 32; i++) y[i] = add(x[i], x[i ^ m]);
      memcpy(x, y, sizeof x);
    }
    for (int i = 0; i < 32; i++) *a[i] = x[i];
  });
  return v;
}

namespace words {

struct Product {
  float* d;
  const unsigned *a, *b;
};

inline void mma_bf16(float* d, const unsigned* a, const unsigned* b) {
  Product p{d, a, b};
  collect(32, "mma_bf16", &p, [](Product** l) {
    float A[16][16], B[8][16];  // B by columns
    for (int i = 0; i < 32; i++) {
      int g = i >> 2, t = 2 * (i & 3);
      for (int r = 0; r < 4; r++)
        for (int h = 0; h < 2; h++) A[g + 8 * (r & 1)][t + h + 8 * (r >> 1)] = widen_bf16(l[i]->a[r] >> 16 * h & 0xffff);
      for (int r = 0; r < 2; r++)
        for (int h = 0; h < 2; h++) B[g][t + h + 8 * r] = widen_bf16(l[i]->b[r] >> 16 * h & 0xffff);
    }
    for (int i = 0; i < 32; i++) {
      int g = i >> 2, t = 2 * (i & 3);
      for (int r = 0; r < 4; r++) {
        const float *x = A[g + 8 * (r >> 1)], *y = B[t + (r & 1)];
        float sum = 0;
        for (int k = 0; k < 16; k++) sum += x[k] * y[k];
        l[i]->d[r] += sum;
      }
    }
  });
}

inline void mma_tf32(float* d, const unsigned* a, const unsigned* b) {
  Product p{d, a, b};
  collect(32, "mma_tf32", &p, [](Product** l) {
    float A[16][8], B[8][8];  // B by columns
    for (int i = 0; i < 32; i++) {
      int g = i >> 2, t = i & 3;
      for (int r = 0; r < 4; r++) A[g + 8 * (r & 1)][t + 4 * (r >> 1)] = __uint_as_float(l[i]->a[r] & 0xffffe000u);
      for (int r = 0; r < 2; r++) B[g][t + 4 * r] = __uint_as_float(l[i]->b[r] & 0xffffe000u);
    }
    for (int i = 0; i < 32; i++) {
      int g = i >> 2, t = 2 * (i & 3);
      for (int r = 0; r < 4; r++) {
        float sum = 0;
        for (int k = 0; k < 8; k++) sum += A[g + 8 * (r >> 1)][k] * B[t + (r & 1)][k];
        l[i]->d[r] += sum;
      }
    }
  });
}

struct Tiles {
  unsigned* r;
  char* p;
};

template <int N, bool TRANS, bool STORE> inline void move_tiles(const char* tag, unsigned* r, const void* p) {
  if (lane() < 8 * N) aligned(p, 16);
  Tiles x{r, (char*)p};
  collect(32, tag, &x, [](Tiles** l) {
    for (int n = 0; n < N; n++)
      for (int i = 0; i < 32; i++) {
        int g = i >> 2, t = 2 * (i & 3);
        for (int h = 0; h < 2; h++) {
          int row = TRANS ? t + h : g, col = TRANS ? g : t + h;
          unsigned short* at = (unsigned short*)l[8 * n + row]->p + col;
          if (STORE)
            *at = (unsigned short)(l[i]->r[n] >> 16 * h);
          else
            l[i]->r[n] = h ? l[i]->r[n] | (unsigned)*at << 16 : *at;
        }
      }
  });
}
inline void ldmatrix_x1(unsigned* r, const void* p) { move_tiles<1, false, false>("ldmatrix", r, p); }
inline void ldmatrix_x2(unsigned* r, const void* p) { move_tiles<2, false, false>("ldmatrix", r, p); }
inline void ldmatrix_x4(unsigned* r, const void* p) { move_tiles<4, false, false>("ldmatrix", r, p); }
inline void ldmatrix_x1_trans(unsigned* r, const void* p) { move_tiles<1, true, false>("ldmatrix_trans", r, p); }
inline void ldmatrix_x2_trans(unsigned* r, const void* p) { move_tiles<2, true, false>("ldmatrix_trans", r, p); }
inline void ldmatrix_x4_trans(unsigned* r, const void* p) { move_tiles<4, true, false>("ldmatrix_trans", r, p); }
inline void stmatrix_x2(void* p, const unsigned* r) { move_tiles<2, false, true>("stmatrix", (unsigned*)r, p); }
inline void stmatrix_x4(void* p, const unsigned* r) { move_tiles<4, false, true>("stmatrix", (unsigned*)r, p); }
inline void stmatrix_x2_trans(void* p, const unsigned* r) { move_tiles<2, true, true>("stmatrix_trans", (unsigned*)r, p); }
inline void stmatrix_x4_trans(void* p, const unsigned* r) { move_tiles<4, true, true>("stmatrix_trans", (unsigned*)r, p); }

inline void cp_async(void* dst, const void* src, int size, bool valid) {
  aligned(dst, size);
  if (valid) aligned(src, size);
  Fiber* f = the.current;
  if (f->copyCount == f->copyRoom) {
    f->copyRoom = f->copyRoom ? 2 * f->copyRoom : 16;
    f->copies = (Copy*)realloc(f->copies, f->copyRoom * sizeof(Copy));
  }
  f->copies[f->copyCount++] = Copy{dst, valid ? src : nullptr, size, f->group};
  memset(dst, 0xff, size);
}
inline void cp_async16(void* dst, const void* src, bool valid = true) { cp_async(dst, src, 16, valid); }
inline void cp_async8(void* dst, const void* src, bool valid = true) { cp_async(dst, src, 8, valid); }
inline void cp_async4(void* dst, const void* src, bool valid = true) { cp_async(dst, src, 4, valid); }
inline void cp_async_commit() { the.current->group++; }
template <int N> inline void cp_async_wait() {
  Fiber* f = the.current;
  int kept = 0;
  for (int i = 0; i < f->copyCount; i++) {
    Copy c = f->copies[i];
    if (c.group >= f->group - N)
      f->copies[kept++] = c;
    else if (c.src)
      memcpy(c.dst, c.src, c.size);
    else
      memset(c.dst, 0, c.size);
  }
  f->copyCount = kept;
}

}  // namespace words

// EmulatedMap is what the emulating driver puts into a TensorMap: a matrix of dims elements, the fastest dimension first.
// Parts of a box that lie outside are read as zeros and not written.
struct EmulatedMap {
  char* base;
  long long stride[3];  // bytes between neighbours along each dimension; stride[0] is the size of an element
  int dims[3], box[3];  // columns, rows, planes
  int swizzle;          // bytes, 0 for none: within 8 rows of that many, 16-byte pieces are exchanged by row number
};

// ---------------------------------------------------------------------------------------------------- running

inline void fiber_main() {
  for (;;) {
    the.entry(the.args);
    Fiber* self = the.current;
    self->state = Fiber::Done;
    the.left--;
    Barrier* b = &the.barriers[0];
    if (b->arrived && !b->want && b->arrived == the.left) wake_barrier(b);
    if (!the.left)
      go_home();
    else
      yield();
  }
}

// A fiber that starts at fiber_main when it is first resumed.
inline void prepare(Fiber* f, int id) {
  f->id = id;
  f->copyCount = f->group = 0;
  f->tag = "start";
  f->detail = -1;
  f->stack = the.stacks + (size_t)id * stackBytes;
#ifdef __x86_64__
  void** top = (void**)(f->stack + stackBytes - 64 - id % 61 * 64);  // stacks at equal addresses would share cache sets
  *--top = nullptr;
  *--top = (void*)&fiber_main;
  top -= 6;
  f->sp = top;
#else
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = stackBytes;
  makecontext(&f->context, fiber_main, 0);
#endif
  make_ready(f);
}

// Memory faults of kernels become failures; those of others go where they went before.
inline void on_signal(int number, siginfo_t* info, void* context) {
  static const int numbers[3] = {SIGSEGV, SIGBUS, SIGFPE};
  if (!pthread_equal(pthread_self(), the.owner) || !the.current) {
    for (int i = 0; i < 3; i++)
      if (numbers[i] == number) {
        if (the.before[i].sa_flags & SA_SIGINFO)
          the.before[i].sa_sigaction(number, info, context);
        else
          signal(number, SIG_DFL);
      }
    return;
  }
  if (number == SIGFPE)
    fail("integer division by zero");
  char* at = (char*)info->si_addr;
  if (at >= the.current->stack && at < the.current->stack + 4096)
    fail("stack of %d KB overflows", stackBytes >> 10);
  if (at >= the.dynamic - 65536 && at < the.dynamic + the.dynamicRoom + 65536)
    fail("access %td bytes from the start of dynamic shared memory", at - the.dynamic);
  fail("access to address %p, which is not mapped", (void*)at);
}

inline void find_statics() {
  statics_anchor = 0;
  asm volatile("" ::"r"(&statics_anchor) : "memory");  // makes this OS thread's copy exist
  the.statics = nullptr;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        bool ours = false;
        const ElfW(Phdr)* tls = nullptr;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const ElfW(Phdr)* p = &info->dlpi_phdr[i];
          size_t at = info->dlpi_addr + p->p_vaddr;
          if (p->p_type == PT_LOAD && (size_t)&the >= at && (size_t)&the < at + p->p_memsz) ours = true;
          if (p->p_type == PT_TLS) tls = p;
        }
        if (ours && tls) the.statics = (char*)info->dlpi_tls_data, the.staticBytes = tls->p_memsz;
        return (int)ours;
      },
      nullptr);
}

struct Launch {
  const char* kernel;
  unsigned grid[3], threads, shared;
  gojet_u64 seed;  // of the order of blocks and threads; 0 leaves the blocks in order
  char* stacks;    // maxThreads of stackBytes, each with a page at its low end that cannot be touched
  const void* data;
  const int* at;  // where each of the count arguments begins in data, and the end
  int count;
};

inline void run_block() {
  memset(the.ready, 0, sizeof the.ready);
  memset(the.barriers, 0, sizeof the.barriers);
  memset(the.warps, 0, sizeof the.warps);
  memset(the.groups, 0, sizeof the.groups);
  the.polling = the.eventCount = 0;
  the.left = the.threads;
  for (int i = 0; i < the.threads; i++) prepare(&the.fibers[i], i);
  Fiber* first = &the.fibers[draw(the.threads)];
  the.ready[first->id >> 5] &= ~(1u << (first->id & 31));
  the.current = first;
  threadIdx.x = (unsigned)first->id;
#ifdef __x86_64__
  gojet_switch(&the.home, first->sp);
#else
  swapcontext(&the.home, &first->context);
#endif
  while (!the.failed && run_event()) {
  }
  the.current = nullptr;
}

// run returns null, or what went wrong.
inline const char* run(const Launch* l, void (*entry)(const void*)) {
  static const int numbers[3] = {SIGSEGV, SIGBUS, SIGFPE};
  the.kernel = l->kernel;
  the.entry = entry;
  the.args = l;
  the.stacks = l->stacks;
  the.failed = false;
  the.current = nullptr;
  the.threads = (int)l->threads;
  the.random = l->seed * 0x9e3779b97f4a7c15ull + 1;
  if (l->threads < 1 || l->threads > maxThreads) return "a block has 1 to 1024 threads";
  size_t room = (l->shared + guardBytes + 4095) / 4096 * 4096;
  if (room > the.dynamicRoom) {
    char* p = (char*)mmap(nullptr, room + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return "no memory for shared memory";
    mprotect(p + 4096, room, PROT_READ | PROT_WRITE);
    the.dynamic = p + 4096;
    the.dynamicRoom = room;
  }
  find_statics();
  the.owner = pthread_self();
  struct sigaction mine = {};
  mine.sa_sigaction = on_signal;
  mine.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  for (int i = 0; i < 3; i++) sigaction(numbers[i], &mine, &the.before[i]);

  blockDim = {l->threads, 1, 1};
  gridDim = {l->grid[0], l->grid[1], l->grid[2]};
  gojet_u64 blocks = (gojet_u64)gridDim.x * gridDim.y * gridDim.z;
  // A step that has no factor in common with the number of blocks visits all of them.
  gojet_u64 step = 1, at = 0;
  if (l->seed && blocks > 1) {
    auto common = [](gojet_u64 a, gojet_u64 b) {
      while (b) {
        gojet_u64 r = a % b;
        a = b, b = r;
      }
      return a;
    };
    do step = 1 + draw((unsigned)(blocks - 1 < 0x7fffffff ? blocks - 1 : 0x7fffffff));
    while (common(step, blocks) != 1);
    at = draw((unsigned)(blocks < 0x7fffffff ? blocks : 0x7fffffff));
  }
  for (gojet_u64 i = 0; i < blocks && !the.failed; i++, at = (at + step) % blocks) {
    blockIdx = {(unsigned)(at % gridDim.x), (unsigned)(at / gridDim.x % gridDim.y), (unsigned)(at / gridDim.x / gridDim.y)};
    threadIdx = {0, 0, 0};
    memset(the.dynamic, 0xff, the.dynamicRoom);
    if (the.statics) memset(the.statics, 0xff, the.staticBytes);
    run_block();
    for (size_t b = l->shared; b < the.dynamicRoom && !the.failed; b++)
      if (the.dynamic[b] != (char)0xff) {
        the.failed = true;
        snprintf(the.message, sizeof the.message, "%s, block (%u, %u, %u): wrote byte %zu of %u bytes of dynamic shared memory", the.kernel, blockIdx.x, blockIdx.y, blockIdx.z, b, l->shared);
      }
  }
  for (int i = 0; i < 3; i++) sigaction(numbers[i], &the.before[i], nullptr);
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  return the.failed ? the.message : nullptr;
}

template <int...> struct Ints {};

template <class S> struct Signature;
template <class... P> struct Signature<void(P...)> {
  static constexpr int count = sizeof...(P);
  typedef Ints<__integer_pack(sizeof...(P))...> All;

  // wrong returns the first argument that does not lie where C lays the parameters out, or -1.
  static int wrong(const Launch* l) {
    int at = 0, i = 0, bad = -1;
    auto check = [&](int size, int align) {
      at = (at + align - 1) / align * align;
      if (bad < 0 && (i >= l->count || at != l->at[i] || at + size > l->at[i + 1] || (i + 1 == l->count && at + size != l->at[i + 1]))) bad = i;
      at += size;
      i++;
    };
    (check((int)sizeof(P), (int)alignof(P)), ...);
    return bad;
  }
  template <void (*kernel)(P...), int... I> static void call(const Launch* l, Ints<I...>) { kernel(*(const P*)((const char*)l->data + l->at[I])...); }
};

// start runs a kernel, unpacking the arguments by its own signature.
template <class S, S* kernel> inline const char* start(const Launch* l) {
  typedef Signature<S> Sig;
  constexpr int count = Sig::count;
  int bad = count == l->count ? Sig::wrong(l) : -2;
  if (bad == -1) return run(l, [](const void* p) { Sig::template call<kernel>((const Launch*)p, typename Sig::All()); });
  if (bad == -2)
    snprintf(the.message, sizeof the.message, "%s takes %d arguments, %d given", l->kernel, count, l->count);
  else
    snprintf(the.message, sizeof the.message, "argument %d of %s has not the size of its parameter", bad, l->kernel);
  return the.message;
}

}  // namespace gojet_emulate

inline void __syncthreads() { gojet_emulate::barrier(0, 0, true); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { gojet_emulate::whole(mask), gojet_emulate::sync_warp(); }
template <class V> inline V __shfl_sync(unsigned mask, V v, int lane) { return gojet_emulate::whole(mask), gojet_emulate::shfl(v, lane); }
template <class V> inline V __shfl_xor_sync(unsigned mask, V v, int m) { return gojet_emulate::whole(mask), gojet_emulate::shfl_xor(v, m); }
template <class V> inline V __shfl_up_sync(unsigned mask, V v, int d) { return gojet_emulate::whole(mask), gojet_emulate::shfl_up(v, d); }
template <class V> inline V __shfl_down_sync(unsigned mask, V v, int d) { return gojet_emulate::whole(mask), gojet_emulate::shfl_down(v, d); }
inline unsigned __ballot_sync(unsigned mask, bool pred) { return gojet_emulate::whole(mask), gojet_emulate::ballot(pred); }
inline bool __any_sync(unsigned mask, bool pred) { return __ballot_sync(mask, pred) != 0; }
inline bool __all_sync(unsigned mask, bool pred) { return __ballot_sync(mask, pred) == 0xffffffffu; }
inline unsigned ballot(bool pred) { return gojet_emulate::ballot(pred); }

// The driver adds this line for the kernel it wants.
#define GOJET_ENTRY(name) \
  extern "C" __attribute__((visibility("default"))) const char* gojet_launch(const gojet_emulate::Launch* l) { return gojet_emulate::start<decltype(name), &name>(l); }
