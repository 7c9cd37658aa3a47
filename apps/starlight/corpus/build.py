#!/usr/bin/python3
"""Builds a corpus of innocent and stego images for Starlight's detector.

  build.py --output DIR --data ../shared/data --seed N --split train|validation|test --clean N --stego N [--jobs 2]
           [--generated-only]

Writes DIR/clean/, DIR/stego/METHOD/ and DIR/manifest.jsonl. Each image depends on seed, split and its number alone: the same
arguments give the same bytes. --generated-only does without the data folder. README.md describes the manifest.
"""
import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

import embed
import sources
from dice import Dice
from payloads import SPLITS, Writer
from variants import ALL, Hiding, Made, Maker

SUFFIX = {"jpeg": "jpg"}


def plan(number, stego):
    """(format, Hiding) of an image: round robin over methods, then formats, then bit orders and marks."""
    formats = list(ALL)
    if not stego:
        return formats[number % len(formats)], Hiding()
    method = embed.METHODS[number % len(embed.METHODS)]
    number //= len(embed.METHODS)
    choices = embed.FORMATS[method]
    form = choices[number % len(choices)]
    number //= len(choices)
    if method == "alpha":
        return form, Hiding(method, "lsb-first", True)
    if method == "exif":
        return form, Hiding(method)
    if method == "raw":
        variant = embed.RAW_VARIANTS[number % len(embed.RAW_VARIANTS)]
        return form, Hiding(method, marked=variant == "marked", raw_variant=variant)
    return form, Hiding(method, embed.ORDERS[number % 2], bool(number // 2 % 2))


class Builder:
    def __init__(self, output, data, seed, split):
        self.output, self.seed, self.split = output, seed, split
        real = () if data is None else sources.real_sources(data, split)
        self.originals = {} if data is None else sources.originals(data, split)
        self.maker = Maker(Writer(split, data), real, self.originals, f"made-{split}-{seed}")

    def build(self, job):
        """Writes one image and returns its line of the manifest."""
        number, stego = job
        form, hiding = plan(number, stego)
        d = Dice(f"image/{self.seed}/{self.split}/{'stego' if stego else 'clean'}/{number}")
        original = None if stego else self._original(form, number // len(ALL))
        made = original or self.maker.make(d, form, hiding)
        folder = f"stego/{hiding.method}" if stego else "clean"
        name = f"{folder}/{number:06}.{SUFFIX.get(form, form)}"
        (self.output / name).write_bytes(made.data)
        return {"file": name, "is_stego": stego, "method": hiding.method, "bit_order": hiding.order, "marked": hiding.marked,
                "payload": hiding.text, "payload_kind": hiding.text_kind, "format": form, "carrier": made.carrier,
                "kind": made.kind, "source": made.source, "split": self.split}


    def _original(self, form, turn):
        """Every eighth innocent image of a format is a source's file as it is, each once."""
        paths = self.originals.get(form, ())
        if turn % 8 or turn // 8 >= len(paths):
            return None
        path = paths[turn // 8]
        return Made(path.read_bytes(), "original", "original", path.stem, Hiding())


_builder = None


def _start(*arguments):
    global _builder
    _builder = Builder(*arguments)


def _build(job):
    return _builder.build(job)


def build(output, data, seed, split, clean_count, stego_count, jobs=1):
    """Builds the whole corpus and returns the lines of its manifest. `data` None: made-up images only."""
    output = Path(output)
    for folder in ("clean", *(f"stego/{method}" for method in embed.METHODS)):
        (output / folder).mkdir(parents=True, exist_ok=True)
    work = [(i, False) for i in range(clean_count)] + [(i, True) for i in range(stego_count)]
    arguments = (output, data, seed, split)
    if jobs > 1:
        with multiprocessing.Pool(jobs, _start, arguments) as pool:
            lines = list(pool.imap(_build, work, chunksize=16))
    else:
        builder = Builder(*arguments)
        lines = [builder.build(job) for job in work]
    partial = output / "manifest.jsonl.part"
    partial.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    os.replace(partial, output / "manifest.jsonl")
    return lines


def main():
    parser = argparse.ArgumentParser(description="Build a corpus of innocent and stego images.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with images/ and text/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--clean", type=int, default=6000)
    parser.add_argument("--stego", type=int, default=6000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--generated-only", action="store_true", help="no photographs and no news texts")
    args = parser.parse_args()
    data = None if args.generated_only else args.data
    if data is not None and not (data / "images").is_dir():
        parser.error(f"{data / 'images'} is not there; --data names the folder, --generated-only does without")
    if (args.output / "manifest.jsonl").exists():
        parser.error(f"{args.output} holds a corpus already")
    lines = build(args.output, data, args.seed, args.split, args.clean, args.stego, args.jobs)
    size = sum((args.output / line["file"]).stat().st_size for line in lines)
    print(f"{len(lines)} images, {size / 1e6:.0f} MB, {args.output / 'manifest.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    main()
