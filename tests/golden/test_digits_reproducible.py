"""models/digits is what tools/train_digits.py makes, byte for byte, and its figures are true."""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import load, numpy_helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "digits"


@pytest.fixture(scope="module")
def bundle():
    return yaml.safe_load((DIGITS / "bundle.yaml").read_text())


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_again_gives_the_same_bytes(tmp_path, bundle):
    command = bundle["metadata"]["command"].split()
    assert command[0] == "tools/train_digits.py"
    subprocess.run([sys.executable, ROOT / command[0], *command[1:], "--output", tmp_path], check=True, timeout=300,
                   capture_output=True)
    again, committed = files(tmp_path), files(DIGITS)
    assert sorted(again) == sorted(committed)
    assert [name for name in again if again[name] != committed[name]] == []


def test_bundle_is_small_and_accurate(bundle):
    assert sum(map(len, files(DIGITS).values())) < 300_000
    metadata = bundle["metadata"]
    assert metadata["accuracy"] == round(metadata["accuracy_right"] / metadata["accuracy_n"], 4)
    assert metadata["accuracy"] >= 0.97
    low, high = metadata["accuracy_interval_95"]
    assert low < metadata["accuracy"] < high


def test_samples_are_not_among_the_training_digits(bundle):
    """The split is fixed: what the script calls held out must hold every sample and no training picture."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import train_digits
    finally:
        sys.path.pop(0)
    pixels, labels = train_digits.load()
    rest, held_out = train_digits.split(labels, 0.2, np.random.default_rng(20))
    assert not set(rest) & set(held_out) and len(rest) + len(held_out) == len(labels)
    assert len(held_out) == bundle["metadata"]["accuracy_n"]
    known = {(pixels[i].tobytes(), labels[i]) for i in held_out}
    trained = {pixels[i].tobytes() for i in rest}
    samples = sorted((DIGITS / "samples").glob("*.png"))
    assert len(samples) == 20
    for sample in samples:
        raw = np.asarray(Image.open(sample)).tobytes()
        assert (raw, int(re.search(r"-(\d)\.png$", sample.name)[1])) in known, sample.name
        assert raw not in trained, sample.name


def test_onnx_file_is_what_was_promised():
    model = load(DIGITS / "digits.onnx")
    assert model.ir_version == 8 and [(o.domain, o.version) for o in model.opset_import] == [("", 17)]

    def signature(values):
        return [(v.name, [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim]) for v in values]

    assert signature(model.graph.input) == [("pixels", ["n", 1, 8, 8])]
    assert signature(model.graph.output) == [("scores", ["n", 10])]
    for initializer in model.graph.initializer:
        weights = numpy_helper.to_array(initializer)
        assert weights.dtype == np.float32 and np.array_equal(weights * 4096, np.rint(weights * 4096))


def test_golden_answers_are_probabilities():
    lines = [json.loads(line) for line in (DIGITS / "golden.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    for line in lines:
        assert (DIGITS / line["inputs"][0]["file"]).is_file()
        outputs = {output["name"]: output["data"] for output in line["outputs"]}
        assert abs(sum(outputs["scores"]) - 1) < 1e-5
        assert outputs["label"] == [str(int(np.argmax(outputs["scores"])))]
        assert outputs["score"] == [max(outputs["scores"])]
