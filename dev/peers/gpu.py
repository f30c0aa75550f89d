"""Times what PyTorch and flash-linear-attention do on a GPU, for comparison with `gojet bench kernels`.

    python dev/peers/gpu.py [--filter TEXT]

Needs torch; flash-linear-attention and fla-core 0.5.2 for the rows of the gated delta rule and the fused losses. Each
row is a line of JSON with the name that gojet bench gives it; shapes, inputs and the way of measuring are the same: GPU
events, the caches emptied before each run, median, 10th and 90th percentile of 20 runs after 5 that warm up.

flash-linear-attention refuses the gated backward on Hopper with Triton 3.4 to 3.7.0, which compiles it wrongly
(https://github.com/fla-org/flash-linear-attention/issues/640). The check is switched off here: its times count, its
gradients do not.
"""

import argparse
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

WARM, RUNS = 5, 20
BATCH, TOKENS = 4, 4096
HIDDEN, VOCAB = 1536, 151936


def normal(*shape, dtype=torch.bfloat16, std=1.0, grad=False):
    return (torch.randn(*shape, device="cuda", dtype=torch.float32) * std).to(dtype).requires_grad_(grad)


def measure(run):
    """Milliseconds of each of RUNS runs."""
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    events = []
    for i in range(WARM + RUNS):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        events.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in events[WARM:]]


def backward(function, inputs, weight=None):
    """A run of function and its gradients with respect to inputs."""
    inputs = [x for x in inputs if x.requires_grad]
    return lambda: torch.autograd.grad(function(), inputs, weight)


# ---- ceilings ----


def product(m, n, k):
    a, b = normal(m, k), normal(n, k)
    return {"run": lambda: a @ b.T, "flops": 2 * m * n * k}


def copy():
    a = normal(1 << 29)
    b = torch.empty_like(a)
    return {"run": lambda: b.copy_(a), "bytes": 2 * a.nbytes}


# ---- attention: 12 heads of queries, 2 of keys and values, 128 wide ----


def attention(backend, gradients):
    def heads(h):
        return normal(BATCH, h, TOKENS, 128, grad=gradients)

    q, k, v, dy = heads(12), heads(2), heads(2), normal(BATCH, 12, TOKENS, 128)

    def forward():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    flops = 4 * BATCH * 12 * TOKENS * TOKENS * 128 / 2
    if not gradients:
        return {"run": forward, "flops": flops}
    return {"run": backward(forward, [q, k, v], dy), "flops": 3.5 * flops}


def attention_decode():
    # The six heads of queries that share keys stand side by side as if they were six tokens.
    q, k, v = normal(64, 2, 6, 128), normal(64, 2, 65536, 128), normal(64, 2, 65536, 128)
    return {"run": lambda: F.scaled_dot_product_attention(q, k, v), "bytes": k.nbytes + v.nbytes}


# ---- gated delta rule ----

MODELS = {"2B": (12, 96, 256), "4B": (16, 128, 256)}


def gates(b, t, h):
    g = F.logsigmoid(torch.randn(b, t, h, device="cuda"))
    return g, torch.rand(b, t, h, device="cuda")


def delta_rule(model, b, t, gradients):
    import fla.ops.common.chunk_o as chunk_o
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    chunk_o.IS_NVIDIA_HOPPER = False  # see the head
    h, k_dim, v_dim = MODELS[model]
    q, k, v = (normal(b, t, h, d, grad=gradients) for d in (k_dim, k_dim, v_dim))
    g, beta = (x.requires_grad_(gradients) for x in gates(b, t, h))

    def forward():
        return chunk_gated_delta_rule(q, k, v, g, beta, use_qk_l2norm_in_kernel=True)[0]

    if not gradients:
        return {"run": forward}
    return {"run": backward(forward, [q, k, v, g, beta], normal(b, t, h, v_dim))}


def delta_step(model, b):
    from fla.ops.gated_delta_rule import fused_recurrent_gated_delta_rule

    h, k_dim, v_dim = MODELS[model]
    q, k, v = (normal(b, 1, h, d) for d in (k_dim, k_dim, v_dim))
    g, beta = gates(b, 1, h)
    state = normal(b, h, k_dim, v_dim, dtype=torch.float32)

    def run():
        fused_recurrent_gated_delta_rule(q, k, v, g, beta=beta, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=True)

    return {"run": run, "bytes": 2 * state.nbytes}


