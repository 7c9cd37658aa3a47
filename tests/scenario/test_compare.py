"""slipway compare: two models on the same samples. The models here read their verdict out of the sample, so that every
count is known beforehand."""
import json
import math
import shutil

import numpy as np
import pytest

from helpers.client import tensor
from helpers.onnx_graph import Graph


def column(path, index, columns=4, name="score", input_name="x", opset=17):
    """A model whose score is one column of its input [N, columns]."""
    g = Graph(opset)
    g.input(input_name, ["N", columns])
    g.node("Gather", [input_name, g.const("column", np.array([index], np.int64))], name, axis=1)
    return g.output(name, ["N", 1]).save(path)


def requests(path, rows, labels=None, key="is_stego", more=None):
    """A line for each row; row i scores rows[i][k] with column model k."""
    lines = []
    for i, row in enumerate(rows):
        line = {"inputs": [tensor("x", [1, len(row)], "FP32", list(row))]}
        if labels is not None and labels[i] is not None:
            line[key] = labels[i]
        lines.append({**line, **(more[i] if more else {})})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def pair(tmp_path):
    return column(tmp_path / "a.onnx", 0), column(tmp_path / "b.onnx", 1)


@pytest.fixture
def compare(run_slipway):
    def run(a, b, data, *options, code=0):
        done = run_slipway("compare", a, b, "--data", data, "--json", *options)
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)
    return run


def detector_rows(fp_a, fp_b, clean, found_a, found_b, stego):
    """Scores of both models: A calls the first fp_a clean ones positive, B the last fp_b; the same of positives."""
    rows = [[0.9 if i < fp_a else 0.1, 0.9 if i >= clean - fp_b else 0.1, 0, 0] for i in range(clean)]
    rows += [[0.9 if i < found_a else 0.1, 0.9 if i < found_b else 0.1, 0, 0] for i in range(stego)]
    return rows, [False] * clean + [True] * stego


def wilson(k, n, z=1.959963984540054):
    p = k / n
    centre, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return [max(0, centre - half), min(1, centre + half)]


def test_counts_rates_and_intervals(compare, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(3, 5, 40, 18, 16, 20))
    report = compare(*pair, data, "--max-fpr-increase", "0.2")
    assert report["samples"] == report["compared"] == 60 and report["task"] == "binary" and report["labelled"]
    for side, fp, found in (("a", 3, 18), ("b", 5, 16)):
        rates = report[side]
        assert (rates["false_positives"]["count"], rates["false_positives"]["of"]) == (fp, 40)
        assert (rates["detection"]["count"], rates["detection"]["of"]) == (found, 20)
        assert rates["false_positives"]["rate"] == pytest.approx(fp / 40)
        assert rates["false_positives"]["interval_95"] == pytest.approx(wilson(fp, 40), abs=1e-9)
        assert rates["detection"]["interval_95"] == pytest.approx(wilson(found, 20), abs=1e-9)
        assert rates["accuracy"] is None
    difference = report["difference"]["false_positives"]
    assert difference["value"] == pytest.approx(2 / 40) and (difference["only_a"], difference["only_b"]) == (3, 5)
    low, high = difference["interval_95"]
    assert -0.12 < low < 0 < 2 / 40 < high < 0.22
    assert report["difference"]["detection"]["value"] == pytest.approx(-2 / 20)
    assert report["agreement"]["count"] == 60 - 3 - 5 - 2 and report["agreement"]["of"] == 60
    assert report["score"]["max_difference"] == pytest.approx(0.8)
    assert report["score"]["mean_difference"] == pytest.approx(0.8 * 10 / 60)
    assert report["outputs"] == [{"name": "score", "elements": 60, "max_difference": pytest.approx(0.8),
                                  "mean_difference": pytest.approx(0.8 * 10 / 60),
                                  "mean_magnitude": pytest.approx((0.9 * 21 + 0.1 * 39) / 60)}]
    assert report["passed"] and report["gates"] == [
        {"name": "max-fpr-increase", "limit": 0.2, "value": pytest.approx(0.05), "passed": True}]


