#!/usr/bin/env python3
"""Do `gojet eval` and lm-evaluation-harness agree, request by request and score by score?

    python dev/evals/compare.py --gojet bin/gojet [--rows N] [--positions N] [--keep DIR] MODEL_DIR …

Makes small data sets with the files and columns of the real ones (data.py) and a byte-level tokenizer for the models' vocabulary,
evaluates every model with both programs on the CPU, gojet in float32 and the reference in float64, and compares: prompts, log-likelihoods within 1e-4 or a millionth, generated
answers, filtered answers and scores of every document, then every score and standard error of tasks and groups. Models are
those that transformers knows and Jet-Nemotron (jet_nemotron.py), such as the tiny ones of the tests' fixtures; --positions sets how many tokens
they read, fewer than some prompts have.

Exit status: 0 all agree, 1 something does not, 2 something could not be run.
Needs: lm_eval[hf] 0.4.13, torch, transformers, tokenizers, datasets, pyarrow.
"""

import argparse
import contextlib
import json
import logging
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", DISABLE_MULTIPROC="1", LMEVAL_LOG_LEVEL="ERROR", TQDM_DISABLE="1")
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import datasets
import lm_eval
import lm_eval.models.huggingface
import tokenizers
import transformers
from lm_eval.tasks import TaskManager
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

import data
import jet_nemotron

TOLERANCE = 1e-4
# Sums over hundreds of tokens carry hundreds of float32 roundings: beyond -100 a millionth of the value is allowed too, and counted.
RELATIVE = 1e-6
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHOICES = ["arc_easy", "arc_challenge", "piqa", "hellaswag", "winogrande", "social_iqa", "openbookqa", "boolq", "mathqa"]
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# Tasks; the number of examples, None for what the task says; "multiturn" or "one turn" with a chat template; the tokens that the model
# reads, None for all positions. With few of them prompts lose their beginning, and whole texts are read in windows.
RUNS = [
    (CHOICES + ["lambada_openai", "wikitext", "mmlu"], None, None, None),
    (["gsm8k"], None, None, None),
    (CHOICES + ["mmlu_stem"], 3, None, None),
    (["arc_easy", "winogrande", "mmlu_anatomy", "gsm8k"], 2, "multiturn", None),
    (["arc_easy", "winogrande", "mmlu_anatomy", "gsm8k"], 2, "one turn", None),
    (["arc_easy", "hellaswag", "wikitext"], 2, None, 64),
]


