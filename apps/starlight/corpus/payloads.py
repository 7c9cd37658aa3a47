"""Texts to hide: news, prompts, chat, data, code, lists, blobs and other languages, 20 bytes to 20 kB.

Splits share no text: sentences of the data files belong to a split by their hash, words of the lists too (a common third of
them aside), and everything else is drawn from dice named after the split.
"""
import base64
import csv
import io
import json
from functools import lru_cache
from pathlib import Path

import words
from dice import Dice, hash_share

SPLITS = ("train", "validation", "test")
SPLIT_ENDS = (0.6, 0.8, 1.0)
SMALLEST = 20


def split_of(text):
    share = hash_share("split/" + text)
    return SPLITS[next(i for i, end in enumerate(SPLIT_ENDS) if share < end)]


class Writer:
    """Makes the payloads of one split. `data` is the data folder, or None to do without."""

    def __init__(self, split, data=None):
        self.split = split
        self.news, self.reviews = ((), ()) if data is None else _sentences(split, str(data))
        self.words = {name: _share(name, words_of, split) for name, words_of in _lists().items()}
        self.kinds = dict(KINDS)
        if data is None:
            del self.kinds["news"], self.kinds["reviews"]

    def text(self, dice, largest):
        """(text, kind): a text of at most `largest` bytes, at least 20 where that allows it."""
        wanted = min(largest, self._length(dice))
        kind = dice.pick(self.kinds)
        made = KIND_FUNCTIONS[kind](self, dice, wanted)
        made = _fit(made.replace("\0", " "), wanted, largest, dice)
        if len(made.encode()) < min(SMALLEST, wanted):
            made = _fit((made + " " + self.sentence(dice) + " " + self.sentence(dice)).strip(), wanted, largest, dice)
        return made, kind

    @staticmethod
    def _length(dice):
        part = dice.pick({"short": 14, "usual": 70, "long": 12, "huge": 4})
        low, high = {"short": (SMALLEST, 100), "usual": (100, 700), "long": (700, 3000), "huge": (3000, 20000)}[part]
        return dice.log_between(low, high)

    # ---- pieces

    def word(self, dice, name="ENGLISH"):
        return dice.choice(self.words[name])

    def several(self, dice, low, high, name="ENGLISH"):
        return [self.word(dice, name) for _ in range(dice.randint(low, high))]

    def sentence(self, dice):
        noun, verb, adjective = (lambda: self.word(dice)), (lambda: self.word(dice, "VERBS")), (
            lambda: self.word(dice, "ADJECTIVES"))
        made = dice.choice((
            lambda: f"the {adjective()} {noun()} will {verb()} the {noun()} before the {noun()} can {verb()} it",
            lambda: f"please {verb()} every {noun()} and {verb()} the {adjective()} {noun()}",
            lambda: f"we {verb()} a {noun()} with {dice.randint(2, 900)} {noun()}s, but not the {adjective()} one",
            lambda: f"is it true that a {noun()} must {verb()} its {noun()}",
            lambda: f"{noun()}, {noun()} and {noun()} are {adjective()}",
            lambda: f"nobody could {verb()} why the {noun()} was so {adjective()}",
            lambda: f"in {dice.randint(1850, 2030)} the {noun()} of the {noun()} began to {verb()}",
            lambda: f"I {verb()} that you {verb()} my {adjective()} {noun()} at {dice.randint(1, 12)}:{dice.randint(0, 59):02}"
        ))()
        return made[0].upper() + made[1:] + dice.choice((".", ".", ".", "!", "?", "..."))

    def prose(self, dice, wanted, joint=" "):
        return _until(wanted, joint, lambda: self.sentence(dice))

    def name(self, dice, joint="_"):
        return joint.join(self.several(dice, 1, 3))


def _until(wanted, joint, piece):
    parts, size = [], 0
    while size < wanted:
        parts.append(piece())
        size += len(parts[-1].encode()) + len(joint)
    return joint.join(parts)


