// The emulator's side of hopper.cuh: see emulate.h. Descriptors hold addresses within the dynamic shared memory, whose
// swizzle is undone bit by bit as the machine does. Products read their operands when they are issued or when they are
// waited for, whichever chance says, and write their result when they are waited for; registers that change in between
// are reported. A cluster is one block.
#pragma once

namespace gojet_emulate {

// ---- barriers ----

// Phase is what the eight bytes of a barrier mean here.
struct Phase {
    int bytes;  // still to come
    unsigned short expected, pending : 15, parity : 1;
};
static_assert(sizeof(Phase) == 8, "a barrier has 8 bytes");

inline Phase* phase_of(::Barrier* b) {
    aligned(b, 8);
    return (Phase*)b;
}
inline void phase_turn(Phase* p) {
    if (p->pending || p->bytes) return;
    p->pending = p->expected;
    p->parity ^= 1;
}
inline void phase_arrive(::Barrier* b, int bytes) {
    Phase* p = phase_of(b);
    if (p->expected == 0 || p->expected > 1024) fail("arrives at a barrier that was never initialised");
    if (p->pending == 0) fail("arrives once too often at a barrier of %d arrivals", p->expected);
    p->bytes += bytes;
    p->pending--;
    phase_turn(p);
}

// ---- the copy engine ----

inline int box_bytes(const EmulatedMap* m) { return m->box[0] * m->box[1] * m->box[2] * (int)m->stride[0]; }

// swizzled exchanges 16-byte pieces within rows of 32, 64 or 128 bytes by the bits above.
inline size_t swizzled(size_t address, int bytes) { return bytes ? address ^ ((address >> 7 & (bytes / 16 - 1)) << 4) : address; }

inline void move_box(const EmulatedMap* m, size_t at, int x, int y, int z, bool load) {
    const int size = (int)m->stride[0];
    for (int c = z; c < z + m->box[2]; c++)
        for (int r = y; r < y + m->box[1]; r++)
            for (int i = x; i < x + m->box[0]; i++, at += size) {
                bool in = i >= 0 && i < m->dims[0] && r >= 0 && r < m->dims[1] && c >= 0 && c < m->dims[2];
                char* far = m->base + c * m->stride[2] + r * m->stride[1] + i * m->stride[0];
                char* near = the.dynamic + swizzled(at, m->swizzle);
                if (!load && in)
                    memcpy(far, near, size);
                else if (load && in)
                    memcpy(near, far, size);
                else if (load)
                    memset(near, 0, size);
            }
}

inline int stores[maxThreads];  // of each thread, under way

// ---- products ----

struct Work {
    Work* next;
    float* d[128];
    unsigned a[128][4], hash[128];
    gojet_u64 A, B;
    int columns, transA, transB, add, group;
    bool registers, first, read;
    float x[64][16], y[256][16];  // the operands, once read; y by columns
};
struct Queue {
    Work *head, **tail;
    int group;
    uint3 block;
};
inline Queue queues[8];

// element is where element (k of the contraction, i of M or N) of an operand lies.
inline float element(gojet_u64 code, int trans, int k, int i) {
    size_t at = (code & 0x3fff) << 4, leading = (code >> 16 & 0x3fff) << 4, stride = (code >> 32 & 0x3fff) << 4;
    if (code >> 62 != 1) fail("an operand's descriptor does not say swizzle 128");
    if (trans)
        at += i / 64 * leading + k / 8 * stride + k % 8 * 128 + i % 64 * 2;
    else
        at += i / 8 * stride + i % 8 * 128 + k * 2;
    return widen_bf16(*(unsigned short*)(the.dynamic + swizzled(at, 128)));
}

inline void read_operands(Work* w) {
    for (int k = 0; k < 16; k++) {
        for (int i = 0; i < w->columns; i++) w->y[i][k] = element(w->B, w->transB, k, i);
        for (int i = 0; i < 64 && !w->registers; i++) w->x[i][k] = element(w->A, w->transA, k, i);
    }
    for (int t = 0; t < 128 && w->registers; t++)
        for (int r = 0; r < 4; r++)
            for (int h = 0; h < 2; h++)
                w->x[t / 32 * 16 + t % 32 / 4 + 8 * (r & 1)][2 * (t & 3) + h + 8 * (r >> 1)] = widen_bf16(w->a[t][r] >> 16 * h & 0xffff);
    w->read = true;
}

inline unsigned hash_of(const float* d, int count) {
    unsigned h = 1;
    for (int i = 0; i < count; i++) h = h * 16777619u + __float_as_uint(d[i]);
    return h;
}

inline void finish(Work* w) {
    if (!w->read) read_operands(w);
    for (int t = 0; t < 128; t++) {
        float* d = w->d[t];
        if (w->first && hash_of(d, w->columns / 2) != w->hash[t]) fail("registers of thread %d changed while a product was under way", t);
        for (int j = 0; j < w->columns / 8; j++)
            for (int r = 0; r < 4; r++) {
                const float *x = w->x[t / 32 * 16 + t % 32 / 4 + 8 * (r >> 1)], *y = w->y[8 * j + 2 * (t & 3) + (r & 1)];
                float sum = 0;
                for (int k = 0; k < 16; k++) sum += x[k] * y[k];
                d[4 * j + r] = (w->add ? d[4 * j + r] : 0) + sum;
            }
    }
}

struct Issue {
    float* d;
    unsigned a[4];
    gojet_u64 A, B;
    int columns, transA, transB, add, registers;
};

inline Queue* my_queue() {
    Queue* q = &queues[the.current->id / 128];
    if (!q->tail || memcmp(&q->block, &blockIdx, sizeof blockIdx)) {  // leftovers of a block that failed
        while (Work* w = q->head) q->head = w->next, free(w);
        q->tail = &q->head;
        q->block = blockIdx;
    }
    return q;
}

inline void issue(Issue x) {
    collect(128, "wgmma", &x, [](Issue** l) {
        Queue* q = my_queue();
        Work* w = (Work*)malloc(sizeof(Work));
        Issue* i = l[0];
        *w = Work{};
        w->A = i->A, w->B = i->B, w->columns = i->columns, w->transA = i->transA, w->transB = i->transB, w->add = i->add;
        w->registers = i->registers, w->group = q->group;
        w->first = true;
        for (Work* p = q->head; p; p = p->next)
            if (p->d[0] == i->d) w->first = false;
        for (int t = 0; t < 128; t++) {
            if (l[t]->A != i->A || l[t]->B != i->B || l[t]->add != i->add) fail("threads of a warpgroup issue different products");
            w->d[t] = l[t]->d;
            memcpy(w->a[t], l[t]->a, 16);
            if (!w->add) memset(l[t]->d, 0xff, w->columns * 2);
            w->hash[t] = hash_of(w->d[t], w->columns / 2);
        }
        if (draw(2)) read_operands(w);
        *q->tail = w;
        q->tail = &w->next;
    });
}

inline void complete(int last) {
    int n = last;
    collect(128, "wgmma_wait", &n, [](int** l) {
        Queue* q = my_queue();
        while (q->head && q->head->group < q->group - *l[0]) {
            Work* w = q->head;
            finish(w);
            q->head = w->next;
            if (!q->head) q->tail = &q->head;
            free(w);
        }
    });
}

}  // namespace gojet_emulate

