"""Times transformers on PyTorch beside gojet on this CPU: the shape of Qwen2.5-0.5B in bfloat16, greedy, in one run.

    python dev/peers/cpu_decode.py [--gojet bin/gojet] [--threads 2] [--batches 1 8] [--prompt 128] [--new 128] [--turns 3]

Both generate with random weights of the same shape from the same number of tokens. They take turns, each measured by itself in a process
of its own, so that what else the machine does meets both. Prints the median, the least and the most of the turns in tokens a second, and
the ratio of the medians. Exit status 1 if gojet decodes more slowly at any batch. Needs torch, transformers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPE = dict(
    hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2, vocab_size=151936,
    max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True)


def transformers(batch, prompt, new, threads):
    """Returns prompt and answer tokens a second; the first generation warms up."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, StoppingCriteriaList

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE)).eval()
    model.generation_config.eos_token_id = None
    ids = torch.randint(0, SHAPE["vocab_size"], (batch, prompt))

    def generate(tokens):
        """Returns when each token was there, in seconds."""
        times = []

        def stamp(ids, scores, **_):
            times.append(time.perf_counter() - start)
            return torch.zeros(batch, dtype=torch.bool)

        with torch.inference_mode():
            start = time.perf_counter()
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0,
                                 stopping_criteria=StoppingCriteriaList([stamp]))
        assert out.shape[1] == prompt + tokens and len(times) == tokens
        return times

    generate(4)
    times = generate(new)
    return {"prefill": batch * prompt / times[0], "decode": batch * (new - 1) / (times[-1] - times[0])}


def gojet(binary, batch, prompt, new, threads):
    out = subprocess.run(
        [binary, "bench", "throughput", "--model", "qwen2.5-0.5b", "--device", "cpu", "--threads", str(threads), "--prompt-len", str(prompt),
         "--batch-size", str(batch), "--max-new-tokens", str(new), "--rounds", "2", "--warmup", "1", "--json"],
        check=True, stdout=subprocess.PIPE).stdout
    row = json.loads(out)["rows"][0]
    return {"prefill": row["prefill_tokens_per_second"]["mean"], "decode": row["decode_tokens_per_second"]["mean"]}


def here(args, batch):
    """Measures transformers in a process of its own."""
    command = [sys.executable, __file__, "--here", "--threads", str(args.threads), "--batches", str(batch), "--prompt", str(args.prompt),
               "--new", str(args.new)]
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), TOKENIZERS_PARALLELISM="false")
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gojet", default="bin/gojet", help="the command to measure")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(transformers(args.batches[0], args.prompt, args.new, args.threads)))
        return
    slower = False
    for batch in args.batches:
        turns = {"transformers": [], "gojet": []}
        for _ in range(args.turns):
            turns["transformers"].append(here(args, batch))
            turns["gojet"].append(gojet(args.gojet, batch, args.prompt, args.new, args.threads))
        for what in ("decode", "prefill"):
            median = {}
            for name, all_turns in turns.items():
                speeds = [t[what] for t in all_turns]
                median[name] = statistics.median(speeds)
                print(f"batch {batch} {what:8} {name:13} {median[name]:8.1f} tokens/s ({min(speeds):.1f} to {max(speeds):.1f})", flush=True)
            ratio = median["gojet"] / median["transformers"]
            print(f"batch {batch} {what:8} gojet is {ratio:.2f} times as fast", flush=True)
            slower = slower or what == "decode" and ratio < 1
    sys.exit(slower)


if __name__ == "__main__":
    main()
