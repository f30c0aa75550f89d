// What the kernels share that take states over chunks. Columns of the value dim do not meet: each warp has WIDE of them, with the
// state transposed, [v, k], in registers as accumulators of products, which are also left operands of the next ones: the
// accumulators of columns 16i to 16i+15 are d[8i] to d[8i+7] of a float d[].

#ifndef WARPS
#define WARPS 4
#endif
#ifndef STAGES
#define STAGES 2
#endif
constexpr int THREADS = WARPS * 32;
constexpr int WIDE = 16;             // columns of the value dim of a warp
constexpr int BLOCK = WARPS * WIDE;  // of a block
constexpr int VPITCH = BLOCK + 8;

// Lane is where a warp and a lane are: the first column of the warp in the block and in [V], and the rows and columns of
// accumulators.
struct Lane {
  int mine, column, row, pair;
  GOJET_FN Lane(int block) : mine(warp_id() * WIDE), column(block * BLOCK + mine), row(lane_id() / 4), pair(lane_id() % 4 * 2) {}
};

// load_state and store_state move the state of a head from and to a buffer [K, WIDTH].
GOJET_FN void load_state(float (&s)[KP / 2], const float* h, const Lane& at) {
#pragma unroll
  for (int i = 0; i < KP / 2; i++) {
    int v = at.column + at.row + i % 4 / 2 * 8, k = i / 4 * 8 + at.pair + i % 2;
    s[i] = h && v < VALUE && k < KEY ? h[(size_t)k * VALUE + v] : 0.f;
  }
}
template <int WIDTH = VALUE> GOJET_FN void store_state(float* h, const float (&s)[KP / 2], const Lane& at) {
#pragma unroll
  for (int i = 0; i < KP / 2; i++) {
    int v = at.column + at.row + i % 4 / 2 * 8, k = i / 4 * 8 + at.pair + i % 2;
    if (v < WIDTH && k < KEY) h[(size_t)k * WIDTH + v] = s[i];
  }
}

// keep writes a left operand, 16 columns of the value dim by 16 of another, to where its first core is kept; cores of the
// next 8 columns of the value dim are `down` elements on.
GOJET_FN void keep(bf16* to, const unsigned* a, int down, const Lane& at) {
  to += at.row * 8 + at.pair;
  *(unsigned*)to = a[0];
  *(unsigned*)(to + down) = a[1];
  *(unsigned*)(to + 64) = a[2];
  *(unsigned*)(to + down + 64) = a[3];
}

// correct makes X of y = S'k, in place and as left operands. v is the tile [64, BLOCK].
GOJET_FN void correct(float (&y)[32], unsigned (&x)[4][4], const bf16* v, const float4* coefs, const Lane& at) {
#pragma unroll
  for (int I = 0; I < 4; I++) {
    unsigned vs[4];
    a_cols(vs, v + I * 16 * VPITCH + at.mine, VPITCH);
#pragma unroll
    for (int c = 0; c < 2; c++) {
      float4 c0 = coefs[I * 16 + c * 8 + at.pair], c1 = coefs[I * 16 + c * 8 + at.pair + 1];
      float* z = y + 8 * I + 4 * c;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float2 value = unpack2(vs[2 * c + r]);
        z[2 * r] = c0.w * value.x - c0.x * z[2 * r];
        z[2 * r + 1] = c1.w * value.y - c1.x * z[2 * r + 1];
      }
    }
    pack_a(x[I], y + 8 * I, y + 8 * I + 4);
  }
}

// share makes left operands of U: plain, and as the state sees it.
GOJET_FN void share(const float (&u)[32], unsigned (&plain)[4][4], unsigned (&kept)[4][4], const float4* coefs, const Lane& at) {
#pragma unroll
  for (int I = 0; I < 4; I++) {
    pack_a(plain[I], u + 8 * I, u + 8 * I + 4);
#pragma unroll
    for (int c = 0; c < 2; c++) {
      float z0 = coefs[I * 16 + c * 8 + at.pair].z, z1 = coefs[I * 16 + c * 8 + at.pair + 1].z;
      const float* w = u + 8 * I + 4 * c;
      kept[I][2 * c] = pack2(w[0] * z0, w[1] * z1);
      kept[I][2 * c + 1] = pack2(w[2] * z0, w[3] * z1);
    }
  }
}

// weigh multiplies left operands [v, t] by one of the coefficients of every token.
template <float float4::*COEF> GOJET_FN void weigh(unsigned (&to)[4][4], const unsigned (&x)[4][4], const float4* coefs, const Lane& at) {
#pragma unroll
  for (int n = 0; n < 8; n++) {
    float c0 = coefs[n * 8 + at.pair].*COEF, c1 = coefs[n * 8 + at.pair + 1].*COEF;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float2 y = unpack2(x[n / 2][n % 2 * 2 + r]);
      to[n / 2][n % 2 * 2 + r] = pack2(y.x * c0, y.y * c1);
    }
  }
}

// seen makes left operands of U where it is v, the tile [64, BLOCK]: plain, and as the state sees it.
GOJET_FN void seen(unsigned (&plain)[4][4], unsigned (&kept)[4][4], const bf16* v, const float4* coefs, const Lane& at) {
#pragma unroll
  for (int I = 0; I < 4; I++) a_cols(plain[I], v + I * 16 * VPITCH + at.mine, VPITCH);
  weigh<&float4::z>(kept, plain, coefs, at);
}

// decay_output scales S'q to its share of the output.
GOJET_FN void decay_output(float (&out)[32], const float4* coefs, const Lane& at) {
#pragma unroll
  for (int n = 0; n < 8; n++) {
    float y0 = coefs[n * 8 + at.pair].y, y1 = coefs[n * 8 + at.pair + 1].y;
    out[4 * n] *= y0;
    out[4 * n + 1] *= y1;
    out[4 * n + 2] *= y0;
    out[4 * n + 3] *= y1;
  }
}

// put_output writes the warp's columns of O, through its columns of the tile of v. o is the row of the chunk's first token.
GOJET_FN void put_output(bf16* o, bf16* v, const float (&out)[32], int count, const Lane& at) {
  int lane = lane_id();
  sync_warp();
#pragma unroll
  for (int I = 0; I < 4; I++) {
    unsigned r[4];
    pack_a(r, out + 8 * I, out + 8 * I + 4);
    stmatrix_x4_trans(v + (I * 16 + (lane & 7) + (lane >> 4) * 8) * VPITCH + at.mine + (lane >> 3 & 1) * 8, r);
  }
  sync_warp();
  if constexpr (VALUE % 8 == 0) {
#pragma unroll
    for (int i = lane; i < CHUNK * 2; i += 32) {
      int t = i / 2, c = i % 2 * 8;
      if (t < count && at.column + c < VALUE) storev_once(o + (size_t)t * (HEADS * VALUE) + at.column + c, loadv<8>(v + t * VPITCH + at.mine + c));
    }
  } else {
    for (int i = lane; i < CHUNK * WIDE; i += 32) {
      int t = i / WIDE, c = i % WIDE;
      if (t < count && at.column + c < VALUE) o[(size_t)t * (HEADS * VALUE) + at.column + c] = v[t * VPITCH + at.mine + c];
    }
  }
}
