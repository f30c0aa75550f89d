// Sums in device memory to which blocks add in a fixed order, by the bulk copy engine: each waits for its turn, adds, and
// passes the turn on. A block may only wait for blocks that surely run or have run: give out work by a ticket, earlier
// turns to earlier tickets.
#pragma once
#include "hopper.cuh"

#ifdef GOJET_EMULATE

inline void bulk_add(float* to, const float* from, int bytes) {
    using namespace gojet_emulate;
    aligned(to, 16), aligned(from, 16), aligned((void*)(size_t)bytes, 16);
    int self = the.current->id;
    stores[self]++;
    later([=] {
        for (int i = 0; i < bytes / 4; i++) to[i] += from[i];
        stores[self]--;
    });
}
inline void turn_wait(const int* turn, int mine) {
    gojet_emulate::wait_until("turn_wait", [=] { return *turn == mine; });
}
inline void turn_pass(int* turn, int next) { *turn = next; }

#else

// bulk_add adds floats of shared memory to as many in device memory, bytes a multiple of 16, as bulk_store copies them.
GOJET_FN void bulk_add(float* to, const float* from, int bytes) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(bytes) : "memory");
}

// turn_wait waits until it is turn `mine` (from 0); what others wrote before passing it is then seen by this thread and by
// the copies that it starts. A wait that never ends becomes an error of the launch.
GOJET_FN void turn_wait(const int* turn, int mine) {
    for (unsigned i = 0;; i++) {
        int now;
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
        if (now == mine) break;
        if (i > 1u << 25) asm volatile("trap;");
    }
    asm volatile("fence.proxy.async;" ::: "memory");
}
// turn_pass gives the turn to `next`, after bulk_done.
GOJET_FN void turn_pass(int* turn, int next) {
    asm volatile("fence.proxy.async;\nst.release.gpu.global.s32 [%0], %1;" ::"l"(turn), "r"(next) : "memory");
}

#endif
