"""Small data sets with the columns, types and files of the real ones; every text is drawn from a list of words."""

import json
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = (
    "river stone seven light über garden engine slowly 12 blue copper winter letter map café under three small bright over "
    "paper quick 48 window green north salt cloud ring market old yellow bread glass mountain 7 road silver song 100 naïve "
    "water fire because never train early quiet deep 3.5 morning field iron left winding 2,000 wheel child house story tall"
).split()

SUBJECTS = {
    "stem": "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics college_physics "
    "computer_security conceptual_physics electrical_engineering elementary_mathematics high_school_biology high_school_chemistry "
    "high_school_computer_science high_school_mathematics high_school_physics high_school_statistics machine_learning",
    "other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics miscellaneous "
    "nutrition professional_accounting professional_medicine virology",
    "social_sciences": "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_microeconomics "
    "high_school_psychology human_sexuality professional_psychology public_relations security_studies sociology us_foreign_policy",
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history international_law jurisprudence "
    "logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions",
}


class Maker:
    """Writes data sets below root. `sets` remembers the file of each repository, configuration and split."""

    def __init__(self, root, seed, rows):
        self.root, self.rng, self.rows = pathlib.Path(root), random.Random(seed), rows
        self.sets = {}

    def words(self, least, most):
        return " ".join(self.rng.choices(WORDS, k=self.rng.randint(least, most)))

    def sentence(self, least=4, most=10):
        text = self.words(least, most)
        return text[0].upper() + text[1:] + self.rng.choice([".", ".", "!", " …"])

    def question(self):
        return self.sentence()[:-1].rstrip() + "?"

    def write(self, repository, configuration, split, rows, schema=None, name=None):
        folder = self.root / repository
        file = folder / (name or f"{configuration + '/' if configuration else 'data/'}{split}-00000-of-00001.parquet")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".jsonl":
            file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
        self.sets.setdefault((repository, configuration or None), {})[split] = str(file)

    def splits(self, repository, configuration, row, splits, schema=None):
        for split, n in splits.items():
            rows = [row(i) for i in range(n)]
            if split != "test" and n > 2:
                rows[1] = dict(rows[0])  # a document that is there twice
            self.write(repository, configuration, split, rows, schema)

    def all(self):
        self.commonsense()
        self.mathematics()
        self.mmlu()
        self.texts()
        return self.sets

    def commonsense(self):
        n, rng = self.rows, self.rng
        for name in ("ARC-Easy", "ARC-Challenge"):

            def arc(i):
                k = rng.choice([3, 4, 4, 5])
                labels = [str(j + 1) for j in range(k)] if rng.random() < 0.2 else list("ABCDE"[:k])
                return {"id": f"q{i}", "question": self.question(), "choices": {"text": [self.words(1, 5) for _ in range(k)], "label": labels}, "answerKey": rng.choice(labels)}

            self.splits("allenai/ai2_arc", name, arc, {"train": 3 * n, "validation": n, "test": n})

        def piqa(i):
            return {"goal": self.sentence(), "sol1": self.sentence(2, 8), "sol2": self.sentence(2, 8), "label": rng.randint(0, 1)}

        self.splits("baber/piqa", None, piqa, {"train": 2 * n, "validation": n})

        def hellaswag(i):
            marks = lambda s: rng.choice(["", "[header] ", " "]) + s + rng.choice(["", " [title] more", "  end "])
            return {
                "ind": i, "activity_label": self.words(1, 3), "ctx_a": self.sentence(), "ctx_b": rng.choice(["", self.words(1, 3), "ÜBER " + self.words(1, 2)]),
                "ctx": "", "endings": [marks(self.words(2, 8)) for _ in range(4)], "source_id": "s", "split": "val", "split_type": "indomain", "label": str(rng.randint(0, 3)),
            }

        self.splits("Rowan/hellaswag", None, hellaswag, {"train": 2 * n, "validation": n})

        def winogrande(i):
            return {"sentence": f"{self.sentence()} {self.words(1, 3)} _ {self.words(2, 5)} .", "option1": rng.choice(WORDS), "option2": rng.choice(WORDS), "answer": rng.choice("12")}

        self.splits("allenai/winogrande", "winogrande_xl", winogrande, {"train": 2 * n, "validation": n})

        def siqa(i):
            return {"context": self.sentence(), "question": self.question(), "answerA": self.words(1, 4), "answerB": self.words(1, 4), "answerC": self.words(1, 4), "label": rng.choice("123")}

        self.splits("lighteval/siqa", None, siqa, {"train": 2 * n, "validation": n})

        def openbook(i):
            labels = list("ABCD")
            return {"id": f"o{i}", "question_stem": self.sentence(), "choices": {"text": [self.words(1, 4) for _ in labels], "label": labels}, "answerKey": rng.choice(labels)}

        self.splits("allenai/openbookqa", "main", openbook, {"train": n, "validation": n, "test": n})

        def boolq(i):
            return {"question": self.words(3, 7), "passage": " ".join(self.sentence() for _ in range(3)), "idx": i, "label": rng.randint(0, 1)}

        self.splits("aps/super_glue", "boolq", boolq, {"train": n, "validation": n})

    def mathematics(self):
        n, rng = self.rows, self.rng

        def mathqa(i):
            options = " , ".join(f"{c} ) {rng.choice(['none of these', str(rng.randint(1, 99)), '3 , 000', 'rs . 4.5'])}" for c in "abcde")
            return {"Problem": self.question(), "Rationale": self.sentence(), "options": options, "correct": rng.choice("abcde"), "annotated_formula": "", "linear_formula": "", "category": "general"}

        self.splits("regisss/math_qa", None, mathqa, {"train": n, "validation": n, "test": n})

        def gsm8k(i):
            number = rng.choice([str(rng.randint(1, 99)), "1,234", "-5", "$3.50"])
            return {"question": self.question(), "answer": f"{self.sentence()} <<1+2=3>> {self.sentence()}\n#### {number}"}

        self.splits("openai/gsm8k", "main", gsm8k, {"train": 2 * n, "test": n})

    def mmlu(self):
        rng = self.rng
        for subjects in SUBJECTS.values():
            for i, subject in enumerate(subjects.split()):

                def row(_):
                    return {"question": rng.choice(["", " "]) + self.question(), "subject": subject, "choices": [self.words(1, 4) for _ in range(4)], "answer": rng.randint(0, 3)}

                for split, n in {"dev": 5, "test": 2 + i % 3}.items():
                    self.write("cais/mmlu", subject, split, [row(j) for j in range(n)])

    def texts(self):
        self.write("EleutherAI/lambada_openai", "default", "test", [{"text": self.words(10, 30)} for _ in range(self.rows)], name="data/lambada_test_en.jsonl")
        pages = []
        for _ in range(max(3, self.rows // 4)):
            parts = [f" = {self.words(1, 2)} = \n"]
            for _ in range(self.rng.randint(1, 3)):
                parts.append(f" {self.words(3, 8)} @-@ {self.words(1, 3)} ( {self.words(1, 2)} ) , \" {self.words(1, 3)} \" 's {self.words(1, 3)} . ' {self.words(1, 2)} ' \n")
            pages.append({"page": " ".join(parts)})
        for split in ("train", "validation", "test"):
            self.write("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", split, pages)
