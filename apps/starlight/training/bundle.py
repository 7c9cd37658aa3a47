"""Writes the detector's bundle: model, bundle.yaml, calibration, samples with golden answers."""
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import evidence
import network

# False alarms cost more than misses: most images are clean. Chosen on validation images.
THRESHOLD = 0.8
TOLERANCE = 2e-3
SAMPLE_BYTES_MAX = 24000
SAMPLES_OF_EACH = 2

BUNDLE = """\
# Written by apps/starlight/training/train.py; figures in ../README.md come from `slipway evaluate`.
name: starlight
model: detector.onnx
description: Is something hidden in this image? Text in bit planes, palette indices, EXIF, or behind the end of the file.
batching: {{ max_batch: 32, max_delay_us: 500 }}
input: {{ kind: starlight, max_bytes: 134217728 }} # over HTTP starlight.max_image_bytes decides
output:
  calibrate: {{ file: calibration.json, tensor: stego_score, name: stego_probability }}
  threshold: {{ value: {threshold}, tensor: stego_probability, name: is_stego }}
  starlight: true
golden: golden.jsonl
gates: {{ max_fpr: 0.0007 }}
metadata:
  false_positive_rate: {fpr:.6f}      # on {clean} clean test images
  false_positives: {false_positives}
  clean_n: {clean}
  detection_rate: {detection:.6f}     # on {stego} test images with a payload
  detected: {detected}
  stego_n: {stego}
  accuracy: {accuracy:.6f}
  training_seed: {seed}
  command: {command}
"""


def wilson(right, n, z=1.959964):
    """95 % interval of a share (E. B. Wilson, 1927)."""
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def choose_samples(folder):
    """Small generated images: some clean ones of each format, some of each method."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    chosen, counts = [], {}
    for row in rows:
        kind = row["method"] or "clean-" + row["format"]
        if counts.get(kind, 0) < SAMPLES_OF_EACH and (folder / row["file"]).stat().st_size <= SAMPLE_BYTES_MAX:
            counts[kind] = counts.get(kind, 0) + 1
            chosen.append((f"{kind.replace('.', '-')}-{counts[kind]}", row))
    return chosen


def write_samples(output, tool, parameters, slope, offset, seed):
    """samples/ and golden.jsonl: what the numpy forward pass gives, not what an ONNX runtime gives."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([sys.executable, Path(__file__).resolve().parents[1] / "corpus/build.py", "--output", folder,
                        "--seed", str(seed), "--split", "test", "--clean", "120", "--stego", "80", "--generated-only"],
                       check=True, stdout=sys.stderr)
        rows, values = evidence.of_images(tool, folder, jobs=1)
        index = {row["file"]: i for i, row in enumerate(rows)}
        score, shares, _ = network.image_logits(parameters, values)
        probability = network.sigmoid(slope * score + offset)
        shutil.rmtree(output / "samples", ignore_errors=True)
        (output / "samples").mkdir(parents=True)
        lines = []
        for name, row in choose_samples(folder):
            file = f"samples/{name}{Path(row['file']).suffix}"
            shutil.copyfile(folder / row["file"], output / file)
            i = index[row["file"]]
            hidden = bool(probability[i] >= THRESHOLD)
            method = network.METHODS[int(shares[i].argmax())][0] if hidden else ""
            if hidden != row["is_stego"] or (hidden and method != row["method"]):
                raise SystemExit(f"{row['file']}: the detector is wrong about it; another seed gives other samples")
            lines.append(json.dumps({
                "inputs": [{"name": "image", "file": file}],
                "outputs": [
                    {"name": "stego_probability", "shape": [1], "datatype": "FP32", "data": [float(f"{probability[i]:.6e}")]},
                    {"name": "is_stego", "shape": [1], "datatype": "BOOL", "data": [hidden]},
                    {"name": "method", "shape": [1], "datatype": "BYTES", "data": [method]},
                    {"name": "message", "shape": [1], "datatype": "BYTES", "data": [row["payload"] or ""]},
                ],
                "tolerance": TOLERANCE,
            }))
        (output / "golden.jsonl").write_text("\n".join(lines) + "\n")
        return len(lines)


def write(arguments, tool, parameters, slope, offset, counts):
    """counts: false positives, clean, detected, stego of the test images."""
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    model = network.onnx_model(parameters)
    (output / "detector.onnx").write_bytes(model)
    # Platt's own sign: 1 / (1 + exp(a score + b))
    (output / "calibration.json").write_text(json.dumps(
        {"method": "platt", "a": -slope, "b": -offset, "fitted_on": sum(arguments.validation)}, indent=2) + "\n")
    false_positives, clean, detected, stego = counts
    command = (f"apps/starlight/training/train.py --seed {arguments.seed} --epochs {arguments.epochs} "
               f"--test-seed {arguments.test_seed} --made {arguments.made} --train {arguments.train[0]} {arguments.train[1]} "
               f"--validation {arguments.validation[0]} {arguments.validation[1]} --test {arguments.test[0]} {arguments.test[1]}")
    (output / "bundle.yaml").write_text(BUNDLE.format(
        threshold=THRESHOLD, fpr=false_positives / clean, false_positives=false_positives, clean=clean,
        detection=detected / stego, detected=detected, stego=stego,
        accuracy=(clean - false_positives + detected) / (clean + stego), seed=arguments.seed, command=command))
    golden = write_samples(output, tool, parameters, slope, offset, arguments.seed)
    low, high = wilson(false_positives, clean)
    print(f"{output}: false positives {false_positives} of {clean} (95 % interval {low:.4%} to {high:.4%}), detected "
          f"{detected} of {stego}; model {len(model)} bytes, {golden} golden answers")
