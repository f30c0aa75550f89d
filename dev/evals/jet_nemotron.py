"""Jet-Nemotron for references: transformers' Qwen2 with JetBlocks (https://arxiv.org/abs/2508.15884) among its mixers.

Written from the formulas, one token after the other and without a cache, for small models: load(folder) returns it in float64.
Rows of a batch must be equally long.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM


class JetBlock(nn.Module):
    """The gated delta rule over values that a convolution with kernels of each token's own has smoothed."""

    def __init__(self, hidden, num_heads, head_dim, expand_v, norm_eps, conv_size, dconv_generator_reduction, **_):
        super().__init__()
        self.heads, self.eps, self.taps = num_heads, float(norm_eps), conv_size
        keys = num_heads * head_dim
        values = int(keys * expand_v)
        linear = lambda inner, outer, bias=False: nn.Linear(inner, outer, bias=bias)
        self.q_proj, self.k_proj, self.v_proj = linear(hidden, keys), linear(hidden, keys), linear(hidden, values)
        self.b_proj, self.a_proj = linear(hidden, num_heads), linear(hidden, num_heads)
        self.g_proj, self.o_proj = linear(hidden, values), linear(values, hidden)
        self.A_log, self.dt_bias = nn.Parameter(torch.zeros(num_heads)), nn.Parameter(torch.zeros(num_heads))
        self.o_norm = nn.Module()
        self.o_norm.weight = nn.Parameter(torch.ones(values // num_heads))
        self.dynamic_conv1d = nn.Module()
        self.dynamic_conv1d.kernel_generator = nn.Module()
        self.dynamic_conv1d.kernel_generator.w1 = linear(hidden, values // dconv_generator_reduction)
        self.dynamic_conv1d.kernel_generator.w2 = linear(values // dconv_generator_reduction, values * conv_size, bias=True)

    def forward(self, hidden_states, past_key_values=None, **_):
        if past_key_values is not None:
            raise ValueError("a JetBlock for references keeps no state")
        x = hidden_states
        batch, length, _ = x.shape
        by_head = lambda y: y.view(batch, length, self.heads, -1)
        generator = self.dynamic_conv1d.kernel_generator
        kernel = generator.w2(F.silu(generator.w1(x))).view(batch, length, -1, self.taps)
        values = F.pad(self.v_proj(x), (0, 0, self.taps - 1, 0)).unfold(1, self.taps, 1)
        v = by_head(F.silu((values * kernel).sum(-1)))
        normal = lambda y: y * torch.rsqrt((y * y).sum(-1, keepdim=True) + 1e-6)
        q, k = normal(by_head(F.silu(self.q_proj(x)))), normal(by_head(F.silu(self.k_proj(x))))
        q = q * q.shape[-1] ** -0.5
        beta = torch.sigmoid(self.b_proj(x))
        keep = torch.exp(-torch.exp(self.A_log) * F.softplus(self.a_proj(x) + self.dt_bias))
        state = x.new_zeros(batch, self.heads, q.shape[-1], v.shape[-1])
        out = []
        for t in range(length):
            state = state * keep[:, t, :, None, None]
            error = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhkv,bhk->bhv", state, k[:, t]))
            state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], error)
            out.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]))
        o = torch.stack(out, 1)
        o = o * torch.rsqrt((o * o).mean(-1, keepdim=True) + self.eps) * self.o_norm.weight
        return self.o_proj((o * F.silu(by_head(self.g_proj(x)))).flatten(2)), None


class Norm(nn.Module):
    """RMSNorm in the precision of its input: transformers' is float32 whatever that is."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps) * self.weight


class Rotary(nn.Module):
    """The angles of positions, in float64 likewise."""

    def __init__(self, head_dim, theta):
        super().__init__()
        self.rates = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.rates
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class JetNemotron(Qwen2ForCausalLM):
    def generate(self, *args, **kwargs):
        kwargs["use_cache"] = False
        return super().generate(*args, **kwargs)


def load(folder):
    folder = pathlib.Path(folder)
    told = json.loads((folder / "config.json").read_text())
    blocks = told["efficient_attention_config"]
    kinds = {"attn": "full_attention", "swa": "sliding_attention", "jet": "full_attention"}
    same = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id"]
    config = Qwen2Config(
        **{name: told[name] for name in same}, layer_types=[kinds[kind] for kind in told["layer_types"]], use_sliding_window=True, max_window_layers=0,
        sliding_window=blocks["swa"]["window_size"], rope_parameters={"rope_type": "default", "rope_theta": told["rope_theta"]}, attn_implementation="sdpa", use_cache=False,
    )
    model = JetNemotron(config)
    model.model.rotary_emb = Rotary(config.hidden_size // config.num_attention_heads, told["rope_theta"])
    model.model.norm = Norm(config.hidden_size, config.rms_norm_eps)
    for layer, kind in zip(model.model.layers, told["layer_types"], strict=True):
        layer.input_layernorm, layer.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps), Norm(config.hidden_size, config.rms_norm_eps)
        if kind == "jet":
            layer.self_attn = JetBlock(config.hidden_size, **blocks["jet"])
    missing, unknown = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    if unknown or set(missing) - {"lm_head.weight"}:
        raise ValueError(f"{folder}: missing {missing}, unknown {unknown}")
    model.tie_weights()
    return model.double().eval()
