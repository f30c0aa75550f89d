// silu(gate)·up and its gradients. Elements are of type ELEMENT; a thread takes COUNT packs of PACK neighbours, packs of
// neighbouring threads lying side by side.
#include "rows.cuh"

typedef ELEMENT T;
constexpr int THREADS = 256;
constexpr int COUNT = 2;
typedef Pack<T, PACK> Piece;

// place is where pack u of this thread begins.
GOJET_FN long long place(int u) { return (((long long)blockIdx.x * COUNT + u) * THREADS + threadIdx.x) * PACK; }

// forward sets y [n]; it may be one of the inputs.
extern "C" __global__ void __launch_bounds__(THREADS) forward(T* y, const T* gate, const T* up, long long n) {
  Piece a[COUNT], b[COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    a[u].read(gate + place(u));
    b[u].read(up + place(u));
  }
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
#pragma unroll
    for (int j = 0; j < PACK; j++) a[u].set(j, silu(a[u][j]) * b[u][j]);
    a[u].write(y + place(u));
  }
}

// backward sets dgate and dup [n], and y as forward does, where they are not null; they may be inputs. Without dgate and y, up
// is not read.
extern "C" __global__ void __launch_bounds__(THREADS) backward(T* dgate, T* dup, T* y, const T* dy, const T* gate, const T* up, long long n) {
  Piece a[COUNT], b[COUNT], g[COUNT];
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    a[u].read(gate + place(u));
    g[u].read(dy + place(u));
    if (dgate || y) b[u].read(up + place(u));
  }
#pragma unroll
  for (int u = 0; u < COUNT; u++) {
    if (place(u) >= n) continue;
    Piece w;
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      const float x = a[u][j], s = sigmoid(x), d = g[u][j], v = b[u][j];
      w.set(j, x * s * v);
      b[u].set(j, d * v * s * (1 + x * (1 - s)));
      a[u].set(j, d * x * s);
    }
    if (y) w.write(y + place(u));
    if (dgate) b[u].write(dgate + place(u));
    if (dup) a[u].write(dup + place(u));
  }
}
