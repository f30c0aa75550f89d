"""Has lm-evaluation-harness ask and judge a model whose answers are written down, and writes down what it asked and
found: evals/suite/testdata/answers.json. The Go test TestAnswers repeats it with the tasks of evals/suite.

  tasks_check.py              writes the file and runs the test

Only tasks with generated answers are here. Data are a few made-up rows with the columns of the real data sets, and where
lm-evaluation-harness has examples in its own files they are replaced by others.

Needs: pip install lm_eval rouge fuzzywuzzy jieba sympy antlr4-python3-runtime==4.11 math-verify word2number; torch, transformers
"""

import difflib
import json
import random
import subprocess
import sys
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_programs(references, predictions, k):
    """stands for code_eval of the package evaluate, which has to be downloaded: these programs are harmless"""
    passed = []
    for tests, programs in zip(references, predictions):
        for program in programs:
            try:
                exec(program + "\n" + tests, {})
                passed.append(1)
            except BaseException:
                passed.append(0)
    return ({f"pass@{n}": sum(passed) / len(passed) for n in k if n == 1}, {})


evaluate = types.ModuleType("evaluate")
evaluate.load = lambda name: types.SimpleNamespace(compute=run_programs)
sys.modules["evaluate"] = evaluate

import lm_eval
from fuzzywuzzy import fuzz
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

fuzz.SequenceMatcher = difflib.SequenceMatcher

TASKS = Path(lm_eval.__file__).parent / "tasks"
MANAGER = TaskManager(include_defaults=False)


