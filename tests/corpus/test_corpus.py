"""The corpus holds what its manifest says: readers written from the formats' definitions find every payload again."""
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import readers

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "apps" / "starlight" / "corpus"
TEXT = "Grüße aus dem Bild: the quick brown fox, 13 λόγος 🚀"


def build(output, *arguments, split="test", clean=0, stego=0, seed=7):
    subprocess.run([sys.executable, CORPUS / "build.py", "--output", output, "--split", split, "--seed", str(seed), "--clean", str(clean),
                    "--stego", str(stego), *arguments], check=True, timeout=300)
    return manifest(output)


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder of a corpus without the data folder, with all methods, orders and formats."""
    folder = tmp_path_factory.mktemp("corpus")
    build(folder, "--generated-only", clean=100, stego=300)
    return folder


@pytest.fixture(scope="module")
def embed():
    sys.path.insert(0, str(CORPUS))
    try:
        import embed as module
        return module
    finally:
        sys.path.remove(str(CORPUS))


def test_every_payload_is_read_back(corpus):
    seen = Counter()
    for line in manifest(corpus):
        if not line["is_stego"]:
            continue
        image = readers.read((corpus / line["file"]).read_bytes())
        found = readers.hidden(image, line["method"], line["bit_order"], line["marked"])
        assert found == line["payload"].encode(), line
        assert len(found) >= 15
        seen[line["method"], line["format"], line["bit_order"], line["marked"]] += 1
    wanted = {("alpha", form, "lsb-first", True) for form in ("png", "webp", "bmp")}
    wanted |= {("exif", form, None, False) for form in ("jpeg", "png", "webp")}
    wanted |= {("raw", form, None, marked) for form in ("png", "jpeg", "gif", "webp", "bmp") for marked in (False, True)}
    for method, forms in (("lsb.rgb", ("png", "webp", "bmp")), ("palette", ("gif", "png", "bmp"))):
        wanted |= {(method, form, order, marked) for form in forms for order in ("msb-first", "lsb-first") for marked in (False, True)}
    assert set(seen) == wanted
    per_method = Counter(key[0] for key in seen.elements())
    assert set(per_method.values()) == {60}


def test_images_are_decodable_and_told_apart_by_content(corpus):
    names = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP"}
    formats = Counter()
    for line in manifest(corpus):
        with Image.open(corpus / line["file"]) as image:
            image.load()
            assert image.format in (names[line["format"]], "MPO" if line["format"] == "jpeg" else None)
        formats[line["is_stego"], line["format"]] += 1
    assert {formats[False, form] for form in names} == {20}


def test_clean_images_hold_no_payload(corpus):
    """No clean file has AI42 in a carrier, a text behind its end, or a long text as UserComment."""
    for line in manifest(corpus):
        if line["is_stego"]:
            continue
        assert line["method"] is None and line["payload"] is None and not line["marked"] and line["bit_order"] is None
        image = readers.read((corpus / line["file"]).read_bytes())
        planes = []
        if image.indices is not None:
            planes.append(image.indices)
        elif image.samples is not None and image.samples.shape[2] >= 3:
            planes += [image.samples[:, :, :3], *([image.samples[:, :, 3]] if image.samples.shape[2] == 4 else [])]
        for plane in planes:
            for order in ("msb-first", "lsb-first"):
                assert not readers.pack(plane, order).startswith(b"AI42")
        assert not image.tail.startswith(b"AI42")
        if image.comment:
            text = image.comment[8:].replace(b"\0", b"").strip()
            assert len(text) <= 24 or len(set(text)) < 4 or not text.decode("latin-1").isprintable(), (line, text)


def test_same_seed_gives_the_same_bytes(corpus, tmp_path):
    again = build(tmp_path / "again", "--generated-only", "--jobs", "1", clean=10, stego=30)
    first = [line for line in manifest(corpus) if int(Path(line["file"]).stem) < (30 if line["is_stego"] else 10)]
    assert again == first
    for line in again:
        assert (tmp_path / "again" / line["file"]).read_bytes() == (corpus / line["file"]).read_bytes(), line
    other = build(tmp_path / "other", "--generated-only", clean=0, stego=30, seed=8)
    assert {line["payload"] for line in other}.isdisjoint(line["payload"] for line in again)


def test_splits_are_disjoint(corpus, tmp_path):
    lines = {split: build(tmp_path / split, "--generated-only", split=split, clean=15, stego=40) for split in ("train", "validation")}
    lines["test"] = manifest(corpus)
    for key in ("source", "payload"):
        values = [{line[key] for line in part} - {None} for part in lines.values()]
        assert sum(map(len, values)) == len(set().union(*values)), key


def test_sources_stay_in_their_split(tmp_path):
    """With a data folder, every split uses its own images and sentences of it."""
    rng = np.random.default_rng(1)
    for folder in ("starlight-sample", "bsds-train", "bsds-val"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / folder / f"{folder}-{i}.png")
    (tmp_path / "text").mkdir()
    news = [f"news number {i}: {rng.integers(0, 10 ** 9)} happened" for i in range(300)]
    (tmp_path / "text" / "agnews.tsv").write_text("".join(f"{line}\tWorld\n" for line in news))
    (tmp_path / "text" / "sst2.tsv").write_text("sentence\tlabel\n" + "".join(f"film {i} was fine \t1\n" for i in range(300)))
    used, sentences = {}, {}
    for split in ("train", "validation", "test"):
        lines = build(tmp_path / split, "--data", tmp_path, split=split, clean=9, stego=36)
        used[split] = {line["source"] for line in lines if not line["source"].startswith("made-")}
        sentences[split] = {line for line in news for made in lines if line in (made["payload"] or "")}
        assert len(used[split]) >= 3 and sentences[split]
    assert len(set().union(*used.values())) == sum(map(len, used.values())) > 9
    assert len(set().union(*sentences.values())) == sum(map(len, sentences.values()))


@pytest.mark.parametrize("method,suffix,extra", [
    ("alpha", "png", ()), ("alpha", "webp", ()), ("alpha", "bmp", ()),
    ("lsb.rgb", "png", ("--bit-order", "lsb-first")), ("lsb.rgb", "webp", ("--marked",)), ("lsb.rgb", "bmp", ()),
    ("palette", "gif", ("--bit-order", "lsb-first", "--marked")), ("palette", "png", ()), ("palette", "bmp", ()),
    ("exif", "jpg", ("--charset", "utf-16")), ("exif", "png", ()), ("exif", "webp", ("--charset", "utf-8")),
    ("raw", "jpg", ()), ("raw", "gif", ("--marked",)), ("raw", "bmp", ()), ("raw", "png", ()), ("raw", "webp", ())])
def test_every_method_embeds(embed, method, suffix, extra):
    cover = Image.fromarray(np.random.default_rng(3).integers(0, 256, (200, 320, 3), dtype=np.uint8))
    order = "lsb-first" if "lsb-first" in extra or method == "alpha" else "msb-first"
    marked = "--marked" in extra or method == "alpha"
    charset = extra[-1] if "--charset" in extra else "ascii"
    data = embed.embed_file(cover, {"jpg": "jpeg"}.get(suffix, suffix), method, TEXT, order, marked, charset)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    assert readers.hidden(readers.read(data), method, order, marked).decode() == TEXT


def test_embed_command(tmp_path):
    Image.new("RGB", (90, 70), (1, 2, 3)).save(tmp_path / "cover.png")
    for text in ([], ["--payload", TEXT]):
        subprocess.run([sys.executable, CORPUS / "embed.py", "--method", "lsb.rgb", "--bit-order", "lsb-first", "--marked", *text,
                        tmp_path / "cover.png", tmp_path / "out.bmp"], input=b"" if text else TEXT.encode(), check=True, timeout=60)
        image = readers.read((tmp_path / "out.bmp").read_bytes())
        assert readers.hidden(image, "lsb.rgb", "lsb-first", True).decode() == TEXT
        (tmp_path / "out.bmp").unlink()


@pytest.mark.parametrize("method,text,name,reason", [
    ("alpha", "x" * 40, "out.png", "bytes need"), ("palette", "x", "out.webp", "no carrier"), ("raw", "", "out.png", "not empty")])
def test_embed_command_refuses_what_cannot_be(tmp_path, method, text, name, reason):
    Image.new("RGB", (16, 16)).save(tmp_path / "small.png")
    done = subprocess.run([sys.executable, CORPUS / "embed.py", "--method", method, "--payload", text, tmp_path / "small.png",
                           tmp_path / name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and reason in done.stderr
    assert not (tmp_path / name).exists()
