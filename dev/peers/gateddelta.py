"""Times the gated delta rule in PyTorch on the CPU, for comparison with kernels/gateddelta.

    python dev/peers/gateddelta.py [--threads 2] [--rounds 20]

The chunked algorithm (https://arxiv.org/abs/2412.06464, https://arxiv.org/abs/2406.06484) in tensor operations,
float32: everything within chunks is batched over all chunks and heads, and a loop over the chunks carries the
state. The gradient is autograd's. Shapes, normalisation and gates are those of the Go benchmark. Prints the
median in milliseconds.
"""

import argparse
import statistics
import time

import torch

EPS = 1e-6


def normalised(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + EPS)


def recurrent(q, k, v, g, beta, state):
    """The definition, token by token; q, k [H, T, K], v [H, T, V], g, beta [H, T], state [H, K, V]."""
    q, k = normalised(q) * q.shape[-1] ** -0.5, normalised(k)
    outputs = []
    for t in range(q.shape[1]):
        state = state * g[:, t, None, None].exp()
        u = beta[:, t, None] * (v[:, t] - torch.einsum("hkv,hk->hv", state, k[:, t]))
        state = state + k[:, t, :, None] * u[:, None, :]
        outputs.append(torch.einsum("hkv,hk->hv", state, q[:, t]))
    return torch.stack(outputs, 1), state


def chunked(q, k, v, g, beta, state, size=64):
    """The same by matrix products; T is a multiple of size."""
    heads, tokens, key_dim = q.shape
    chunks = tokens // size
    q, k = normalised(q) * key_dim**-0.5, normalised(k)
    q, k, v = (x.reshape(heads, chunks, size, -1) for x in (q, k, v))
    beta = beta.reshape(heads, chunks, size, 1)
    b = g.reshape(heads, chunks, size).cumsum(-1)
    below = torch.ones(size, size).tril().bool()
    decay = (b[..., :, None] - b[..., None, :]).masked_fill(~below, float("-inf")).exp()
    fall, rest, whole = b[..., None].exp(), (b[..., -1:] - b)[..., None].exp(), b[..., -1].exp()

    p = (q @ k.mT) * decay
    a = (beta * (k @ k.mT) * decay).tril(-1)
    solved = torch.linalg.solve_triangular(
        a, torch.cat([beta * v, beta * fall * k], -1), upper=False, unitriangular=True
    )
    u, w = solved.split([v.shape[-1], key_dim], -1)
    queries, kept = fall * q, (rest * k).mT

    outputs = []
    for i in range(chunks):
        x = u[:, i] - w[:, i] @ state
        outputs.append(torch.baddbmm(p[:, i] @ x, queries[:, i], state))
        state = torch.baddbmm(whole[:, i, None, None] * state, kept[:, i], x)
    return torch.stack(outputs, 1).reshape(heads, tokens, -1), state


def step(q, k, v, g, beta, state):
    """One token for each of B sequences; q, k [B, H, K], v [B, H, V], state [B, H, K, V], advanced in place."""
    q, k = normalised(q) * q.shape[-1] ** -0.5, normalised(k)
    state *= g[..., None, None].exp()
    u = beta[..., None] * (v - (k[..., None, :] @ state)[..., 0, :])
    state += k[..., :, None] * u[..., None, :]
    return (q[..., None, :] @ state)[..., 0, :]


def draw(lead, key_dim, value_dim):
    return [
        torch.randn(*lead, key_dim),
        torch.randn(*lead, key_dim),
        torch.randn(*lead, value_dim),
        -0.1 * torch.rand(*lead),
        torch.rand(*lead),
    ]


def median_ms(rounds, work):
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def agree():
    inputs, state = draw((2, 192), 24, 40), torch.randn(2, 24, 40)
    for got, want in zip(chunked(*inputs, state), recurrent(*inputs, state)):
        error = ((got - want).norm() / want.norm()).item()
        assert error < 1e-5, f"chunked differs from the definition by {error:.2g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    agree()
    print(f"PyTorch {torch.__version__}, {args.threads} threads, median of {args.rounds}, ms")

    for heads, key_dim, value_dim, tokens in ((4, 64, 128, 1024), (12, 96, 256, 1024)):
        inputs = draw((heads, tokens), key_dim, value_dim)
        state, do = torch.zeros(heads, key_dim, value_dim), torch.randn(heads, tokens, value_dim)

        def forward():
            with torch.no_grad():
                chunked(*inputs, state)

        def both():
            leaves = [x.detach().requires_grad_() for x in inputs]
            torch.autograd.grad(chunked(*leaves, state)[0], leaves, do)

        name = f"H{heads}K{key_dim}V{value_dim}T{tokens}"
        print(f"{name}/forward {median_ms(args.rounds, forward):.2f}")
        print(f"{name}/both {median_ms(args.rounds, both):.2f}")

    inputs, state = draw((16, 12), 96, 256), torch.randn(16, 12, 96, 256)
    with torch.no_grad():
        print(f"H12K96V256B16decode/forward {median_ms(args.rounds, lambda: step(*inputs, state)):.2f}")


if __name__ == "__main__":
    main()