def test_what_they_differ_on_is_shown_first_ones_first(compare, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(0, 15, 40, 5, 5, 5))
    report = compare(*pair, data, code=1)
    assert [case["index"] for case in report["differ"]] == list(range(25, 35))
    first = report["differ"][0]
    assert first["where"].endswith("d.jsonl line 26") and first["label"] == "false"
    assert first["a"] == "negative (0.1)" and first["b"] == "positive (0.9)"


@pytest.mark.parametrize("fp_b, options, code", [
    (1, [], 0),                                # 0.001 more: at the limit, not above
    (2, [], 1),
    (2, ["--max-fpr-increase", "0.002"], 0),
    (1, ["--max-fpr-increase", "0.0009"], 1),
    (0, ["--max-fpr-increase", "0"], 0),
])
def test_the_false_positive_gate_is_on_by_itself(compare, run_slipway, pair, tmp_path, fp_b, options, code):
    rows, labels = detector_rows(0, fp_b, 1000, 3, 3, 3)
    data = requests(tmp_path / "d.jsonl", rows, labels)
    report = compare(*pair, data, "--timed", "0", *options, code=code)
    assert [g["name"] for g in report["gates"]] == ["max-fpr-increase"] and report["passed"] is (code == 0)
    assert report["gates"][0]["value"] == pytest.approx(fp_b / 1000) and report["gates"][0]["passed"] is (code == 0)
    done = run_slipway("compare", *pair, "--data", data, "--timed", "0", *options)
    assert done.returncode == code
    assert f"gate        --max-fpr-increase {options[1] if options else '0.001'}: {'passed' if code == 0 else 'FAILED'}" in done.stdout
    assert done.stdout.rstrip().endswith(f"comparison  {'passed' if code == 0 else 'FAILED'}")


def test_fewer_false_positives_are_no_increase(compare, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(9, 0, 10, 3, 3, 3))
    assert compare(*pair, data)["gates"][0]["value"] == pytest.approx(-0.9)


@pytest.mark.parametrize("options, failing", [
    (["--min-detection", "0.8"], []),
    (["--min-detection", "0.81"], ["min-detection"]),
    (["--max-detection-drop", "0.1"], []),
    (["--max-detection-drop", "0.09"], ["max-detection-drop"]),
    (["--min-agreement", "0.96"], []),
    (["--min-agreement", "0.97"], ["min-agreement"]),
    (["--max-size-ratio", "1"], []),
    (["--max-size-ratio", "0.99"], ["max-size-ratio"]),
    (["--max-latency-ratio", "1000"], []),
    (["--max-latency-ratio", "0"], ["max-latency-ratio"]),
    (["--min-detection", "1", "--min-agreement", "1"], ["min-detection", "min-agreement"]),
])
def test_each_gate_passes_at_its_limit_and_is_named_when_it_fails(compare, run_slipway, pair, tmp_path, options, failing):
    data = requests(tmp_path / "d.jsonl", *detector_rows(0, 0, 30, 18, 16, 20))
    report = compare(*pair, data, *options, code=1 if failing else 0)
    assert [g["name"] for g in report["gates"] if not g["passed"]] == failing
    assert len(report["gates"]) == 1 + len(options) // 2
    if failing:
        done = run_slipway("compare", *pair, "--data", data, *options)
        for name in failing:
            assert f"gate        --{name} " in done.stdout and "FAILED, it is" in done.stdout


def test_a_gate_without_anything_to_measure_fails(run_slipway, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(0, 0, 5, 0, 0, 0))
    done = run_slipway("compare", *pair, "--data", data, "--min-detection", "0.5")
    assert done.returncode == 1
    assert "gate        --min-detection 0.5: FAILED, there is nothing to measure it on" in done.stdout
    only_positives = requests(tmp_path / "p.jsonl", *detector_rows(0, 0, 0, 5, 5, 5))
    done = run_slipway("compare", *pair, "--data", only_positives)
    assert done.returncode == 0 and "gate " not in done.stdout, "the gate that is on by itself needs clean samples"