inline unsigned shared_address(const void* p) { return (unsigned)((const char*)p - gojet_emulate::the.dynamic); }

inline void barrier_init(Barrier* b, int arrivals) {
    *gojet_emulate::phase_of(b) = gojet_emulate::Phase{0, (unsigned short)arrivals, (unsigned short)arrivals, 0};
}
inline void fence_barriers() {}
inline void barrier_arrive(Barrier* b) { gojet_emulate::phase_arrive(b, 0); }
inline void barrier_expect(Barrier* b, int bytes) { gojet_emulate::phase_arrive(b, bytes); }
inline void barrier_arrive_at(Barrier* b, int) { gojet_emulate::phase_arrive(b, 0); }
inline bool barrier_test(Barrier* b, int parity) { return gojet_emulate::phase_of(b)->parity != (parity & 1); }
inline void barrier_wait(Barrier* b, int parity) {
    gojet_emulate::wait_until("barrier_wait", [=] { return barrier_test(b, parity); });
}
inline void fence_async() {}
inline bool elect() { return sync_warp(), lane_id() == 0; }

inline void tma_prefetch(const TensorMap*) {}
inline void tma_load(void* to, const TensorMap* m, int x, int y, int z, Barrier* b) {
    using namespace gojet_emulate;
    EmulatedMap code = *(const EmulatedMap*)m;
    aligned(to, code.swizzle ? 8 * code.swizzle : 128);
    memset(to, 0xff, box_bytes(&code));
    later([=] {
        move_box(&code, (char*)to - the.dynamic, x, y, z, true);
        phase_of(b)->bytes -= box_bytes(&code);
        phase_turn(phase_of(b));
    });
}
inline void tma_load(void* to, const TensorMap* m, int x, int y, Barrier* b) { tma_load(to, m, x, y, 0, b); }
inline void tma_load_all(void* to, const TensorMap* m, int x, int y, Barrier* b, unsigned short) { tma_load(to, m, x, y, 0, b); }
inline void tma_store(const TensorMap* m, int x, int y, const void* from) {
    using namespace gojet_emulate;
    EmulatedMap code = *(const EmulatedMap*)m;
    int self = the.current->id;
    stores[self]++;
    later([=] {
        move_box(&code, (char*)from - the.dynamic, x, y, 0, false);
        stores[self]--;
    });
}
inline void bulk_load(void* to, const void* from, int bytes, Barrier* b) {
    using namespace gojet_emulate;
    aligned(to, 16), aligned(from, 16), aligned((void*)(size_t)bytes, 16);
    memset(to, 0xff, bytes);
    later([=] {
        memcpy(to, from, bytes);
        phase_of(b)->bytes -= bytes;
        phase_turn(phase_of(b));
    });
}
inline void bulk_store(void* to, const void* from, int bytes) {
    using namespace gojet_emulate;
    aligned(to, 16), aligned(from, 16), aligned((void*)(size_t)bytes, 16);
    int self = the.current->id;
    stores[self]++;
    later([=] {
        memcpy(to, from, bytes);
        stores[self]--;
    });
}
inline void bulk_commit() {}
template <int last> inline void bulk_wait() {
    int self = gojet_emulate::the.current->id;
    gojet_emulate::wait_until("bulk_wait", [=] { return gojet_emulate::stores[self] == 0; });
}
template <int last> inline void bulk_done() { bulk_wait<last>(); }

