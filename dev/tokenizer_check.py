"""Compares datasets/tokenizer with Hugging Face's tokenizers library.

  tokenizer_check.py golden
      writes the tiny tokenizer and its vectors to datasets/tokenizer/testdata.
  tokenizer_check.py compare TOKENIZER_JSON [SOURCE ...]
      encodes and decodes random strings and the source files with the library and has the Go test
      TestVectors repeat it. A tokenizer file named gpt2 is the tiny one with GPT-2's pre-tokenizer.

Needs: pip install tokenizers
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PACKAGE = Path(__file__).resolve().parent.parent / "datasets" / "tokenizer"
TESTDATA = PACKAGE / "testdata"

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PROSE = """\
A token is a piece of text that occurs often. The training of a byte-pair encoding starts with the bytes and
joins, again and again, the two neighbours that are seen together most often. What it has joined it doesn't
part again: that's the list of merges. We'll train a tiny one here, and it isn't meant to be good.
func main() {\n\tfor i := range 10 {\n\t\tfmt.Println("the value of i is", i)\n\t}\n}\n
Ein Wort ist auch nur eine Folge von Bytes: größer, schöner, über. Le café est déjà fermé.
это слово и ещё одно слово, 这是一个词元 这是另一个词元, これは言葉です。
"""

# content, special, flags
ADDED = [
    ("<|endoftext|>", True, {}),
    ("<|im_start|>", True, {}),
    ("<|im_end|>", True, {}),
    ("<tool>", False, {}),
    ("<tool>>", False, {}),  # overlaps the one before
    ("<left>", True, {"lstrip": True}),
    ("<right>", True, {"rstrip": True}),
    ("<both>", True, {"lstrip": True, "rstrip": True}),
    ("<word>", True, {"single_word": True}),
    ("Cafe\u0301", False, {"normalized": True}),
    ("two words", False, {"normalized": False}),
    ("n\u0303", False, {"normalized": False}),
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    " \t\n\r",
    " ",
    "\n",
    "'sStTrReEvVmMlLdDſ",
    "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~",
    "\u000b\u000c\u001c\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff",
    "äöüßéèñçøåÄÖÜ",
    "\u0300\u0301\u0302\u0303\u0308\u0323\u0327\u0345\u093c\u3099\u1161\u11a8",
    "的一是不了人我在有他这为之大来以个中上们",
    "가각힣각한국어",
    "हिन्दीเทยไทยعربيעברית",
    "½²Ⅷ٣४①㊿〇",
    "🙂👍🏽👨‍👩‍👧🇩🇪",
    "\U00010d4a\U0002ebf0\U00016130\u1c89\U0001e5f1",
    "\u0000\u0001\u007f\u00ad",
    "\u1100\u1161\u11a8\u212b\u2126\uf900\u0958\ufb1d",
]
CHUNKS = ["'s", "'LL", "'ſ", " the", "  ", "\n\n", "\r\n", " \n ", "this", " word", "two words", "Café", "Cafe\u0301"]


def tiny():
    """Trains the tokenizer of the tests."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        PROSE.splitlines(keepends=True),
        trainers.BpeTrainer(
            vocab_size=460, min_frequency=2, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    for content, special, flags in ADDED:
        flags = {"normalized": False} | flags
        token = AddedToken(content, special=special, **flags)
        t.add_special_tokens([token]) if special else t.add_tokens([token])
    return t


def gpt2(t):
    """Gives t the pre-tokenizer of GPT-2, and no normaliser."""
    t = Tokenizer.from_str(t.to_str())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    f = json.loads(t.to_str())
    f["normalizer"] = None
    return Tokenizer.from_str(json.dumps(f))


def text(rng, tokens):
    """Returns a random string: runs from the alphabets, added tokens, any code points."""
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.15:
            parts.append(rng.choice(tokens))
        elif kind < 0.35:
            parts.append(rng.choice(CHUNKS))
        elif kind < 0.4:
            point = rng.choice([rng.randrange(0x300), rng.randrange(0x3100), rng.randrange(0x20000), rng.randrange(0x110000)])
            parts.append(chr(point) if not 0xD800 <= point < 0xE000 else "?")
        else:
            alphabet = rng.choice(ALPHABETS)
            length = rng.randint(40, 90) if rng.random() < 0.02 else rng.randint(1, 6)
            parts.extend(rng.choice(alphabet) for _ in range(length))
    return "".join(parts)


def vector(t, s, rng):
    """Returns what the library makes of s, and of some random ids."""
    t.encode_special_tokens = True
    ordinary = t.encode(s, add_special_tokens=False).ids
    t.encode_special_tokens = False
    ids = t.encode(s, add_special_tokens=False).ids
    noise = [rng.randrange(t.get_vocab_size()) if rng.random() < 0.3 else rng.randrange(256) for _ in range(rng.randint(0, 12))]
    return {
        "text": s,
        "ids": ids,
        "ordinary": ordinary,
        "decoded": t.decode(ids, skip_special_tokens=False),
        "skipped": t.decode(ids, skip_special_tokens=True),
        "noise": noise,
        "noise_decoded": t.decode(noise, skip_special_tokens=False),
    }


def write(path, t, texts, rng):
    with open(path, "w", encoding="utf-8") as f:
        for s in texts:
            f.write(json.dumps(vector(t, s, rng), ensure_ascii=False, separators=(",", ":")) + "\n")


def contents(t):
    return [a.content for a in t.get_added_tokens_decoder().values()]


def golden():
    t = tiny()
    TESTDATA.mkdir(exist_ok=True)
    f = json.loads(t.to_str())
    (TESTDATA / "tiny.json").write_text(json.dumps(f, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    for name, tokenizer in [("tiny", t), ("gpt2", gpt2(t))]:
        rng = random.Random(7)
        texts = [text(rng, contents(t)) for _ in range(120)]
        write(TESTDATA / f"{name}_vectors.jsonl", tokenizer, texts, rng)


def compare(path, sources, count=30000):
    t = gpt2(tiny()) if path == "gpt2" else Tokenizer.from_file(path)
    rng = random.Random()
    texts = [text(rng, contents(t) + [" <"]) for _ in range(count)]
    for source in sources:
        texts.append(Path(source).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors.jsonl"
        write(vectors, t, texts, rng)
        t.save(str(Path(folder) / "tokenizer.json"))
        env = os.environ | {"GOJET_TOKENIZER_VECTORS": folder}
        command = ["go", "test", "-count=1", "-run", "TestVectors/extra", "-v", "."]
        sys.exit(subprocess.run(command, cwd=PACKAGE, env=env).returncode)


if __name__ == "__main__":
    if sys.argv[1:] == ["golden"]:
        golden()
    elif len(sys.argv) >= 3 and sys.argv[1] == "compare":
        compare(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
