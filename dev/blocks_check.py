#!/usr/bin/env python3
"""Do gojet's linear blocks compute what flash-linear-attention's layers define, forward and backward?

    dev/blocks_check.py [folder]

Without a folder it runs `go run ./dev/blocks` first. Every layer of flash-linear-attention is run on the CPU in float64: its own code
for projections, gates, norms and their order, on top of the references in PyTorch that the package has beside its kernels for GPUs
(naive recurrences, torch_forward of Mamba-2), which take the place of those kernels. The measure is |got - expected| / |expected| over
all of a tensor, Euclidean.

Exit status: 0 all blocks agree within 2e-5, 1 at least one does not, 2 something could not be run.
Needs: torch, triton, einops, transformers, safetensors, flash-linear-attention 0.5.2 with fla-core 0.5.2. No GPU.
"""

import pathlib
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import torch
import torch.nn.functional as F
import triton

# Kernels are not run here, so how they would be tuned does not matter; some versions of Triton refuse it.
triton.autotune = triton.heuristics = lambda *_, **__: lambda f: f

import fla.layers.delta_net as delta_net
import fla.layers.gated_deltanet as gated_deltanet
import fla.layers.gla as gla
import fla.layers.mamba2 as mamba2
import fla.layers.multiscale_retention as retention
import fla.layers.rwkv7 as rwkv7
from einops import rearrange
from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution
from fla.modules.layernorm_gated import RMSNormGated, rms_norm_ref
from fla.modules.rotary import RotaryEmbedding, rotary_embedding_ref
from fla.modules.token_shift import token_shift_ref
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.retention.naive import naive_retention
from fla.ops.rwkv7.fused_addcmul import torch_addcmul_rwkv7
from fla.ops.rwkv7.fused_k_update import k_update_ref
from fla.ops.rwkv7.gate_output_correction import gate_output_correction_ref
from safetensors.torch import load_file

TOLERANCE = 2e-5
HIDDEN, HEADS, KEY, VALUE = 32, 2, 16, 32

torch.Tensor.float = torch.Tensor.double  # references that convert must not lose digits


def l2(x):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-6)


# References that loop over heads first, in place of kernels that have tokens first.


def delta_rule(q, k, v, beta, **_):
    o, state = naive(l2(q), l2(k), v, beta=beta)
    return o, state


def gated_delta_rule(q, k, v, g, beta, **kwargs):
    if kwargs.get("use_gate_in_kernel"):
        g = -torch.exp(kwargs["A_log"]) * F.softplus(g + kwargs["dt_bias"])
    if kwargs.get("use_beta_sigmoid_in_kernel"):
        beta = beta.sigmoid()
    return naive(l2(q), l2(k), v, gate=g[..., None].exp(), beta=beta)


def linear(q, k, v, g=None, gk=None, **_):
    return naive(q, k, v, gate=(g if gk is None else gk).exp())


def retained(q, k, v, **_):
    heads = torch.arange(q.shape[2], dtype=q.dtype)
    return naive(q, k, v, gate=(1 - torch.pow(2.0, -5 - heads))[None, None, :, None].expand(*q.shape[:3], 1))


def generalised(r, w, k, v, a=None, b=None, kk=None, **_):
    if kk is not None:
        a, b = -kk, kk * a
    return naive(r, k, v, gate=w.exp(), a=a, b=b, scale=1.0)