def test_threshold_and_score_decide(compare, tmp_path):
    g = Graph()
    g.input("x", ["N", 4])
    g.node("Identity", ["x"], "all")
    g.output("all", ["N", 4]).save(tmp_path / "a.onnx")
    shutil.copy(tmp_path / "a.onnx", tmp_path / "b.onnx")
    data = requests(tmp_path / "d.jsonl", [[0.1, 0.3, 0.7, 0], [0.1, 0.7, 0.3, 0]], [False, True])
    a, b = tmp_path / "a.onnx", tmp_path / "b.onnx"
    report = compare(a, b, data, "--score", "all:1")
    assert report["a"]["false_positives"]["count"] == 0 and report["a"]["detection"]["count"] == 1
    report = compare(a, b, data, "--score", "all:1", "--threshold", "0.25")
    assert report["a"]["false_positives"]["count"] == 1 and report["a"]["detection"]["count"] == 1
    assert report["size_ratio"] == 1 and report["agreement"]["rate"] == 1


def test_a_bundle_with_a_threshold_against_a_bare_model(compare, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    column(folder / "m.onnx", 0)
    (folder / "bundle.yaml").write_text("output: { threshold: { tensor: score, value: 0.8, name: hit } }\n")
    done = column(tmp_path / "b.onnx", 0)
    data = requests(tmp_path / "d.jsonl", [[0.7, 0, 0, 0], [0.85, 0, 0, 0]], [False, True])
    report = compare(folder, done, data, code=1)
    assert report["a"]["false_positives"]["count"] == 0 and report["b"]["false_positives"]["count"] == 1
    assert report["differ"][0]["a"] == "negative (0.7)" and report["differ"][0]["b"] == "positive (0.7)"


def test_classes_of_digits(compare, run_slipway, digits, tmp_path):
    for path in sorted((digits / "samples").iterdir()):
        (tmp_path / "pictures" / path.stem[-1]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "pictures" / path.stem[-1])
    assert run_slipway("quantize", digits, "digits8", "--calibration", "pictures").returncode == 0
    report = compare(digits, tmp_path / "digits8", tmp_path / "pictures", "--max-accuracy-drop", "0", "--min-agreement", "1",
                     "--max-size-ratio", "0.3")
    assert report["task"] == "classes" and report["a"]["accuracy"] == report["b"]["accuracy"]
    assert report["a"]["accuracy"]["of"] == 20 and report["difference"]["accuracy"]["value"] == 0
    assert {o["name"] for o in report["outputs"]} == {"scores", "score"}
    assert 0 < report["score"]["max_difference"] < 0.05
    assert report["a"]["bytes"] == (digits / "digits.onnx").stat().st_size
    report = compare(digits, tmp_path / "digits8", digits / "samples")
    assert not report["labelled"] and report["a"]["accuracy"] is None and report["agreement"]["count"] == 20
    assert report["gates"] == []


def test_arrays_without_labels(compare, tmp_path):
    x = np.random.RandomState(1).random_sample((50, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    a, b = column(tmp_path / "a.onnx", 0), column(tmp_path / "b.onnx", 1)
    report = compare(a, b, tmp_path / "x.npy", "--threshold", "0.25")
    agreed = int(((x[:, 0] >= 0.25) == (x[:, 1] >= 0.25)).sum())
    assert report["samples"] == 50 and report["agreement"]["count"] == agreed
    assert report["score"]["max_difference"] == pytest.approx(np.abs(x[:, 0] - x[:, 1]).max(), rel=1e-6)
    assert compare(a, b, tmp_path / "x.npy", "--samples", "10")["samples"] == 10


def test_models_without_a_verdict_are_compared_by_their_outputs(run_slipway, tmp_path):
    for name, factor in (("a", 1.0), ("b", 1.5)):
        g = Graph()
        g.input("x", ["N", 3, 2])
        g.node("Mul", ["x", g.const("f", np.float32(factor))], "y")
        g.output("y", ["N", 3, 2]).save(tmp_path / f"{name}.onnx")
    np.save(tmp_path / "x.npy", np.ones((4, 3, 2), np.float32))
    done = run_slipway("compare", "a.onnx", "b.onnx", "--data", "x.npy")
    assert done.returncode == 0 and "verdicts    none" in done.stdout
    assert "output      y: moved by at most 0.5, 0.5 on average (values are 1 on average)" in done.stdout
    done = run_slipway("compare", "a.onnx", "b.onnx", "--data", "x.npy", "--min-agreement", "1")
    assert done.returncode == 2 and "--min-agreement needs an output that is a verdict" in done.stderr


def test_counts_do_not_depend_on_threads(compare, pair, tmp_path):
    rows = np.random.RandomState(5).random_sample((500, 4)).tolist()
    data = requests(tmp_path / "d.jsonl", rows, [i % 3 == 0 for i in range(500)])
    found = []
    for threads in ("1", "7"):
        report = compare(*pair, data, "--threads", threads, "--timed", "0", "--max-fpr-increase", "1")
        for key in ("score", "outputs"):  # sums of floats in another order
            report[key] = json.loads(json.dumps(report[key]), parse_float=lambda t: round(float(t), 6))
        found.append(report)
    assert found[0] == found[1]
    assert found[0]["latency_ratio"] is None and found[0]["a"]["request_ms"] is None


def test_time_is_measured_for_both(compare, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(0, 0, 5, 2, 2, 2))
    report = compare(*pair, data, "--timed", "37")
    assert report["timed"] == 37, "seven samples, again and again"
    for side in ("a", "b"):
        assert 0 < report[side]["run_ms"]["p50"] <= report[side]["run_ms"]["p95"]
        assert report[side]["run_ms"]["p50"] <= report[side]["request_ms"]["p50"]
    assert report["latency_ratio"] == pytest.approx(report["b"]["request_ms"]["p50"] / report["a"]["request_ms"]["p50"], rel=1e-6)


# ---- samples that cannot be run


def test_a_sample_that_one_model_refuses_fails(compare, run_slipway, tmp_path):
    """B looks column 3 up in a table of two: 7 is beyond it."""
    a = column(tmp_path / "a.onnx", 0)
    g = Graph()
    g.input("x", ["N", 4])
    g.node("Gather", ["x", g.const("column", np.array([3], np.int64))], "place", axis=1)
    g.node("Gather", [g.const("table", np.array([0.1, 0.9], np.float32)), g.node("Cast", ["place"], "index", to=7)], "score")
    b = g.output("score", ["N", 1]).save(tmp_path / "b.onnx")
    data = requests(tmp_path / "d.jsonl", [[0.1, 0, 0, 0], [0.9, 0, 0, 1], [0.1, 0, 0, 7]], [False, True, False])
    report = compare(a, b, data, code=1)
    assert report["compared"] == 2 and not report["passed"] and report["gates"][0]["passed"]
    assert (report["a"]["refused_alone"], report["b"]["refused_alone"], report["refused_by_both"]) == (0, 1, 0)
    assert report["differ"][0]["where"].endswith("line 3") and report["differ"][0]["b"].startswith("refused: ")
    done = run_slipway("compare", a, b, "--data", data)
    assert done.returncode == 1 and f"FAILED      {b} refuses 1 samples that the other model answers" in done.stdout


def test_what_both_refuse_is_counted_and_left_out(compare, run_slipway, digits, tmp_path):
    shutil.copytree(digits / "samples", tmp_path / "pictures")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    report = compare(digits, digits, tmp_path / "pictures")
    assert report["refused_by_both"] == 1 and report["compared"] == 20 and report["passed"]
    assert report["differ"][0]["where"].endswith("broken.png") and report["differ"][0]["a"].startswith("refused: ")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "broken.png").write_bytes(b"no picture")
    done = run_slipway("compare", digits, digits, "--data", "none")
    assert done.returncode == 1 and "no sample could be compared" in done.stderr and "broken.png" in done.stderr


@pytest.mark.parametrize("labels, message", [
    ([True, None, False], "line 2: the sample has no label, others have"),
    ([True, "cat", False], "line 2: label cat: must be true, false, 0 or 1"),
])
def test_labels_that_do_not_fit(run_slipway, pair, tmp_path, labels, message):
    data = requests(tmp_path / "d.jsonl", [[0, 0, 0, 0]] * 3, labels, key="label")
    done = run_slipway("compare", *pair, "--data", data)
    assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.parametrize("words, code, message", [
    (["a.onnx", "b.onnx"], 2, "--data is missing"),
    (["a.onnx"], 2, "B is missing"),
    (["a.onnx", "nowhere.onnx", "--data", "d.jsonl"], 3, "nowhere.onnx"),
    (["a.onnx", "b.onnx", "--data", "nowhere"], 3, "nowhere"),
    (["a.onnx", "b.onnx", "--data", "d.jsonl", "--max-fpr-increase", "-1"], 2, "--max-fpr-increase: '-1' must be a number from 0 to 1"),
    (["a.onnx", "b.onnx", "--data", "d.jsonl", "--max-accuracy-drop", "0"], 2, "--max-accuracy-drop needs labels that are classes"),
    (["a.onnx", "b.onnx", "--data", "u.jsonl", "--max-fpr-increase", "0"], 2, "--max-fpr-increase needs labels that are true or false"),
    (["a.onnx", "b.onnx", "--data", "d.jsonl", "--timed", "0", "--max-latency-ratio", "2"], 2, "needs requests that are timed"),
    (["a.onnx", "b.onnx", "--data", "d.jsonl", "--score", "nothing"], 2, "has no output 'nothing'"),
    (["a.onnx", "other.onnx", "--data", "d.jsonl"], 1, "no sample could be compared"),
    (["a.onnx", "b.onnx", "--data", "d.jsonl", "--output", "no/such/file.json"], 3, "no/such/file.json"),
])
def test_wrong_usage(run_slipway, pair, tmp_path, words, code, message):
    column(tmp_path / "other.onnx", 0, input_name="z")
    requests(tmp_path / "d.jsonl", [[0, 0, 0, 0]] * 2, [True, False])
    requests(tmp_path / "u.jsonl", [[0, 0, 0, 0]] * 2)
    done = run_slipway("compare", *words)
    assert done.returncode == code and message in done.stderr, (done.returncode, done.stderr)


def test_output_is_written_as_well(compare, run_slipway, pair, tmp_path):
    data = requests(tmp_path / "d.jsonl", *detector_rows(0, 0, 5, 2, 2, 2))
    done = run_slipway("compare", *pair, "--data", data, "--output", "out.json")
    assert done.returncode == 0 and done.stdout.startswith("7 samples of ")
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["samples"] == 7 and report["passed"] is True
    lines = done.stdout.splitlines()
    assert lines[2].split() == ["FIGURE", "A", "B", "B", "AGAINST", "A"]
    assert any(line.split("  ")[0] == "false positives" and "0 of 5: 0 % (0 to 43.45)" in line for line in lines)
    assert any(line.startswith("verdicts    agree on 7 of 7 samples: 100.00 %") for line in lines)


def test_a_quantised_detector_may_take_the_place_of_the_other(compare, run_slipway, tmp_path):
    """An MLP that was fitted to tell two clouds apart, quantised on other samples of them."""
    rng = np.random.RandomState(3)
    centre = rng.standard_normal(32).astype(np.float32)
    w = np.concatenate([np.outer(centre, np.linspace(0.1, 1, 64)) / 32 + 0.02 * rng.standard_normal((32, 64))]).astype(np.float32)
    v = (np.linspace(0.1, 1, 64)[:, None] / 20).astype(np.float32)
    g = Graph()
    g.input("x", ["N", 32])
    g.node("Relu", [g.node("Gemm", ["x", g.const("w", w)], "h")], "r")
    g.node("Sigmoid", [g.node("Gemm", ["r", g.const("v", v), g.const("b", np.array([-0.5], np.float32))], "z")], "score")
    g.output("score", ["N", 1]).save(tmp_path / "m.onnx")

    def cloud(n, sign):
        return (rng.standard_normal((n, 32)) * 0.5 + sign * centre).astype(np.float32)

    np.save(tmp_path / "calibration.npy", np.concatenate([cloud(100, 1), cloud(100, -1)]))
    rows = np.concatenate([cloud(300, -1), cloud(300, 1)])
    data = requests(tmp_path / "d.jsonl", rows.tolist(), [False] * 300 + [True] * 300)
    for mode in ("qdq", "dynamic"):
        done = run_slipway("quantize", "m.onnx", f"{mode}.onnx", "--mode", mode, "--calibration", "calibration.npy")
        assert done.returncode == 0, done.stderr
        report = compare(tmp_path / "m.onnx", tmp_path / f"{mode}.onnx", data, "--max-fpr-increase", "0.001",
                         "--min-detection", "0.95", "--min-agreement", "0.99")
        assert report["a"]["detection"]["rate"] > 0.95 and report["a"]["false_positives"]["rate"] < 0.05
        assert 0 < report["score"]["max_difference"] < 0.05
