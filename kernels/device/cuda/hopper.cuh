// Hopper's own instructions: barriers in shared memory, the bulk copy engine (TMA), products of a warpgroup (wgmma),
// registers moved between warpgroups, clusters. Compiled for sm_90a; a kernel that includes this file also needs a path
// for other devices, through mma_bf16. PTX ISA: https://docs.nvidia.com/cuda/parallel-thread-execution
//
// Layouts
//
// A tile in shared memory is made of boxes: rows of 64 bf16 (128 bytes), each box beginning at a multiple of 1024 bytes,
// swizzled over 128 bytes: the 16-byte piece c of row r lies at r·128 + ((c ^ (r mod 8)) · 16), see swizzle128. That is how
// the copy engine writes a box {64 columns, rows} of a map with Swizzle 128. A tile of 128 columns is two boxes.
//
//	as an operand whose contraction runs along the row ("K-major": q·kᵀ, both [tokens, features]):
//	    along_row(box), TransX = 0; a step of 16 of the contraction adds 32 bytes, the next 64 are the next box;
//	    8 rows of M (or N) are 1024 bytes apart, so a warpgroup's 64 rows begin at box + 64·128·i
//	as an operand whose contraction runs down the rows ("MN-major": p·v with v [tokens, features]):
//	    down_rows(box, bytes from box to box), TransX = 1; a step of 16 rows of the contraction adds 2048 bytes;
//	    M (or N) runs along the row, from box to box each 64
//
// D of m64nN lies in float d[N/2]. Thread t of the warpgroup, warp w = t/32, lane l = t%32, has of rows 16w + l/4 (+8) and
// columns 8j + 2(l%4) (+1):   d[4j], d[4j+1] of the first row, d[4j+2], d[4j+3] of the row 8 below.
// A from registers, one step of 16: unsigned a[4], pairs of bf16: {row, k 2(l%4)}, {row+8, same}, {row, k+8}, {row+8, k+8}; so
// D's columns 16i to 16i+15 become the A of step i as pack2(d[8i],d[8i+1]), pack2(d[8i+2],d[8i+3]), pack2(d[8i+4],d[8i+5]),
// pack2(d[8i+6],d[8i+7]).
//
// Order: wgmma_fence() before the first product after registers of d or a were touched; products; wgmma_commit(); then
// wgmma_wait<n>(d): all but the last n commits are done, and d may be read. Shared memory written by ordinary stores is
// seen by products and the copy engine after fence_async() in each writing thread and a barrier.
#pragma once
#include "gojet.cuh"

typedef unsigned long long u64;

// A barrier in shared memory: threads arrive, copies bring bytes; when all of a phase came, the phase's parity flips.
struct alignas(8) Barrier { u64 word; };

// swizzle128 is the byte offset in a box of the 16-byte piece `piece` (8 bf16) of row `row`.
GOJET_FN int swizzle128(int row, int piece) { return row * 128 + ((piece ^ (row & 7)) << 4); }

#ifdef GOJET_EMULATE
#include "hopper_emulate.h"
#else

// ---- barriers ----

// barrier_init sets how many arrivals end a phase. One thread calls it, then fence_barriers() and a block barrier follow.
GOJET_FN void barrier_init(Barrier* b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}
GOJET_FN void fence_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

GOJET_FN void barrier_arrive(Barrier* b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// barrier_expect arrives and adds bytes that copies will bring in this phase.
GOJET_FN void barrier_expect(Barrier* b, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
// barrier_arrive_at arrives at the same barrier of block `rank` of the cluster.
GOJET_FN void barrier_arrive_at(Barrier* b, int rank) {
    asm volatile("{\n.reg .b32 at;\nmapa.shared::cluster.u32 at, %0, %1;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [at];\n}\n" ::"r"(
                     shared_address(b)),
                 "r"(rank)
                 : "memory");
}
GOJET_FN bool barrier_test(Barrier* b, int parity) {
    unsigned done;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
                 : "=r"(done)
                 : "r"(shared_address(b)), "r"(parity)
                 : "memory");
    return done;
}
// barrier_wait waits until the phase of that parity (0 for the first) is over. It is a bare loop: anything more, a trap after many
// turns or a first look before it, makes ptxas give up on products that run beside other work.
GOJET_FN void barrier_wait(Barrier* b, int parity) {
    while (!barrier_test(b, parity)) {
    }
}

// fence_async makes this thread's ordinary writes to shared memory visible to products and copies.
GOJET_FN void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// elect picks one lane of a converged warp.
GOJET_FN bool elect() {
    unsigned p;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}\n" : "=r"(p)::"memory");
    return p;
}

