#!/usr/bin/python3
"""Trains the detector of Starlight and writes its bundle.

  apps/starlight/training/train.py [--data ../shared/data] [--work DIR] [--seed 1] [--output apps/starlight/detector]

What it does, in order:
  1. builds the corpora of the splits train, validation and test (corpus/build.py), each from sources of its own;
  2. takes the evidence of every carrier of every image (starlight-evidence, the code that serves the detector), and of
     carriers made up here (made_carriers.py);
  3. trains the network (network.py) on training images and made-up carriers: is text hidden in this carrier?
  4. fits the calibration (Platt) on the validation images, and chooses the threshold there;
  5. measures on the test images, at which nothing above has looked, and writes the bundle.

Needs a configured build folder (--build, default build) and the packages of tools/packages.txt. Corpora are kept in
--work and used again when they are there.
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent / "corpus")]

import bundle
import evidence
import made_carriers
import network
import payloads
from dice import Dice

ROW_SOURCES = ("image clean", "image hidden", "made clean", "made hidden")
CARRIER_OF = {("alpha", "lsb-first"): 0, ("alpha", "msb-first"): 1, ("lsb.rgb", "msb-first"): 2, ("lsb.rgb", "lsb-first"): 3,
              ("palette", "msb-first"): 4, ("palette", "lsb-first"): 5, ("exif", None): 6, ("raw", None): 7}
METHOD_NAMES = [name for name, _ in network.METHODS]


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- data

def corpus(arguments, split, clean, stego):
    seed = arguments.test_seed if split == "test" else arguments.seed
    folder = arguments.work / f"{split}-{seed}-{clean}-{stego}"
    if not (folder / "manifest.jsonl").exists():
        say(f"building {folder}")
        subprocess.run([sys.executable, HERE.parent / "corpus/build.py", "--output", folder, "--data", arguments.data,
                        "--seed", str(seed), "--split", split, "--clean", str(clean), "--stego", str(stego)],
                       check=True, stdout=sys.stderr)
    return folder


def images(arguments, tool, split, clean, stego):
    """Manifest rows, evidence (n, E, 8) and the carrier that holds the payload (n,), -1 for none."""
    rows, values = evidence.of_images(tool, corpus(arguments, split, clean, stego))
    held = np.array([CARRIER_OF[row["method"], row["bit_order"]] if row["is_stego"] else -1 for row in rows])
    return rows, values, held


def carrier_rows(values, held):
    """One row for each carrier an image has: evidence (m, E), target (m,)."""
    n, width, carriers = values.shape
    flat = values.transpose(0, 2, 1).reshape(-1, width)
    target = (np.arange(carriers)[None] == held[:, None]).reshape(-1)
    present = flat[:, 0] > 0
    return flat[present], target[present].astype(np.float32)


def made_rows(tool, count, seed, split, data):
    """Evidence and targets of made-up carriers: a third of them hold a text."""
    rng, dice = np.random.default_rng([seed, len(split)]), Dice(f"made/{seed}/{split}")
    writer = payloads.Writer(split, data)
    records, target = [], []
    for i in range(count):
        carrier = int(rng.choice([0, 1, 2, 3, 4, 5, 6, 7], p=[.14, .06, .18, .18, .12, .12, .1, .1]))
        hidden = i % 3 == 0
        records.append(made_carriers.hidden_text(rng, carrier, writer.text(dice, 4000)[0]) if hidden
                       else made_carriers.clean(rng, carrier))
        target.append(hidden)
    return evidence.of_carriers(tool, records), np.array(target, np.float32)


# ---- choosing

def platt(score, label):
    """a, b of P(hidden) = 1 / (1 + exp(-(a score + b))): Platt (1999) with his targets that are never quite 0 or 1;
    Newton's method with backtracking (Lin, Lin, Weng, 2007)."""
    positives, negatives = label.sum(), (1 - label).sum()
    target = np.where(label > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = np.stack([score, np.ones_like(score)], axis=1).astype(np.float64)

    def loss(w):
        z = x @ w
        return float(np.sum(np.logaddexp(0, z) - target * z))

    w = np.array([1.0, 0.0])
    for _ in range(100):
        p = network.sigmoid(x @ w)
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-8 and loss(w - size * step) > loss(w):
            size /= 2
        w = w - size * step
        if np.abs(gradient).max() < 1e-7:
            break
    return float(w[0]), float(w[1])


def rates(probability, threshold, held):
    """False positives, clean, detected, stego."""
    said = probability >= threshold
    return int(said[held < 0].sum()), int((held < 0).sum()), int(said[held >= 0].sum()), int((held >= 0).sum())


def report(name, rows, probability, shares, threshold, held):
    fp, clean, hit, stego = rates(probability, threshold, held)
    say(f"{name}: false positives {fp} of {clean} = {fp / max(1, clean):.4%}, detected {hit} of {stego} = {hit / max(1, stego):.4%}")
    method_of = np.array([METHOD_NAMES.index(row["method"]) if row["is_stego"] else -1 for row in rows])
    for m, method in enumerate(METHOD_NAMES):
        own = method_of == m
        right = (shares[own].argmax(axis=1) == m).mean() if own.any() else 0
        say(f"  {method}: detected {(probability[own] >= threshold).mean():.4%} of {own.sum()}, method right {right:.4%}")
    wrong = [i for i in np.argsort(-np.abs((held >= 0) - probability))
             if (probability[i] >= threshold) != (held[i] >= 0)]
    for i in wrong[:30]:
        row = rows[i]
        say(f"    {'missed' if held[i] >= 0 else 'false '} p={probability[i]:.4f} {row['file']} {row.get('carrier')} "
            f"{row.get('kind')} {row.get('method')} {row.get('bit_order')} {(row.get('payload') or '')[:40]!r}")


# ---- main

def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--work", type=Path, default=ROOT / "build-starlight")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--output", type=Path, default=HERE.parent / "detector")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--test-seed", type=int, default=1000, help="of the test images alone")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--made", type=int, default=280000, help="made-up carriers")
    parser.add_argument("--train", type=int, nargs=2, default=(8000, 8000), metavar=("CLEAN", "STEGO"))
    parser.add_argument("--validation", type=int, nargs=2, default=(4000, 4000), metavar=("CLEAN", "STEGO"))
    parser.add_argument("--test", type=int, nargs=2, default=(6500, 6500), metavar=("CLEAN", "STEGO"))
    parser.add_argument("--dry-run", action="store_true", help="measure on validation images, write nothing")
    return parser.parse_args()


