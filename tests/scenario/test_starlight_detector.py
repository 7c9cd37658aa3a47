"""The detector that is in the repository: served with the real program, measured on images made here, quantised.

The images are generated (no data folder is needed) and small in number: the figures of the model card come from larger
corpora with photographs; here a fault of the pipeline, of the steps or of the model's files must show.
"""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.server import Server

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "apps" / "starlight" / "detector"
MEDIA = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run([sys.executable, ROOT / "apps/starlight/corpus/build.py", "--output", folder, "--seed", "7", "--split",
                    "test", "--clean", "150", "--stego", "150", "--generated-only"], check=True, capture_output=True)
    return folder


def evaluate(binary, bundle, corpus, *options):
    done = subprocess.run([binary, "evaluate", bundle, "--data", corpus, "--json", *options], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_golden_answers(binary):
    done = subprocess.run([binary, "validate", DETECTOR, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_figures_on_generated_images(binary, corpus):
    code, result, errors = evaluate(binary, DETECTOR, corpus, "--max-fpr", "0.02", "--min-detection", "0.96",
                                    "--min-extraction", "0.95")
    assert code == 0, (result["gates"], errors)
    assert result["samples"]["failed"] == 0 and result["samples"]["negatives"] == result["samples"]["positives"] == 150


@pytest.fixture(scope="module")
def served(binary, tmp_path_factory):
    with Server(binary, [DETECTOR], args=["--app", "starlight", "--set", "registry.enabled=false"],
                cwd=tmp_path_factory.mktemp("served")) as server:
        yield server


def test_every_sample_over_http(served):
    """What the golden answers say, as /inference says it."""
    with served.client() as client:
        for line in (DETECTOR / "golden.jsonl").read_text().splitlines():
            golden = json.loads(line)
            file = DETECTOR / golden["inputs"][0]["file"]
            wanted = {output["name"]: output["data"][0] for output in golden["outputs"]}
            answer = client.post("/inference", body=file.read_bytes(), headers={"Content-Type": MEDIA[file.suffix[1:]]})
            facts = answer.json()
            assert answer.status == 200 and facts["is_stego"] is wanted["is_stego"], facts
            assert facts["stego_probability"] == pytest.approx(wanted["stego_probability"], abs=golden["tolerance"])
            assert (facts["stego_type"] or "") == wanted["method"] and (facts["extracted_message"] or "") == wanted["message"]
            assert sum(facts["method_probabilities"].values()) == pytest.approx(facts["stego_probability"], abs=1e-5)


def test_a_found_text_is_no_verdict(served):
    """A text that the extraction would find, in a comment too short to be called hidden."""
    from io import BytesIO

    from PIL import Image

    image = Image.new("RGB", (64, 64), (200, 30, 90))
    exif = Image.Exif()
    exif[0x9286] = b"ASCII\0\0\0Screenshot"
    file = BytesIO()
    image.save(file, "JPEG", exif=exif)
    with served.client() as client:
        facts = client.post("/inference", body=file.getvalue(), headers={"Content-Type": "image/jpeg"}).json()
    assert facts["image"]["user_comment_bytes"] == 18
    assert facts["is_stego"] is False and facts["extracted_message"] is None and facts["stego_type"] is None


def test_quantised_it_is_a_quarter_and_as_good(binary, corpus, tmp_path):
    int8 = tmp_path / "int8"
    done = subprocess.run([binary, "quantize", DETECTOR, int8, "--calibration", corpus], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert (int8 / "detector.onnx").stat().st_size <= 0.27 * (DETECTOR / "detector.onnx").stat().st_size
    code, result, errors = evaluate(binary, int8, corpus, "--max-fpr", "0.02", "--min-detection", "0.96")
    assert code == 0, (result["gates"], errors)