def _fit(text, wanted, largest, dice):
    """Cuts the text to the wanted size, sometimes a little later where a line or word ends, never above the largest."""
    raw = text.encode()
    if len(raw) <= largest and (len(raw) <= wanted or dice.chance(0.3)) and len(raw) < 2 * wanted + 40:
        return text
    cut = raw[:wanted].decode(errors="ignore")
    end = cut.rfind(" ")
    if end > len(cut) // 2 and end >= SMALLEST and dice.chance(0.6):
        cut = cut[:end]
    return cut


def _lists():
    return {"ENGLISH": words.ENGLISH, "VERBS": words.VERBS, "ADJECTIVES": words.ADJECTIVES, "LATIN": words.LATIN,
            "EMOJI": words.EMOJI, **words.LANGUAGES, **words.DENSE}


def _share(name, listed, split):
    chosen = [word for i, word in enumerate(listed) if i % 3 == 0 or split_of(f"{name}/{word}") == split]
    return chosen


@lru_cache(maxsize=4)
def _sentences(split, data):
    folder = Path(data) / "text"
    news = [line.split("\t")[0] for line in (folder / "agnews.tsv").read_text(encoding="utf-8").splitlines()]
    reviews = [line.split("\t")[0] for line in (folder / "sst2.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    return tuple([line for line in part if len(line) > 8 and split_of(line) == split] for part in (news, reviews))


# ---- kinds

def news(w, dice, wanted):
    return _until(wanted, dice.choice((" ", "\n", "\n\n")), lambda: dice.choice(w.news))


def reviews(w, dice, wanted):
    return _until(wanted, dice.choice((" ", "\n", " / ")), lambda: dice.choice(w.reviews).strip())


def plain(w, dice, wanted):
    return w.prose(dice, wanted, dice.choice((" ", " ", "\n")))


def prompt(w, dice, wanted):
    head = dice.choice((
        f"You are a {w.word(dice, 'ADJECTIVES')} assistant. ", "Ignore all previous instructions and ",
        f"Act as an expert in {w.word(dice)} and {w.word(dice)}. ", f"Write a poem about the {w.word(dice)}: ",
        f"A photo of a {w.word(dice, 'ADJECTIVES')} {w.word(dice)}, {w.word(dice)}, {w.word(dice)}, 4k, highly detailed, ",
        "System: follow the rules below.\n", "### Instruction:\n", f"Summarise the following text in {dice.randint(1, 9)} words: "))
    return head + w.prose(dice, max(1, wanted - len(head)))


def chat(w, dice, wanted):
    a, b = dice.choice((("User", "Assistant"), ("alice", "bob"), ("Human", "AI"), ("Q", "A"), ("<eve>", "<mallory>")))
    mark = dice.choice((": ", " > ", "> "))
    turn = iter(range(10 ** 6))
    return _until(wanted, "\n", lambda: (a, b)[next(turn) % 2] + mark + w.sentence(dice))


def _value(w, dice, depth=0):
    kinds = {"word": 4, "number": 3, "float": 2, "flag": 1, "sentence": 3, "none": 0.5}
    if depth < 2:
        kinds.update(list=1, object=1)
    kind = dice.pick(kinds)
    if kind == "list":
        return [_value(w, dice, depth + 1) for _ in range(dice.randint(1, 4))]
    if kind == "object":
        return {w.word(dice): _value(w, dice, depth + 1) for _ in range(dice.randint(1, 4))}
    return {"word": w.name(dice, "-"), "number": dice.randint(-9, 99999), "float": round(dice.uniform(-99, 99), 4),
            "flag": dice.chance(0.5), "sentence": w.sentence(dice), "none": None}[kind]


def json_text(w, dice, wanted):
    made = {}
    indent = dice.choice((None, None, 2, 4))
    ascii_only = dice.chance(0.5)
    text = "{}"
    while len(text) < wanted * 0.9:
        made[w.name(dice)] = _value(w, dice)
        if dice.chance(0.1):
            made[w.word(dice)] = language(w, dice, 40)
        text = json.dumps(made, indent=indent, ensure_ascii=ascii_only)
    return text


def yaml_text(w, dice, wanted):
    def piece():
        key = w.word(dice)
        form = dice.randint(0, 3)
        if form == 0:
            return f"{key}: {w.name(dice, '-')}"
        if form == 1:
            return f"{key}: {dice.randint(0, 9999)}  # {w.word(dice)}"
        if form == 2:
            return f"{key}:\n" + "\n".join(f"  - {word}" for word in w.several(dice, 1, 4))
        return f"{key}:\n" + "\n".join(f"  {word}: \"{w.sentence(dice)}\"" for word in w.several(dice, 1, 3))
    return dice.choice(("", "---\n")) + _until(wanted, "\n", piece) + "\n"


def python_code(w, dice, wanted):
    def piece():
        f, a, b, c = w.name(dice), w.word(dice), w.word(dice), w.word(dice)
        return dice.choice((
            f"def {f}({a}, {b}={dice.randint(0, 99)}):\n    \"\"\"{w.sentence(dice)}\"\"\"\n    if {a} > {b}:\n        return {a} - {b}\n    return {{\"{c}\": {a}}}\n",
            f"import {a}\nfrom {b} import {c}\n",
            f"for {a} in range({dice.randint(2, 999)}):\n    print(f\"{b} {{{a}:>4}}\")  # {w.word(dice)}\n",
            f"class {a.title()}{b.title()}:\n    def __init__(self):\n        self.{c} = [{dice.randint(0, 9)}, {dice.randint(0, 9)}]\n",
            f"with open(\"{a}.txt\", \"rb\") as {b}:\n    {c} = {b}.read({dice.choice((16, 256, 1024))})\n"))
    return dice.choice(("", "#!/usr/bin/env python3\n")) + _until(wanted, "\n", piece)


def c_code(w, dice, wanted):
    def piece():
        f, a, b = w.name(dice), w.word(dice), w.word(dice)
        return dice.choice((
            f"static int {f}(const char *{a}, size_t {b})\n{{\n\tif (!{a})\n\t\treturn -1;\n\treturn (int)({b} * {dice.randint(2, 64)});\n}}\n",
            f"#define {f.upper()} {hex(dice.getrandbits(16))}\n", f"#include <{a}.h>\n",
            f"struct {f} {{\n    uint32_t {a};\n    uint8_t {b}[{dice.randint(1, 512)}];\n}};\n",
            f"for (int i = 0; i < {dice.randint(3, 4096)}; i++)\n    {a}[i] ^= {b}[i & {dice.choice((7, 15, 255))}]; /* {w.word(dice)} */\n"))
    return _until(wanted, "\n", piece)


def shell_code(w, dice, wanted):
    def piece():
        a, b, c = w.word(dice), w.word(dice), w.word(dice)
        return dice.choice((
            f"for {a} in *.{b}; do mv \"${a}\" \"{c}/${{{a}%.{b}}}\"; done", f"export {a.upper()}={b}",
            f"grep -rn '{a}' {b}/ | sort -u | head -n {dice.randint(1, 50)} > {c}.txt", f"echo \"{w.sentence(dice)}\" >> {a}.log",
            f"if [ -f {a}.conf ]; then\n  . ./{a}.conf\nelse\n  exit {dice.randint(1, 9)}\nfi",
            f"tar -czf {a}-{dice.randint(1, 99)}.tar.gz {b} {c} && ls -l"))
    return dice.choice(("", "#!/bin/sh\nset -e\n")) + _until(wanted, "\n", piece)


def sql_code(w, dice, wanted):
    def piece():
        a, b, c = w.word(dice), w.word(dice), w.word(dice)
        return dice.choice((f"SELECT {a}, {b} FROM {c} WHERE {a} > {dice.randint(0, 999)} ORDER BY {b};",
                            f"INSERT INTO {a} ({b}, {c}) VALUES ('{w.word(dice)}', {dice.randint(0, 9999)});",
                            f"CREATE TABLE {a} ({b} TEXT NOT NULL, {c} INTEGER DEFAULT {dice.randint(0, 9)});"))
    return _until(wanted, "\n", piece)


def html_text(w, dice, wanted):
    def piece():
        a, b = w.word(dice), w.word(dice)
        return dice.choice((f"<p class=\"{a}\">{w.sentence(dice)}</p>", f"<li><a href=\"/{a}/{b}\">{b}</a></li>",
                            f"<script>var {a} = \"{b}\";</script>", f"<h2>{a.title()} &amp; {b}</h2>"))
    return dice.choice(("", "<!DOCTYPE html>\n<html>\n")) + _until(wanted, dice.choice(("", "\n")), piece)


def markdown(w, dice, wanted):
    def piece():
        a, b = w.word(dice), w.word(dice)
        return dice.choice((
            lambda: f"# {a.title()} {b}\n", lambda: f"## {a.title()}\n", lambda: w.prose(dice, 150) + "\n",
            lambda: "\n".join(f"- **{word}**: {w.sentence(dice)}" for word in w.several(dice, 2, 4)) + "\n",
            lambda: f"> {w.sentence(dice)}\n", lambda: f"```\n{a} --{b} {dice.randint(1, 99)}\n```\n",
            lambda: f"| {a} | {b} |\n| --- | --- |\n| {dice.randint(1, 99)} | {dice.randint(1, 99)} |\n",
            lambda: f"[{a}](https://{b}.example/{a}) and *{b}*, `{a}()`\n",
            lambda: "\n".join(f"{i}. {w.sentence(dice)}" for i in range(1, dice.randint(3, 6))) + "\n"))()
    return dice.choice(("# " + w.word(dice).title() + "\n\n", "")) + _until(wanted, "\n", piece)


def urls(w, dice, wanted):
    def piece():
        return (f"{dice.choice(('https', 'https', 'http', 'ftp'))}://{dice.choice(('www.', '', 'cdn.'))}{w.name(dice, '-')}.example"
                f"/{w.word(dice)}/{dice.getrandbits(32):08x}?{w.word(dice)}={dice.randint(0, 999)}&{w.word(dice)}=%2F")
    return _until(wanted, dice.choice(("\n", " ", ",", "\r\n")), piece)


def base64_text(w, dice, wanted):
    made = base64.b64encode(dice.block(wanted * 3 // 4)).decode()
    if dice.chance(0.4):
        width = dice.choice((64, 76))
        made = "\n".join(made[i:i + width] for i in range(0, len(made), width))
    if dice.chance(0.15):
        made = f"-----BEGIN {w.word(dice).upper()}-----\n{made}\n-----END-----\n"
    return made


def hex_text(w, dice, wanted):
    raw = dice.block(max(1, wanted // dice.choice((2, 3))))
    made = raw.hex(" ") if dice.chance(0.4) else raw.hex()
    made = made.upper() if dice.chance(0.4) else made
    return dice.choice(("", "", "0x", "sha256:")) + made


def csv_text(w, dice, wanted):
    out = io.StringIO()
    table = csv.writer(out, delimiter=dice.choice(",,;\t"), lineterminator=dice.choice(("\n", "\r\n")))
    table.writerow(["id", *w.several(dice, 2, 5)])
    row = 0
    while out.tell() < wanted:
        row += 1
        table.writerow([row, w.word(dice), round(dice.uniform(0, 1000), 2), dice.randint(0, 9), w.name(dice, " ")])
    return out.getvalue()


def log_text(w, dice, wanted):
    second = dice.randint(0, 80000)

    def piece():
        nonlocal second
        second += dice.randint(0, 9)
        stamp = f"2025-{dice.randint(1, 12):02}-{dice.randint(1, 28):02} {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        return dice.choice((
            f"{stamp} {dice.choice(('INFO', 'WARN', 'ERROR', 'DEBUG'))} {w.name(dice, '.')}: {w.sentence(dice)}",
            f"[{stamp}] {w.word(dice)}[{dice.randint(1, 65535)}]: {w.word(dice)}={dice.randint(0, 9999)} code={dice.randint(0, 255)}",
            f"10.{dice.randint(0, 255)}.{dice.randint(0, 255)}.{dice.randint(1, 254)} - - [{stamp}] \"GET /{w.word(dice)} HTTP/1.1\" {dice.choice((200, 304, 404, 500))} {dice.randint(0, 99999)}"))
    return _until(wanted, "\n", piece)


def capitals(w, dice, wanted):
    return w.prose(dice, wanted).upper()


def digits(w, dice, wanted):
    form = dice.randint(0, 3)
    if form == 0:
        return _until(wanted, " ", lambda: str(dice.randint(0, 10 ** dice.randint(1, 9))))
    if form == 1:
        return _until(wanted, ", ", lambda: f"{dice.uniform(-180, 180):.6f}")
    if form == 2:
        return _until(wanted, "\n", lambda: f"+{dice.randint(1, 99)} {dice.randint(100, 999)} {dice.randint(1000000, 9999999)}")
    return "".join(dice.choices("0123456789", k=wanted))


def lines(w, dice, wanted):
    return _until(wanted, dice.choice(("\n", "\n\n", "\r\n", "\n\n\n")), lambda: " ".join(w.several(dice, 1, 3)))


def latin(w, dice, wanted):
    return _until(wanted, " ", lambda: w.word(dice, "LATIN") + dice.choice(("", "", "", "", ",", ".")))


def random_words(w, dice, wanted):
    letters = "abcdefghijklmnopqrstuvwxyz"
    return _until(wanted, dice.choice((" ", " ", "-", "_")), lambda: "".join(dice.choices(letters, k=dice.randint(2, 10))))


def noise_text(w, dice, wanted):
    alphabet = dice.choice((bytes(range(33, 127)), bytes(range(32, 127)), b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"ACGT"))
    return bytes(dice.choices(alphabet, k=wanted)).decode()


def repeated(w, dice, wanted):
    unit = dice.choice(("test ", "hello world ", "hidden message ", "AI42 ", w.word(dice) + " ", w.word(dice) + "\n",
                        w.sentence(dice) + " "))
    return unit * (wanted // len(unit) + 1)


def letter(w, dice, wanted):
    head = f"Dear {w.word(dice).title()},\n\n"
    tail = f"\n\nBest regards,\n{w.word(dice).title()} {w.word(dice).title()}\n"
    if dice.chance(0.3):
        head = f"From: {w.word(dice)}@{w.word(dice)}.example\nSubject: {w.sentence(dice)}\n\n" + head
    return head + w.prose(dice, max(20, wanted - len(head) - len(tail))) + tail


def keys(w, dice, wanted):
    def piece():
        return dice.choice((f"{w.name(dice).upper()}={dice.block(12).hex()}", f"password: {w.word(dice)}{dice.randint(0, 999)}!",
                            f"user={w.word(dice)};token={base64.b32encode(dice.block(10)).decode()}", f"seed: {' '.join(w.several(dice, 6, 12))}"))
    return _until(wanted, "\n", piece)


def language(w, dice, wanted):
    name = dice.choice([*words.LANGUAGES, *words.DENSE])
    stop = "。" if name in words.DENSE else dice.choice((".", ".", "!", "?"))
    joint = "" if name in words.DENSE else " "

    def piece():
        made = joint.join(w.several(dice, 4, 10, name))
        return made[0].upper() + made[1:] + stop
    return _until(wanted, joint, piece)


def mixed(w, dice, wanted):
    return _until(wanted, " ", lambda: w.sentence(dice) if dice.chance(0.5) else language(w, dice, 30))


def emoji(w, dice, wanted):
    return _until(wanted, " ", lambda: " ".join(w.several(dice, 1, 4)) + " " + "".join(w.several(dice, 1, 3, "EMOJI")))


KINDS = {"news": 14, "reviews": 6, "plain": 8, "prompt": 9, "chat": 6, "json_text": 8, "yaml_text": 4, "python_code": 4,
         "c_code": 3, "shell_code": 3, "sql_code": 1, "html_text": 3, "markdown": 9, "urls": 3, "base64_text": 4,
         "hex_text": 3, "csv_text": 3, "log_text": 4, "capitals": 2, "digits": 2.5, "lines": 2, "latin": 2,
         "random_words": 2, "noise_text": 1.5, "repeated": 1.5, "letter": 3, "keys": 2, "language": 8, "mixed": 2, "emoji": 2}
KIND_FUNCTIONS = {name: globals()[name] for name in KINDS}


def example(name, split="test", data=None, largest=700):
    """One payload, for a look."""
    return Writer(split, data).text(Dice(name), largest)