def naive(q, k, v, gate=None, beta=None, a=None, b=None, scale=None):
    """The recurrences of the package's naive.py files in one, for check_recurrence to compare: not all of them run in float64."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    state, out = torch.zeros(q.shape[0], q.shape[2], q.shape[3], v.shape[3], dtype=q.dtype), []
    for t in range(q.shape[1]):
        u = torch.einsum("bhk,bhkv->bhv", a[:, t], state) if a is not None else None
        if gate is not None:
            state = state * gate[:, t, :, :, None]
        if u is not None:
            state = state + b[:, t, :, :, None] * u[:, :, None]
        value = v[:, t]
        if beta is not None:
            value = (value - torch.einsum("bhk,bhkv->bhv", k[:, t], state)) * beta[:, t, :, None]
        state = state + k[:, t, :, :, None] * value[:, :, None]
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state) * scale)
    return torch.stack(out, 1), state


def causal(x, weight, bias):
    return F.conv1d(F.pad(x.transpose(1, 2), (weight.shape[-1] - 1, 0)), weight, bias, groups=x.shape[-1]).transpose(1, 2)


def short_conv(self, x, **_):
    y = causal(x, self.weight, self.bias)
    return (F.silu(y) if self.activation else y), None


def rotary(self, q, k, **_):
    self._update_cos_sin_cache(q.shape[1], device=q.device, dtype=torch.float64)
    return tuple(rotary_embedding_ref(x, self._cos_cached[: q.shape[1]], self._sin_cached[: q.shape[1]]) for x in (q, k))


def norm(self, x, *_, **__):
    return rms_norm_ref(x, self.weight, None, eps=self.eps)


def gated_norm(self, x, g, *_, **__):
    return rms_norm_ref(x, self.weight, None, z=g, eps=self.eps, norm_before_gate=True)


def mamba_norm(self, x, z=None):
    return rms_norm_ref(x, self.weight, None, z=z, eps=self.eps, group_size=self.group_size, norm_before_gate=self.norm_before_gate)


def check_recurrence():
    """Returns whether naive is what the package's references are."""
    r = lambda *shape: torch.randn(2, 20, 3, *shape, dtype=torch.float64) / 4
    q, k, v, a, b, gate, beta = r(8), r(8), r(6), r(8), r(8), -r(8).abs(), r().sigmoid()
    flip = lambda *xs: [x.transpose(1, 2) for x in xs]
    pairs = {
        "delta rule": (naive(q, k, v, beta=beta)[0], delta_rule_recurrence(*flip(q, k, v, beta))[0].transpose(1, 2)),
        "gated linear attention": (naive(q, k, v, gate=gate.exp())[0], naive_recurrent_gla(q, k, v, gate)[0]),
        "retention": (retained(q, k, v)[0], naive_retention(*flip(q, k, v)).transpose(1, 2)),
        "diagonal plus low rank": (naive(q, k, v, gate=gate.exp(), a=a, b=b)[0], dplr_recurrence(*flip(q, k, v, a, b, gate))[0].transpose(1, 2)),
    }
    errors = {n: float((x - y).norm() / y.norm()) for n, (x, y) in pairs.items()}
    good = max(errors.values()) <= 1e-6
    print("ok  " if good else "FAIL", "recurrences:", ", ".join(f"{n} {e:.0e}" for n, e in errors.items()), flush=True)
    return good


def replace_kernels():
    ShortConvolution.forward, RotaryEmbedding.forward = short_conv, rotary
    RMSNorm.forward, FusedRMSNormGated.forward, RMSNormGated.forward = norm, gated_norm, mamba_norm
    delta_net.chunk_delta_rule = delta_net.fused_recurrent_delta_rule = delta_rule
    gated_deltanet.causal_conv1d = lambda x, weight, bias, **_: (F.silu(causal(x, weight[:, None], bias)), None)
    gated_deltanet.chunk_gated_delta_rule = gated_deltanet.fused_recurrent_gated_delta_rule = gated_delta_rule
    gla.chunk_gla = gla.fused_recurrent_gla = linear
    retention.chunk_retention = retention.fused_recurrent_retention = retained
    rwkv7.chunk_rwkv7 = rwkv7.fused_mul_recurrent_rwkv7 = generalised
    rwkv7.token_shift = lambda x, *_, **__: (token_shift_ref(x), None)
    rwkv7.fused_addcmul_rwkv7, rwkv7.fused_k_rwkv7 = torch_addcmul_rwkv7, k_update_ref
    rwkv7.gate_output_correction = gate_output_correction_ref
    rwkv7.l2_norm = l2