class Scripted(LM):
    """gives the answers of the document, in turn"""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.asked = answers, []

    def generate_until(self, requests):
        out = []
        for i in requests:
            prompt, kwargs = i.args
            answer = self.answers[i.doc_id % len(self.answers)]
            self.asked.append({"prompt": prompt, "until": kwargs.get("until"), "max_tokens": kwargs.get("max_gen_toks"), "answer": answer})
            out.append(answer)
        return out

    def loglikelihood(self, requests):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def case(folder, name, path, repository, splits, answers, config=None, shots=None, samples=None, sample_file=None, to=None, python=None, changes=None):
    """one task: rows by split, and by split the file they lie in"""
    files = {}
    for split, rows in splits.items():
        files[split] = str(folder / f"{name}-{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(r) + "\n" for r in rows))
    lm = Scripted(answers)
    if python:  # a class of its own
        module = types.ModuleType(name)
        exec((TASKS / path).read_text(), module.__dict__)
        cls = getattr(module, python)
        cls.DATASET_PATH, cls.DATASET_NAME = "json", None
        download = cls.download
        cls.download = lambda self, *a, **k: download(self, {"data_files": files})
        task = cls()
        task.config.task = name
        task.config.generation_kwargs = {}  # a default that came later hides squad_completion's own
    else:
        cfg = load_yaml(TASKS / path, resolve_func=True)
        for key in ("tag", "group", "task_list"):
            cfg.pop(key, None)
        cfg.update(dataset_path="json", dataset_name=None, dataset_kwargs={"data_files": files}, **(changes or {}))
        if samples is not None:
            cfg["fewshot_config"] = {**(cfg.get("fewshot_config") or {}), "samples": samples, "sampler": "first_n"}
        if shots is not None:
            cfg["num_fewshot"] = shots
        cfg["repeats"] = 1
        random.seed(42)
        task = ConfigurableTask(config=cfg)
    results = lm_eval.simple_evaluate(model=lm, tasks=[task], task_manager=MANAGER, bootstrap_iters=0, log_samples=False, confirm_run_unsafe_code=True)
    (scores,) = results["results"].values()
    scores = {k: float(v) for k, v in scores.items() if "," in k and "stderr" not in k and "math_verify" not in k}
    place = f"{repository}/{config}/" if config else f"{repository}/"
    return {
        "task": to or name,
        "files": {place + f"{split}.jsonl": rows for split, rows in splits.items()},
        "examples": {sample_file: samples} if sample_file else {},
        "shots": shots if shots is not None else -1,
        "asked": lm.asked,
        "scores": scores,
    }


MATH = [
    {"problem": "What is $1+1$?", "solution": "It is $\\boxed{2}$.", "level": "Level 1", "type": "Algebra"},
    {"problem": "What is half of $x$?", "solution": "Half is $\\boxed{\\frac{x}{2}}$.", "level": "Level 2", "type": "Algebra"},
    {"problem": "Two points?", "solution": "They are $\\boxed{(1,2)}$.", "level": "Level 2", "type": "Algebra"},
]
MATH_EXAMPLES = [
    {"problem": "What is $2+2$?", "solution": "It is $\\boxed{4}$.\nFinal Answer: The final answer is $4$. I hope it is correct.", "few_shot": "1"},
    {"problem": "What is $3+3$?", "solution": "It is $\\boxed{6}$.\nFinal Answer: The final answer is $6$. I hope it is correct.", "few_shot": "1"},
]
PRO = [
    {"question_id": i, "question": f"What is {i}?", "options": [" one ", "two", "three\n"], "answer": "ABC"[i], "answer_index": i,
     "cot_content": f"A: Let's think step by step. It is {i}. The answer is ({'ABC'[i]}).", "category": c, "src": "made up"}
    for i, c in [(0, "law"), (1, "computer science"), (2, "law"), (1, "law")]
]  # fmt: skip
BBH_CHOICE = [{"input": f"Which day {i}?\nOptions:\n(A) Monday, early\n(B) Tuesday\n(C) Tuesday noon", "target": t} for i, t in enumerate(("(A)", "(B)", "(C)", "(C)"))]
BBH = {
    "boolean_expressions": ([{"input": f"not {i} is", "target": t} for i, t in enumerate(("False", "True", "False"))], [" True or not: the answer is False.", "So True.", "no"]),
    "date_understanding": (BBH_CHOICE, ["It is (B). So the answer is (A).", "tuesday: I am sure", "Tuesday noon!", "Answer: C"]),
    "multistep_arithmetic_two": ([{"input": "1 - 2 =" + s, "target": "-1"} for s in ("", " ?")], ["1 - 2 is -1", "the answer is 7."]),
    "sports_understanding": ([{"input": f"Is it {t}?", "target": t} for t in ("yes", "no")], ["Yes, that is not plausible but plausible.", "It is Not Plausible."]),
    "web_of_lies": ([{"input": f"Does he {t}?", "target": t} for t in ("Yes", "No")], ["He tells the truth", "He does not tell the truth."]),
    "word_sorting": ([{"input": f"Sort the following words {s}: List: pear fig apple", "target": "apple fig pear"} for s in ("now", "then")],
                     ["pear fig apple: apple fig pear", "the answer is apple pear fig."]),
}  # fmt: skip
GPQA = [
    {"Question": f"Why {i}?", "Correct Answer": " right  one ", "Incorrect Answer 1": "first [title]x", "Incorrect Answer 2": f"second {i}", "Incorrect Answer 3": "third"}
    for i in range(3)
]
EVAL = [
    {"task_id": f"HumanEval/{i}", "prompt": f'def add(a, b):\n    """Adds {i}."""\n', "canonical_solution": "    return a + b\n", "entry_point": "add",
     "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n"}
    for i in range(3)
]  # fmt: skip
MBPP = [
    {"task_id": i, "text": f"Write a function to add {i}.", "prompt": f"Write a function to add {i}.", "code": f"def add(x):\r\n  return x + {i}",
     "test_list": [f"assert add({n}) == {n + i}" for n in range(3)], "test": f"assert add(40) == {40 + i}", "test_imports": []}
    for i in range(1, 7)
]  # fmt: skip
CRUX = [{"id": f"sample_{i}", "code": f"def f(n):\n    return n + {i}", "input": str(i), "output": str(2 * i)} for i in range(4)]
BASED = [{"doc_id": str(i), "file_name": "x", "key": "k", "value": v, "text": f"\nName: {v} and more\nThe name is "} for i, v in enumerate([" Anna (B.)", "Bert"])]


def longbench(folder):
    answers = {
        "qa_f1_score": ["the Red  house.", "nothing"],
        "rouge_score": ["A cat sat. It slept long.", "Dogs. A cat slept"],
        "classification_score": ["location entity", "description"],
        "count_score": ["7 or 12", "12"],
        "retrieval_score": ["Paragraph 7 or 8", "8"],
        "code_sim_score": ["# no\nreturn x + 1\n", "```\nreturn  x"],
    }
    targets = {
        "qa_f1_score": ["a red house", "blue"], "rouge_score": ["A cat slept. It sat long."], "classification_score": ["location"],
        "count_score": ["7"], "retrieval_score": ["Paragraph 7"], "code_sim_score": ["return x+1"],
    }  # fmt: skip
    for path in sorted((TASKS / "longbench").glob("[a-z0-9]*.yaml")):
        cfg = load_yaml(path, resolve_func=True)
        metric = [m["metric"] for m in cfg["metric_list"] if m["metric"] != "score"][0]
        chinese = metric.endswith("_zh_score")
        key = metric.replace("_zh", "")
        right = ["段落7"] if metric == "retrieval_zh_score" else targets[key]
        said = ["段落7"] if metric == "retrieval_zh_score" else [targets[key][0]] if chinese else answers[key]
        rows = [{"question": f"Q{i}?", "context": f"Some text {i}.", "answers": right, "all_classes": ["location", "entity", "description"], "length": 3, "dataset": "x"} for i in range(2)]
        name = cfg["dataset_name"]
        yield case(folder, cfg["task"], f"longbench/{path.name}", "Xnhyacinth/LongBench", {"test": rows}, said, config=name)


def cases(folder):
    yield case(folder, "gsm8k", "gsm8k/gsm8k.yaml", "openai/gsm8k",
               {"train": [{"question": f"How many {i}?", "answer": f"There are {i}.\n#### {i},000"} for i in range(6)],
                "test": [{"question": f"And {i}?", "answer": f"So {i}.\n#### {i},500"} for i in (1, 2, 3)]},
               [" It is 1.\n#### 1500", " I think $2500.", " #### 7. Or 3,500"], config="main", shots=2)  # fmt: skip
    final = "\nFinal Answer: The final answer is ${}$. I hope it is correct."
    yield case(folder, "minerva_math_algebra", "minerva_math/minerva_math_algebra.yaml", "EleutherAI/hendrycks_math",
               {"train": MATH, "test": MATH}, ["So" + final.format("2.0"), "So" + final.format("x/2"), final.format("(1,3)")],
               config="algebra", shots=2, samples=MATH_EXAMPLES, sample_file="minerva_math.jsonl")  # fmt: skip
    for subject in ("law", "computer_science"):
        yield case(folder, f"mmlu_pro_{subject}", f"mmlu_pro/mmlu_pro_{subject}.yaml", "TIGER-Lab/MMLU-Pro", {"validation": PRO, "test": PRO},
                   ["The answer is (A).", "the answer is B", "the answer is C, no, the answer is A"], shots=1)  # fmt: skip
    for name, (rows, answers) in BBH.items():
        for mode in ("zeroshot", "cot_zeroshot"):
            yield case(folder, f"bbh_{mode}_{name}", f"bbh/{mode}/{name}.yaml", "SaylorTwift/bbh", {"test": rows}, answers, config=name)
        samples = [{"input": f"Example {i}", "target": f"We think. So the answer is {i}."} for i in range(4)]
        task = f"bbh_cot_fewshot_{name}"
        yield case(folder, task, f"bbh/cot_fewshot/{name}.yaml", "SaylorTwift/bbh", {"test": rows},
                   [" So the answer is " + r["target"] + "." for r in rows[:1]] + answers, config=name, samples=samples, sample_file=task + ".jsonl")  # fmt: skip
    for part in ("main", "diamond"):
        yield case(folder, f"gpqa_{part}_cot_zeroshot", f"gpqa/cot_zeroshot/gpqa_{part}_cot_zeroshot.yaml", "Idavidrein/gpqa", {"train": GPQA},
                   ["The answer is (A).", "right one is it", "It must be: (B) "], config=f"gpqa_{part}")  # fmt: skip
        yield case(folder, f"gpqa_{part}_generative_n_shot", f"gpqa/generative/gpqa_{part}_generative_n_shot.yaml", "Idavidrein/gpqa", {"train": GPQA},
                   ["(A)", "(B)", "(C)"], config=f"gpqa_{part}", shots=0)  # fmt: skip
    code = ["    return a + b\n", "    return a - b\n", "    return sum((a, b))"]
    yield case(folder, "humaneval", "humaneval/humaneval.yaml", "openai/openai_humaneval", {"test": EVAL}, code)
    yield case(folder, "humaneval_plus", "humaneval/humaneval_plus.yaml", "evalplus/humanevalplus", {"test": EVAL}, code)
    yield case(folder, "humaneval_instruct", "humaneval/humaneval_instruct.yaml", "openai/openai_humaneval", {"test": EVAL}, [c + "```\nIt adds." for c in code])
    code = ["def add(x): return x + 6\n", "def add(x): return x +"]
    for name, repository, config, rows in (("mbpp", "google-research-datasets/mbpp", "full", MBPP[4:]), ("mbpp_plus", "evalplus/mbppplus", None, MBPP[1:])):
        shots = [{**r, "is_fewshot": True} for r in MBPP[1:4]]
        splits = {"test": rows, "prompt": MBPP[:4]} if name == "mbpp" else {"test": rows}
        yield case(folder, name, f"mbpp/{name}.yaml", repository, splits, code, config=config, shots=3 if name == "mbpp" else 0, samples=shots)
    for name in ("fda", "swde", "squad_completion"):
        repository = {"fda": "based-fda", "swde": "based-swde-v2", "squad_completion": "based-squad"}[name]
        cls = {"fda": "FDA", "swde": "SWDE", "squad_completion": "SQUADCompletion"}[name]
        yield case(folder, name, f"{name}/task.py", "hazyresearch/" + repository, {"validation": BASED}, [" anna (b.) of", " bet"], python=cls)
    yield from longbench(folder)


def main():
    with tempfile.TemporaryDirectory() as folder:
        all_cases = list(cases(Path(folder)))
    out = ROOT / "evals" / "suite" / "testdata"
    out.mkdir(exist_ok=True)
    text = "[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in all_cases) + "\n]\n"
    (out / "answers.json").write_text(text, encoding="utf-8")
    print(f"{len(all_cases)} tasks, {len(text)} bytes")
    return subprocess.run(["go", "test", "-count=1", "-run", "^TestAnswers$", "./evals/suite"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