template <int count> inline void registers_up() {}
template <int count> inline void registers_down() {}

inline int cluster_rank() { return 0; }
inline int cluster_size() { return 1; }
inline void sync_cluster() { __syncthreads(); }
template <class any> inline any* cluster_at(any* p, int) { return p; }

inline void wgmma_fence() {}
inline void wgmma_commit() {
    int none = 0;
    gojet_emulate::collect(128, "wgmma_commit", &none, [](int**) { gojet_emulate::my_queue()->group++; });
}
template <int count> inline void hold(float (&)[count]) {}
template <int count> inline void hold(unsigned (&)[count]) {}
template <int last> inline void wgmma_wait() { gojet_emulate::complete(last); }
template <int last, int count> inline void wgmma_wait(float (&)[count]) { gojet_emulate::complete(last); }

template <int columns> struct Wgmma {
    template <int transA, int transB> static void ss(float (&d)[columns / 2], u64 a, u64 b, int add) {
        gojet_emulate::issue({d, {}, a, b, columns, transA, transB, add, 0});
    }
    template <int transB> static void rs(float (&d)[columns / 2], const unsigned (&a)[4], u64 b, int add) {
        gojet_emulate::issue({d, {a[0], a[1], a[2], a[3]}, 0, b, columns, 0, transB, add, 1});
    }
};