def blocks():
    sizes = {"hidden_size": HIDDEN, "num_heads": HEADS, "expand_k": KEY * HEADS / HIDDEN, "expand_v": VALUE * HEADS / HIDDEN}
    return {
        "deltanet": lambda: delta_net.DeltaNet(**sizes),
        "gated_deltanet": lambda: gated_deltanet.GatedDeltaNet(hidden_size=HIDDEN, num_heads=HEADS, head_dim=KEY, expand_v=VALUE / KEY),
        "gla": lambda: gla.GatedLinearAttention(**sizes),
        "mamba2": lambda: mamba2.Mamba2(hidden_size=HIDDEN, head_dim=VALUE, state_size=KEY, expand=VALUE * HEADS // HIDDEN, chunk_size=64),
        "retnet": lambda: retention.MultiScaleRetention(**sizes),
        "rwkv7": lambda: rwkv7.RWKV7Attention(hidden_size=HIDDEN, head_dim=KEY, layer_idx=0, num_hidden_layers=2, fuse_norm=True),
    }


def mamba_names(w):
    """Puts the pieces of gojet's Mamba-2 together."""
    stack = lambda suffix, *names: torch.cat([w[n + suffix] for n in names])
    return {
        "in_proj.weight": stack("_proj.weight", "g", "v", "k", "q", "dt"), "out_proj.weight": w["o_proj.weight"],
        "conv1d.weight": stack("_conv1d.weight", "v", "k", "q"), "conv1d.bias": stack("_conv1d.bias", "v", "k", "q"),
        "A_log": w["A_log"], "dt_bias": w["dt_bias"], "D": w["D"], "norm.weight": w["o_norm.weight"],
    }


def check(name, make, path):
    """Returns whether the block agrees, and a line that says how well."""
    file = {n: t.double() for n, t in load_file(path).items()}
    weights = {n: t for n, t in file.items() if n not in ("x", "o", "do", "dx") and not n.startswith("d.")}
    grads = {n: file["d." + n] for n in weights}
    if name == "mamba2":
        weights, grads = mamba_names(weights), mamba_names(grads)
    layer = make().double()
    if name == "mamba2":
        layer.act = F.silu
    if name == "rwkv7":
        layer.g_norm.forward = lambda o: F.group_norm(o.flatten(0, 1), HEADS, layer.g_norm.weight, layer.g_norm.bias, layer.g_norm.eps).view_as(o)
    own = dict(layer.named_parameters())
    if own.keys() != weights.keys():
        return False, f"{name}: names differ: {sorted(own.keys() ^ weights.keys())}"
    with torch.no_grad():
        for n, p in own.items():
            flat = n == "r_k"
            if not flat and p.shape != weights[n].shape:
                return False, f"{name}: {n} has shape {tuple(weights[n].shape)}, want {tuple(p.shape)}"
            p.copy_(weights[n].view_as(p))
    x = file["x"].requires_grad_()
    o = layer(x)[0]
    o.backward(file["do"])
    error = lambda got, want: float((got.reshape(-1) - want.detach().reshape(-1)).norm() / want.norm())
    errors = {"o": error(file["o"], o), "dx": error(file["dx"], x.grad)}
    errors.update({"d." + n: error(grads[n], p.grad) for n, p in own.items()})
    worst = max(errors, key=errors.get)
    return errors[worst] <= TOLERANCE, f"{name}: o {errors['o']:.1e}, dx {errors['dx']:.1e}, worst of {len(errors)} tensors {worst} {errors[worst]:.1e}"


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    replace_kernels()
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            folder = sys.argv[1]
        else:
            root = pathlib.Path(__file__).resolve().parent.parent
            subprocess.run(["go", "run", "./dev/blocks", folder], cwd=root, check=True)
        good = check_recurrence()
        for name, make in blocks().items():
            agrees, line = check(name, make, pathlib.Path(folder) / (name + ".safetensors"))
            print("ok  " if agrees else "FAIL", line, flush=True)
            good = good and agrees
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"blocks_check: {e}", file=sys.stderr)
        sys.exit(2)