# ---- losses over a vocabulary, on 8192 tokens ----


def cross_entropy():
    from fla.modules.fused_linear_cross_entropy import fused_linear_cross_entropy_loss

    x, w = normal(8192, HIDDEN, grad=True), normal(VOCAB, HIDDEN, std=0.02, grad=True)
    labels = torch.randint(VOCAB, (8192,), device="cuda")
    return {"run": backward(lambda: fused_linear_cross_entropy_loss(x, labels, w), [x, w]), "flops": 3 * 2 * 8192 * HIDDEN * VOCAB}


def kl():
    from fla.modules.fused_kl_div import fused_kl_div_loss

    x, w = normal(8192, HIDDEN, grad=True), normal(VOCAB, HIDDEN, std=0.02, grad=True)
    tx, tw = normal(8192, HIDDEN), normal(VOCAB, HIDDEN, std=0.02)
    return {"run": backward(lambda: fused_kl_div_loss(x, tx, w, tw), [x, w]), "flops": 4 * 2 * 8192 * HIDDEN * VOCAB}


# ---- optimiser ----


def adamw():
    p = torch.nn.Parameter(normal(375_000_000, dtype=torch.float32))
    p.grad = normal(375_000_000, dtype=torch.float32)
    optimiser = torch.optim.AdamW([p], fused=True)
    return {"run": optimiser.step, "bytes": 7 * p.nbytes}


def rows():
    """Name, shape, peer and what makes the run."""
    yield "product", "8192·8192·8192", "PyTorch", lambda: product(8192, 8192, 8192)
    yield "product", "16384·1536·8960", "PyTorch", lambda: product(16384, 8960, 1536)
    yield "copy", "1 GiB", "PyTorch", copy
    for model, b, t in (("2B", BATCH, TOKENS), ("4B", BATCH, TOKENS), ("2B", 1, 32768)):
        shape = "B {}, T {}, H {}, K {}, V {}".format(b, t, *MODELS[model])
        yield f"gated delta rule, forward, {model}", shape, "fla", lambda m=model, b=b, t=t: delta_rule(m, b, t, False)
        yield f"gated delta rule, forward + backward, {model}", shape, "fla", lambda m=model, b=b, t=t: delta_rule(m, b, t, True)
    yield "gated delta rule, decode step, 2B", "B 128, T 1, H 12, K 96, V 256", "fla", lambda: delta_step("2B", 128)
    for peer, backend in (("cuDNN", SDPBackend.CUDNN_ATTENTION), ("flash-2", SDPBackend.FLASH_ATTENTION)):
        shape = "B 4, T 4096, 12/2 heads, D 128"
        yield "causal attention, forward", shape, peer, lambda b=backend: attention(b, False)
        yield "causal attention, forward + backward", shape, peer, lambda b=backend: attention(b, True)
    yield "attention decode", "B 64, 1 new of 65536 keys, 12/2 heads, D 128", "PyTorch", attention_decode
    yield "linear + KL, forward + backward", "N 8192, D 1536, vocab 151936", "fla", kl
    yield "linear + cross-entropy, forward + backward", "N 8192, D 1536, vocab 151936", "fla", cross_entropy
    yield "adamw", "375 M float32 parameters", "PyTorch fused", adamw


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--filter", default="", help="only rows with this text in their name")
    filter_text = parser.parse_args().filter
    about = torch.cuda.get_device_properties(0)
    print(json.dumps({"device": about.name, "torch": torch.__version__, "cuda": torch.version.cuda}), flush=True)
    for name, shape, peer, make in rows():
        if filter_text not in name:
            continue
        row = {"name": name, "shape": shape, "peer": peer}
        try:
            torch.manual_seed(1)
            work = make()
            ms = measure(work["run"])
            cuts = statistics.quantiles(ms, n=10, method="inclusive")
            row |= {"ms": cuts[4], "ms_p10": cuts[0], "ms_p90": cuts[8]}
            for key, rate in (("flops", "tflops"), ("bytes", "tbs")):
                if key in work:
                    row |= {key: work[key], rate: work[key] / cuts[4] / 1e9}
        except Exception as e:  # a missing package or memory costs one row
            row["error"] = f"{type(e).__name__}: {e}"[:300]
        work = None
        torch.cuda.empty_cache()
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