// ---- copies: called by one thread ----

GOJET_FN void tma_prefetch(const TensorMap* m) { asm volatile("prefetch.tensormap [%0];" ::"l"(m) : "memory"); }

// tma_load copies the box at column x and row y (and plane z) to shared memory; elements outside the matrix become zero.
// The barrier must expect the whole box's bytes.
GOJET_FN void tma_load(void* to, const TensorMap* m, int x, int y, Barrier* b) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                 "l"(m), "r"(x), "r"(y), "r"(shared_address(b))
                 : "memory");
}
GOJET_FN void tma_load(void* to, const TensorMap* m, int x, int y, int z, Barrier* b) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(to)),
                 "l"(m), "r"(x), "r"(y), "r"(z), "r"(shared_address(b))
                 : "memory");
}
// tma_load_all copies the box to the same place of every block of the cluster whose bit is set, and to its barrier there.
GOJET_FN void tma_load_all(void* to, const TensorMap* m, int x, int y, Barrier* b, unsigned short blocks) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
            shared_address(to)),
        "l"(m), "r"(x), "r"(y), "r"(shared_address(b)), "h"(blocks)
        : "memory");
}
// tma_store copies a box from shared memory; what lies outside the matrix is dropped. bulk_commit and bulk_wait follow.
GOJET_FN void tma_store(const TensorMap* m, int x, int y, const void* from) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(m), "r"(x), "r"(y), "r"(shared_address(from))
                 : "memory");
}
// bulk_load and bulk_store copy bytes, a multiple of 16 from and to addresses that are multiples of 16.
GOJET_FN void bulk_load(void* to, const void* from, int bytes, Barrier* b) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes),
                 "r"(shared_address(b))
                 : "memory");
}
GOJET_FN void bulk_store(void* to, const void* from, int bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(bytes) : "memory");
}
// bulk_commit closes a group of this thread's stores; bulk_wait<n> waits until the shared memory of all but the last n
// groups may be written again, bulk_done until they are in device memory.
GOJET_FN void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int last> GOJET_FN void bulk_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(last) : "memory"); }
template <int last> GOJET_FN void bulk_done() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(last) : "memory"); }

// ---- registers: called by all warps of a warpgroup; N a multiple of 8 from 24 to 256; needs __launch_bounds__(threads, 1) ----

template <int count> GOJET_FN void registers_up() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count)); }
template <int count> GOJET_FN void registers_down() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count)); }

// ---- clusters ----

GOJET_FN int cluster_rank() {
    int r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
GOJET_FN int cluster_size() {
    int n;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
    return n;
}
// sync_cluster is a barrier of all threads of the cluster; writes before it are seen after it.
GOJET_FN void sync_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// cluster_at is the place of p in block `rank` of the cluster, for ordinary loads and stores.
template <class any> GOJET_FN any* cluster_at(any* p, int rank) {
    u64 out;
    asm volatile("mapa.u64 %0, %1, %2;" : "=l"(out) : "l"((u64)p), "r"(rank));
    return (any*)out;
}

// ---- products of a warpgroup ----

GOJET_FN void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GOJET_FN void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// hold keeps the compiler from moving uses of d across this point: between products it may not touch d.
template <int count> GOJET_FN void hold(float (&d)[count]) {
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int count> GOJET_FN void hold(unsigned (&a)[count]) {
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+r"(a[i])::"memory");
}
template <int last> GOJET_FN void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(last) : "memory"); }
template <int last, int count> GOJET_FN void wgmma_wait(float (&d)[count]) {
    wgmma_wait<last>();
    hold(d);
}

// Wgmma<N>::ss<TransA, TransB>(d, a, b, add): d = a·b + (add ? d : 0), m64nNk16, operands in shared memory.
// Wgmma<N>::rs<TransB>(d, a, b, add): A from registers.
template <int columns> struct Wgmma;

