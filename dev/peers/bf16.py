"""How far does PyTorch's own bfloat16 stand from float32 on a small model?

    python dev/peers/bf16.py MODEL EXPECTED.safetensors [MODEL EXPECTED.safetensors ...]

Needs torch, transformers, safetensors. Compares as `gojet parity --precision bf16` does: logits, first choices, the loss
and the worst gradient of a weight, by transformers on the CPU; "rounded weights" computes everything in float32 and only
rounds the weights of matrices to bfloat16, as gojet stores them: no program that keeps them so can do better.
Only qwen2 and qwen3, which transformers has.
"""

import argparse

import torch
import transformers
from safetensors.torch import load_file


def load(folder, how):
    dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    if how == "rounded weights":
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() == 2:
                    p.copy_(p.bfloat16())
    return model.eval()


def error(got, want):
    got, want = got.double(), want.double()
    return ((got - want).norm() / want.norm()).item()


def compare(folder, expected, how):
    """One line: how the model computes, and its errors."""
    model = load(folder, how)
    ids = expected["input_ids"].long()
    out = model(input_ids=ids, labels=ids)
    out.loss.backward()
    gradients = {
        name: error(p.grad, expected["grad." + name])
        for name, p in model.named_parameters()
        if p.grad is not None and "grad." + name in expected
    }
    worst = max(gradients, key=gradients.get)
    differ = (out.logits.argmax(-1) != expected["logits"].argmax(-1)).double().mean().item()
    return (
        f"{folder}, {how}: logits {error(out.logits, expected['logits']):.3g}, first choices that differ {differ:.1%}, "
        f"loss {error(out.loss, expected['loss'].reshape(())):.3g}, worst gradient {gradients[worst]:.3g} ({worst})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="MODEL EXPECTED", help="a model's folder and its expected values, in turn")
    pairs = parser.parse_args().pairs
    if len(pairs) % 2:
        parser.error("a folder and a file, in turn")
    transformers.logging.set_verbosity_error()
    for folder, path in zip(pairs[::2], pairs[1::2]):
        expected = load_file(path)
        for how in ("float32", "bfloat16", "rounded weights"):
            print(compare(folder, expected, how))


if __name__ == "__main__":
    main()
