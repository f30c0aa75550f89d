#!/usr/bin/env python3
"""Does transformers, given an exported model, compute the logits that gojet computed?

    dev/hf_export_check.py --ids run.safetensors --expected run.safetensors --tol 2e-5 exported/ [more/ ...]

Each folder is loaded with transformers' AutoModelForCausalLM on the CPU, in the type of its config.json
or the one of --dtype. Every weight of the folder must find its place and every parameter its weight.
--ids is a safetensors file with input_ids [B, T], --expected one with logits [B, T, vocabulary]; both
may be the same file. The measure is |got - expected| / |expected| over all logits, Euclidean.

Exit status: 0 all folders agree within --tol, 1 at least one does not, 2 something could not be run.
Needs: torch, transformers, safetensors.
"""

import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file


class CannotRun(Exception):
    """A check that could not be made, as opposed to one that failed."""


def tensor(path, name):
    tensors = load_file(path)
    if name not in tensors:
        raise CannotRun(f"{path}: no tensor {name!r}, found {', '.join(sorted(tensors))}")
    return tensors[name]


def load(folder, dtype):
    config = pathlib.Path(folder) / "config.json"
    if not config.is_file():
        raise CannotRun(f"{config}: no such file")
    kind = json.loads(config.read_text()).get("model_type")
    if kind not in ("qwen2", "qwen3"):
        raise CannotRun(f"{config}: model_type is {kind!r}; transformers itself has qwen2 and qwen3 only")
    # trust_remote_code stays off: a checked folder must not run code of its own
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype or "auto", attn_implementation="eager", output_loading_info=True
    )
    problems = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(key)}
    if problems:
        raise AssertionError(f"weights do not fit: {problems}")
    return model.eval()


def check(folder, ids, expected, dtype, tol):
    """Returns whether the folder agrees, and a line that says how well."""
    model = load(folder, dtype)
    if int(ids.min()) < 0 or int(ids.max()) >= model.config.vocab_size:
        raise CannotRun(f"input_ids reach from {int(ids.min())} to {int(ids.max())}, the vocabulary is {model.config.vocab_size}")
    with torch.no_grad():
        got = model(ids).logits.double()
    if got.shape != expected.shape:
        return False, f"logits are {list(got.shape)}, expected {list(expected.shape)}"
    error = ((got - expected).norm() / expected.norm()).item()
    agree = (got.argmax(-1) == expected.argmax(-1)).double().mean().item()
    line = (
        f"relative error {error:.3g} (tolerance {tol:g}), largest difference {(got - expected).abs().max().item():.3g}, "
        f"same first choice {agree:.2%}, {str(model.dtype).removeprefix('torch.')}"
    )
    return error <= tol, line  # false for NaN


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", help="exported model folders")
    parser.add_argument("--ids", required=True, help="safetensors file with input_ids")
    parser.add_argument("--expected", required=True, help="safetensors file with logits")
    parser.add_argument("--tol", type=float, default=2e-5, help="largest relative error (default 2e-5)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16", "float64"], help="compute in this type")
    args = parser.parse_args()

    transformers.logging.set_verbosity_error()
    status = 0
    for folder in args.folders:
        try:
            ids = tensor(args.ids, "input_ids").long()
            expected = tensor(args.expected, "logits").double()
            ok, line = check(folder, ids, expected, args.dtype, args.tol)
        except AssertionError as error:
            ok, line = False, str(error)
        except (CannotRun, OSError, ValueError, RuntimeError) as error:
            print(f"error {folder}: {error}")
            status = 2
            continue
        print(f"{'ok' if ok else 'MISMATCH'} {folder}: {line}")
        if not ok:
            status = max(status, 1)
    return status


if __name__ == "__main__":
    sys.exit(main())