def make_tokenizer(folder, vocabulary):
    t = tokenizers.Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(tokenizers.Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    specials = ["<|pad|>", "<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    text = " ".join(data.WORDS) + " Question: Answer: Choices Problem A. B. C. D. The following are multiple choice questions (with answers) about 0 1 2 3 4 5 6 7 8 9 ####"
    t.train_from_iterator([text] * 50, trainer)
    t.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>", "clean_up_tokenization_spaces": False, "model_max_length": 10**9, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def prepare(model, folder, positions):
    """Copies a model, with a tokenizer and as many positions as asked for."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = positions
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(folder, config["vocab_size"])


def use_local(sets):
    """Makes datasets read the made files in place of repositories."""
    real = datasets.load_dataset

    def load(path, name=None, **_):
        files = sets[(path, name)] if (path, name) in sets else sets[(path, None)]
        kind = "json" if next(iter(files.values())).endswith(".jsonl") else "parquet"
        return real(kind, data_files=files)

    datasets.load_dataset = load


@contextlib.contextmanager
def quiet():
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@quiet()
def reference(folder, tasks, shots, chat, positions):
    # The reference computes in float64: then a difference is gojet's own, and not that of two ways to round.
    told = {"softmax_dtype": "float64", "device": "cpu", "max_length": positions}
    if json.loads((folder / "config.json").read_text())["model_type"] == "jet_nemotron":
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        del settings["tokenizer_class"]  # by name, transformers would ask the configuration of a model that it does not know
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **settings)
        lm = lm_eval.models.huggingface.HFLM(pretrained=jet_nemotron.load(folder), tokenizer=tokenizer, batch_size=1, **told)
    else:
        lm = lm_eval.models.huggingface.HFLM(pretrained=str(folder), dtype="float64", batch_size=8, **told)
    return lm_eval.simple_evaluate(model=lm, tasks=tasks, num_fewshot=shots, bootstrap_iters=1000, task_manager=TaskManager(), apply_chat_template=bool(chat), fewshot_as_multiturn=chat == "multiturn")


def ours(gojet, folder, tasks, shots, chat, length, out, root):
    command = [gojet, "eval", "--model", str(folder), "--tasks", ",".join(tasks), "--data", str(root), "--output", str(out), "--bootstrap-iters", "1000", "--device", "cpu", "--max-length", str(length)]
    if shots is not None:
        command += ["--num-fewshot", str(shots)]
    if chat:
        command += ["--apply-chat-template", f"--fewshot-as-multiturn={'true' if chat == 'multiturn' else 'false'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    results = json.loads((out / "results.json").read_text())
    samples = {p.stem.removeprefix("samples_"): [json.loads(line) for line in p.read_text().splitlines()] for p in out.glob("samples_*.jsonl")}
    return results, samples


class Comparison:
    def __init__(self):
        self.failures, self.worst, self.long, self.requests, self.answers, self.scores = [], 0.0, 0, 0, 0, 0

    def fail(self, text):
        self.failures.append(text)

    def likelihood(self, where, want, got):
        if not isinstance(want, (list, tuple)):
            want, got = (want, True), (got, True)  # rolling
        self.requests += 1
        difference = abs(want[0] - got[0])
        self.worst = max(self.worst, difference)
        self.long += TOLERANCE < difference <= RELATIVE * abs(want[0])
        if not difference <= max(TOLERANCE, RELATIVE * abs(want[0])) or bool(want[1]) != bool(got[1]):
            self.fail(f"{where}: log-likelihood {got}, want {want}")

    def sample(self, where, want, got):
        kind = "texts" if isinstance(got["resps"][0], str) else "rolling" if got["arguments"][0][0] == "" and len(want["arguments"][0]) == 1 else "likelihoods"
        if kind != "rolling":
            for i, (w, g) in enumerate(zip(want["arguments"], got["arguments"], strict=True)):
                if list(w)[0] != g[0] or kind == "likelihoods" and w[1] != g[1]:
                    self.fail(f"{where}: request {i} is {g!r}, want {w!r}")
        if kind == "texts":
            self.answers += 1
            w = [r for request in want["resps"] for r in request]
            if w != got["resps"]:
                self.fail(f"{where}: answers {got['resps']!r}, want {w!r}")
            if want["filtered_resps"] != got["filtered_resps"]:
                self.fail(f"{where}: after filter {got['filter']} {got['filtered_resps']!r}, want {want['filtered_resps']!r}")
        elif kind == "rolling":
            self.likelihood(where, want["resps"][0][0], sum(r[0] for r in got["resps"]))
        else:
            for i, (w, g) in enumerate(zip(want["resps"], got["resps"], strict=True)):
                self.likelihood(f"{where}: request {i}", w[0], g)
        for metric in want["metrics"]:
            self.value(f"{where}: {metric}", want[metric], got.get(metric))

    def value(self, where, want, got):
        self.scores += 1
        if isinstance(want, (list, tuple)):
            for w, g in zip(want, got, strict=True):
                self.value(where, w, g)
        elif isinstance(want, str) or got is None or isinstance(got, str):
            if want != got:
                self.fail(f"{where}: {got!r}, want {want!r}")
        elif not math.isclose(float(want), float(got), rel_tol=1e-5, abs_tol=TOLERANCE):
            self.fail(f"{where}: {got}, want {want}")

    def task(self, name, want, got):
        if len(want) != len(got):
            self.fail(f"{name}: {len(got)} samples, want {len(want)}")
            return
        by = {(s["doc_id"], s["filter"]): s for s in got}
        for s in want:
            self.sample(f"{name}: document {s['doc_id']}", s, by[s["doc_id"], s["filter"]])

    def results(self, want, got):
        for section in ("results", "groups"):
            for name, scores in want.get(section, {}).items():
                for key, value in scores.items():
                    if "," in key:
                        self.value(f"{section}: {name}: {key}", value, got[section].get(name, {}).get(key))
        for section in ("n-shot", "n-samples", "versions", "higher_is_better"):
            for name, value in want[section].items():
                if section == "versions":
                    value = str(value)
                if got[section].get(name) != value:
                    self.fail(f"{section}: {name}: {got[section].get(name)!r}, want {value!r}")


def aim(sets, want):
    """Makes some of the generated answers right: the number found in them becomes the problem's answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = sets["openai/gsm8k", "main"]["test"]
    rows = pq.read_table(path).to_pylist()
    found = 0
    for s in want["samples"]["gsm8k"]:
        number = s["filtered_resps"][0]
        if s["filter"] == "flexible-extract" and number != "[invalid]" and s["doc_id"] % 2 == 0:
            rows[s["doc_id"]]["answer"] = f"So it is.\n#### {number}"
            found += 1
    pq.write_table(pa.Table.from_pylist(rows), path)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gojet", required=True, help="the program")
    parser.add_argument("--rows", type=int, default=12, help="documents of a split")
    parser.add_argument("--positions", type=int, default=768, help="tokens that the models read")
    parser.add_argument("--keep", help="leave everything in this folder")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(args.keep or scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        os.environ["HF_DATASETS_CACHE"] = str(scratch / "cache")
        datasets.config.HF_DATASETS_CACHE = str(scratch / "cache")
        sets = data.Maker(scratch / "data", 7, args.rows).all()
        use_local(sets)
        ok = True
        for model in args.models:
            folder = scratch / pathlib.Path(model).name
            shutil.rmtree(folder, ignore_errors=True)
            prepare(model, folder, args.positions)
            for number, (tasks, shots, chat, length) in enumerate(RUNS):
                length = length or args.positions
                out = scratch / f"{folder.name}-{number}"
                shutil.rmtree(out, ignore_errors=True)
                want = reference(folder, tasks, shots, chat, length)
                if tasks == ["gsm8k"]:
                    aimed = aim(sets, want)
                    want = reference(folder, tasks, shots, chat, length)
                results, samples = ours(args.gojet, folder, tasks, shots, chat, length, out, scratch / "data")
                c = Comparison()
                for name, docs in want["samples"].items():
                    c.task(name, docs, samples.get(name, []))
                c.results(want, results)
                what = f"{folder.name}, {', '.join(tasks)}, {'the examples of the tasks' if shots is None else f'{shots} examples'}{', chat template, ' + chat if chat else ''}, {length} tokens"
                print(f"{what}: {c.requests} log-likelihoods, greatest difference {c.worst:.1e}, {c.long} beyond 1e-4 and within a millionth; {c.answers} answers; {c.scores} scores; {len(c.failures)} differ", flush=True)
                if tasks == ["gsm8k"]:
                    print(f"  {aimed} answers made right; exact_match {results['results']['gsm8k']['exact_match,flexible-extract']}")
                for f in c.failures[:20]:
                    print(f"  {f[:600]}")
                ok = ok and not c.failures and c.requests + c.answers > 0
    return 0 if ok else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, KeyError) as e:
        print(f"compare.py: {type(e).__name__}: {e}", file=sys.stderr)
        sys.exit(2)