#define GOJET_WGMMA(N, A, B, C, E, F, G, H, OUT, REGS) \
    template <> struct Wgmma<N> { \
        template <int TransA, int TransB> static GOJET_FN void ss(float (&d)[N / 2], u64 a, u64 b, int add) { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #C ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N \
                         "k16.f32.bf16.bf16 {" REGS "}, %" #A ", %" #B ", p, 1, 1, %" #E ", %" #F ";\n}\n" \
                         : OUT \
                         : "l"(a), "l"(b), "r"(add), "n"(TransA), "n"(TransB)); \
        } \
        template <int TransB> static GOJET_FN void rs(float (&d)[N / 2], const unsigned (&a)[4], u64 b, int add) { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #G ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N \
                         "k16.f32.bf16.bf16 {" REGS "}, {%" #A ", %" #B ", %" #C ", %" #E "}, %" #F ", p, 1, 1, %" #H ";\n}\n" \
                         : OUT \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TransB)); \
        } \
    };

#define GOJET_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define GOJET_D8(i) GOJET_D4(i), GOJET_D4(i + 4)
#define GOJET_D16(i) GOJET_D8(i), GOJET_D8(i + 8)
#define GOJET_D32(i) GOJET_D16(i), GOJET_D16(i + 16)
#define GOJET_D64(i) GOJET_D32(i), GOJET_D32(i + 32)
#define GOJET_OUT8 GOJET_D4(0)
#define GOJET_OUT16 GOJET_D8(0)
#define GOJET_OUT32 GOJET_D16(0)
#define GOJET_OUT48 GOJET_D16(0), GOJET_D8(16)
#define GOJET_OUT64 GOJET_D32(0)
#define GOJET_OUT80 GOJET_D32(0), GOJET_D8(32)
#define GOJET_OUT96 GOJET_D32(0), GOJET_D16(32)
#define GOJET_OUT128 GOJET_D64(0)
#define GOJET_OUT160 GOJET_D64(0), GOJET_D16(64)
#define GOJET_OUT176 GOJET_D64(0), GOJET_D16(64), GOJET_D8(80)
#define GOJET_OUT192 GOJET_D64(0), GOJET_D32(64)
#define GOJET_OUT256 GOJET_D64(0), GOJET_D64(64)
GOJET_WGMMA(8, 4, 5, 6, 7, 8, 9, 10, GOJET_OUT8,
            "%0, %1, %2, %3")
GOJET_WGMMA(16, 8, 9, 10, 11, 12, 13, 14, GOJET_OUT16,
            "%0, %1, %2, %3, %4, %5, %6, %7")
GOJET_WGMMA(32, 16, 17, 18, 19, 20, 21, 22, GOJET_OUT32,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15")
GOJET_WGMMA(48, 24, 25, 26, 27, 28, 29, 30, GOJET_OUT48,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23")
GOJET_WGMMA(64, 32, 33, 34, 35, 36, 37, 38, GOJET_OUT64,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31")
GOJET_WGMMA(80, 40, 41, 42, 43, 44, 45, 46, GOJET_OUT80,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39")
GOJET_WGMMA(96, 48, 49, 50, 51, 52, 53, 54, GOJET_OUT96,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47")
GOJET_WGMMA(128, 64, 65, 66, 67, 68, 69, 70, GOJET_OUT128,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "
            "%56, %57, %58, %59, %60, %61, %62, %63")
GOJET_WGMMA(160, 80, 81, 82, 83, 84, 85, 86, GOJET_OUT160,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "
            "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79")
GOJET_WGMMA(176, 88, 89, 90, 91, 92, 93, 94, GOJET_OUT176,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "
            "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, "
            "%83, %84, %85, %86, %87")
GOJET_WGMMA(192, 96, 97, 98, 99, 100, 101, 102, GOJET_OUT192,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "
            "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, "
            "%83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95")
GOJET_WGMMA(256, 128, 129, 130, 131, 132, 133, 134, GOJET_OUT256,
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
            "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "
            "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, "
            "%83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, "
            "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127")

#undef GOJET_WGMMA
#endif

// along_row and down_rows describe an operand that begins at p, a place in a box (see Layouts), to a product. Steps within a box
// add their bytes / 16 to the descriptor.
GOJET_FN u64 along_row(const void* p) { return (u64)(shared_address(p) & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62; }
GOJET_FN u64 down_rows(const void* p, int boxes) {
    return (u64)(shared_address(p) & 0x3ffff) >> 4 | (u64)(boxes >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