def main():
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ninja", "-C", arguments.build, "apps/starlight/starlight-evidence"], check=True, stdout=sys.stderr)
    tool = arguments.build / "apps/starlight/starlight-evidence"
    train_rows = images(arguments, tool, "train", *arguments.train)
    check_rows, check_values, check_held = images(arguments, tool, "validation", *arguments.validation)
    made_x, made_y = made_rows(tool, arguments.made, arguments.seed, "train", arguments.data)
    image_x, image_y = carrier_rows(*train_rows[1:])
    x, y = np.concatenate([image_x, made_x]), np.concatenate([image_y, made_y])
    say(f"{len(image_x)} carriers of images ({image_y.mean():.3f} hidden), {len(made_x)} made up ({made_y.mean():.3f} hidden)")
    started = time.monotonic()

    def progress(epoch, parameters):
        logits = network.forward(parameters, x[::37])[0]
        say(f"epoch {epoch + 1}: loss {network.cross_entropy(logits, y[::37]):.6f}, {time.monotonic() - started:.0f} s")

    parameters = network.train(x, y, np.ones(len(x), np.float32), arguments.seed, arguments.epochs, progress)
    score, shares, _ = network.image_logits(parameters, check_values)
    slope, offset = platt(score, (check_held >= 0).astype(np.float64))
    probability = network.sigmoid(slope * score + offset)
    say(f"calibration: slope {slope:.4f}, offset {offset:.4f}")
    for quantile in (0, 0.001, 0.01, 0.5):
        say(f"  score of clean images, upper {quantile}: {np.quantile(score[check_held < 0], 1 - quantile):.2f}; "
            f"of stego, lower: {np.quantile(score[check_held >= 0], quantile):.2f}")
    report("validation", check_rows, probability, shares, bundle.THRESHOLD, check_held)
    if arguments.dry_run:
        return
    rows, values, held = images(arguments, tool, "test", *arguments.test)
    score, shares, _ = network.image_logits(parameters, values)
    probability = network.sigmoid(slope * score + offset)
    report("test", rows, probability, shares, bundle.THRESHOLD, held)
    bundle.write(arguments, tool, parameters, slope, offset, rates(probability, bundle.THRESHOLD, held))


if __name__ == "__main__":
    main()
