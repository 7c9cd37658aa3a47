"""slipway evaluate and calibrate: every figure against one that was known beforehand or that scikit-learn gives."""
import json
import math
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from scipy import optimize, stats
from sklearn import isotonic, metrics
from sklearn.calibration import _sigmoid_calibration

from helpers import lookup

COUNT = 900


@pytest.fixture(scope="module")
def samples():
    return lookup.make_samples(COUNT)


@pytest.fixture(scope="module")
def model(samples, tmp_path_factory):
    return lookup.write_model(samples, tmp_path_factory.mktemp("model") / "lookup")


@pytest.fixture(scope="module")
def data(samples, tmp_path_factory):
    return lookup.write_data(samples, tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def evaluate(run_slipway):
    """Runs `evaluate ... --json` and returns the report; code: the exit code it must have."""
    def run(*arguments, code=0):
        done = run_slipway("evaluate", *arguments, "--json")
        assert done.returncode == code, done.stdout[-2000:] + done.stderr
        return json.loads(done.stdout)
    return run


def wilson(k, n, confidence=0.95):
    z = stats.norm.ppf(1 - (1 - confidence) / 2)
    centre, half = k / n + z * z / (2 * n), z * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def exact(k, n, confidence=0.95):
    tail = (1 - confidence) / 2
    return (stats.beta.ppf(tail, k, n - k + 1) if k else 0, stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1)


def assert_rate(found, hits, interval=wilson, **options):
    """hits: a list of booleans, one a sample that counts."""
    k, n = sum(hits), len(hits)
    assert (found["count"], found["of"]) == (k, n)
    assert found["rate"] == pytest.approx(k / n, rel=1e-8)
    low, high = interval(k, n, **options)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-8), pytest.approx(high, abs=1e-8))


def assert_tally(found, samples, **options):
    clean, stego = [s for s in samples if not s.stego], [s for s in samples if s.stego]
    detected = [s for s in stego if s.positive]
    parts = {"false_positives": [s.positive for s in clean], "detection": [s.positive for s in stego],
             "extraction": [s.message == s.payload for s in detected]}
    for name, hits in parts.items():
        assert (name in found) == bool(hits)
        if hits:
            assert_rate(found[name], hits, **options)


# ---- a detector


def test_every_count_is_the_one_known_beforehand(evaluate, model, data, samples):
    report = evaluate(model, "--data", data)
    assert report["task"] == "binary" and report["model"] == "lookup"
    assert report["outputs"] == {"positive": "is_stego", "score": "probability", "method": "method", "message": "message"}
    assert report["samples"] == {"total": COUNT, "evaluated": COUNT, "failed": 0, "broken_refused": 0, "broken_answered": 0,
                                 "negatives": COUNT * 2 // 3, "positives": COUNT // 3}
    assert_tally(report, samples)
    assert 0 < report["false_positives"]["count"] < 100 < report["detection"]["count"] < COUNT // 3
    tables = {table["key"]: {group["value"]: group for group in table["groups"]} for table in report["by"]}
    assert list(tables) == ["method", "format", "method,format", "method,bit_order"]
    for key, groups in tables.items():
        names = key.split(",")
        having = [s for s in samples if all(getattr(s, name) is not None for name in names)]
        of = {value: [s for s in having if ", ".join(getattr(s, name) for name in names) == value] for value in groups}
        assert sum(map(len, of.values())) == len(having) and list(groups) == sorted(groups)
        for value, group in groups.items():
            assert_tally(group, of[value])


def test_method_confusion(evaluate, model, data, samples):
    found = evaluate(model, "--data", data)["methods"]
    detected = [s for s in samples if s.stego and s.positive]
    counts = Counter((s.method, s.said) for s in detected)
    assert found["classes"] == sorted(lookup.METHODS)
    assert found["counts"] == [[counts[row, column] for column in found["classes"]] for row in found["classes"]]
    assert_rate(found["accuracy"], [s.method == s.said for s in detected])
    for name, recall in zip(found["classes"], found["recall"]):
        assert_rate(recall, [s.said == name for s in detected if s.method == name])


def test_scores_as_scikit_learn_has_them(evaluate, model, data, samples):
    report = evaluate(model, "--data", data, "--bins", 12)
    truth = np.array([s.stego for s in samples])
    probability = np.array([s.probability for s in samples])
    assert report["roc"]["auc"] == pytest.approx(metrics.roc_auc_score(truth, probability), abs=1e-9)
    fpr, tpr, _ = metrics.roc_curve(truth, probability, drop_intermediate=False)
    ours = np.array([[p["false_positives"], p["true_positives"]] for p in report["roc"]["points"]])
    assert {tuple(p) for p in ours} <= set(zip(np.rint(fpr * (~truth).sum()).astype(int), np.rint(tpr * truth.sum()).astype(int)))
    area = np.trapz(ours[:, 1] / truth.sum(), ours[:, 0] / (~truth).sum())
    assert area == pytest.approx(report["roc"]["auc"], abs=1e-9)  # nothing was lost by leaving points out
    found = report["calibration"]
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, probability), abs=1e-7)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, probability), abs=1e-7)
    place = np.minimum((probability * 12).astype(int), 11)
    error = 0
    for k, bin_ in enumerate(found["equal_width"]["bins"]):
        inside = place == k
        assert (bin_["observed"]["of"], bin_["observed"]["count"]) == (inside.sum(), truth[inside].sum())
        assert bin_["mean_predicted"] == pytest.approx(probability[inside].mean(), abs=1e-7)
        error += abs(probability[inside].mean() - truth[inside].mean()) * inside.mean()
    assert found["equal_width"]["ece"] == pytest.approx(error, abs=1e-7)
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, 12)
    assert [b["observed"]["of"] for b in found["equal_mass"]["bins"]] == [len(p) for p in parts]
    error = sum(abs(probability[p].mean() - truth[p].mean()) * len(p) / COUNT for p in parts)
    assert found["equal_mass"]["ece"] == pytest.approx(error, abs=1e-7)


def test_the_worst_errors_are_named(evaluate, model, data, samples):
    worst = evaluate(model, "--data", data, "--worst", 4)["worst"]
    alarms = sorted((s for s in samples if not s.stego and s.positive), key=lambda s: -s.probability)
    misses = sorted((s for s in samples if s.stego and not s.positive), key=lambda s: s.probability)
    wrong = [s for s in samples if s.stego and s.positive and s.message != s.payload]
    for name, expected in (("false_positives", alarms), ("misses", misses), ("wrong_texts", wrong)):
        assert [item["where"] for item in worst[name]] == [str(data / s.file) for s in expected[:4]]
        assert [item["score"] for item in worst[name]] == pytest.approx([s.probability for s in expected[:4]], abs=1e-6)
    assert worst["misses"][0]["about"] == f"{misses[0].format}, {misses[0].method}, {misses[0].bit_order}, {misses[0].kind}"


def test_the_report_hangs_on_nothing_but_the_data(evaluate, model, data):
    reports = [evaluate(model, "--data", data, "--threads", threads) for threads in (1, 4, 4)]
    assert reports[1].pop("timing")["threads"] == 4 and reports[0].pop("timing")["threads"] == 1
    del reports[2]["timing"]
    assert reports[0] == reports[1] == reports[2]


def test_confidence_and_exact_intervals(evaluate, model, data, samples):
    report = evaluate(model, "--data", data, "--interval", "exact", "--confidence", "0.99")
    assert (report["interval"], report["confidence"]) == ("exact", 0.99)
    assert_tally(report, samples, interval=exact, confidence=0.99)


def test_tables_by_other_keys(evaluate, model, data, samples):
    report = evaluate(model, "--data", data, "--by", "kind", "--by", "kind,format", "--by", "method", "--by", "absent")
    assert [table["key"] for table in report["by"]] == ["method", "format", "method,format", "method,bit_order", "kind",
                                                        "kind,format", "absent"]
    kinds, crossed, absent = report["by"][4:]
    for group in kinds["groups"]:
        assert_tally(group, [s for s in samples if s.kind == group["value"]])
    assert len(crossed["groups"]) == 6 and absent["groups"] == []


def test_a_threshold_of_ones_own(evaluate, model, data, samples):
    report = evaluate(model, "--data", data, "--threshold", "0.25", "--score", "logit")
    assert report["outputs"]["score"] == "logit" and report["outputs"]["threshold"] == 0.25
    assert "positive" not in report["outputs"]
    assert_rate(report["detection"], [s.logit >= 0.25 for s in samples if s.stego])
    assert_rate(report["false_positives"], [s.logit >= 0.25 for s in samples if not s.stego])
    assert "calibration" not in report  # logits are no probabilities
    assert report["roc"]["auc"] == pytest.approx(
        metrics.roc_auc_score([s.stego for s in samples], [s.logit for s in samples]), abs=1e-9)


def test_folders_of_clean_and_stego_say_the_same(evaluate, model, samples, tmp_path):
    for s in samples:
        folder = tmp_path / "tree" / (f"stego/{s.method}" if s.stego else "clean")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / s.file).write_text(s.key)
    report = evaluate(model, "--data", tmp_path / "tree")
    for name in ("false_positives", "detection"):
        assert_rate(report[name], [s.positive for s in samples if s.stego == (name == "detection")])
    assert "extraction" not in report  # nobody says what was hidden
    methods = {group["value"]: group for group in report["by"][0]["groups"]}
    for method in lookup.METHODS:
        assert_rate(methods[method]["detection"], [s.positive for s in samples if s.method == method])


def test_text_for_people(run_slipway, model, data, samples):
    done = run_slipway("evaluate", model, "--data", data)
    assert done.returncode == 0 and done.stderr == ""
    clean, stego = [s for s in samples if not s.stego], [s for s in samples if s.stego]
    alarms, found = sum(s.positive for s in clean), sum(s.positive for s in stego)
    low, high = wilson(found, len(stego))
    assert done.stdout.startswith(f"lookup: {COUNT} samples in ")
    assert re.search(rf"^false positives +{alarms} of {len(clean)} ", done.stdout, re.MULTILINE)
    assert re.search(rf"^detection +{found} of {len(stego)} +{100 * found / len(stego):.2f} % +{100 * low:.2f} to {100 * high:.2f} %$",
                     done.stdout, re.MULTILINE)
    gifs = [s for s in samples if s.method == "alpha" and s.format == "gif"]
    assert re.search(rf"^alpha, gif +{sum(s.positive for s in gifs)} of {len(gifs)} ", done.stdout, re.MULTILINE)
    auc = metrics.roc_auc_score([s.stego for s in samples], [s.probability for s in samples])
    assert re.search(rf"^  AUC +{auc:.6f}$", done.stdout, re.MULTILINE)
    for title in ("overall", "method,bit_order", "method, called", "worst false positives", "worst misses", "wrong texts"):
        assert re.search(rf"^{title} ", done.stdout, re.MULTILINE)
    assert re.search(r"^  latency +median [\d.]+ ms, p95 [\d.]+ ms", done.stdout, re.MULTILINE)


# ---- gates, failures


@pytest.mark.parametrize("gate, passing, failing", [
    ("--max-fpr", "0.5", "0.001"),
    ("--min-detection", "0.5", "0.99"),
    ("--min-method-detection", "0.5", "0.99"),
    ("--min-extraction", "0.5", "0.99"),
    ("--min-method-extraction", "0.5", "0.99"),
])
def test_gates(run_slipway, evaluate, model, data, samples, gate, passing, failing):
    report = evaluate(model, "--data", data, gate, passing)
    assert report["passed"] is True and [g["passed"] for g in report["gates"]] == [True]
    report = evaluate(model, "--data", data, gate, failing, "--min-detection" if gate == "--max-fpr" else "--max-fpr",
                      "0" if gate == "--max-fpr" else "1", code=1)
    assert report["passed"] is False
    assert {g["name"]: g["passed"] for g in report["gates"]} == {
        gate[2:]: False, "min-detection" if gate == "--max-fpr" else "max-fpr": True}
    found = next(g for g in report["gates"] if g["name"] == gate[2:])
    key = "false_positives" if gate == "--max-fpr" else gate.rsplit("-", 1)[1]
    if "method" in gate:
        lowest = min(report["by"][0]["groups"], key=lambda group: group[key]["rate"])
        assert found["value"] == pytest.approx(lowest[key]["rate"]) and found["of"] == f"method {lowest['value']}"
    else:
        assert found["value"] == pytest.approx(report[key]["rate"])
    text = run_slipway("evaluate", model, "--data", data, gate, failing)
    assert text.returncode == 1 and re.search(rf"^{gate[2:]} .*FAILED", text.stdout, re.MULTILINE)


def test_a_gate_that_is_just_met_passes(evaluate, model, data, samples):
    stego = [s.positive for s in samples if s.stego]
    rate = sum(stego) / len(stego)
    assert evaluate(model, "--data", data, "--min-detection", repr(rate))["passed"]
    assert not evaluate(model, "--data", data, "--min-detection", repr(math.nextafter(rate, 1)), code=1)["passed"]


def test_a_gate_without_samples_fails(run_slipway, evaluate, model, samples, tmp_path):
    clean = lookup.write_data([s for s in samples if not s.stego], tmp_path / "clean-only")
    report = evaluate(model, "--data", clean, "--min-detection", "0", code=1)
    assert report["gates"] == [{"name": "min-detection", "limit": 0, "value": None, "passed": False}]
    assert "nothing to measure" in run_slipway("evaluate", model, "--data", clean, "--min-detection", "0").stdout
    assert report["roc"]["auc"] is None
    assert evaluate(model, "--data", clean)["passed"]


@pytest.fixture
def pictures(digits, tmp_path):
    """A manifest of digits, and functions to add lines."""
    folder = tmp_path / "pictures"
    shutil.copytree(digits / "samples", folder)
    lines = [{"file": f"held-out-{i}.png", "label": i} for i in range(10)]

    def write(*more):
        (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *more]))
        return folder
    return write


def test_a_sample_that_cannot_be_decoded_is_named_and_fails_the_run(run_slipway, evaluate, digits, pictures):
    folder = pictures({"file": "cut.png", "label": 1}, {"file": "gone.png", "label": 1}, {"file": "text.png", "label": 1})
    (folder / "cut.png").write_bytes((folder / "held-out-0.png").read_bytes()[:60])
    (folder / "text.png").write_text("no picture")
    report = evaluate(digits, "--data", folder, code=1)
    assert report["samples"]["failed"] == 3 and report["samples"]["evaluated"] == 10 and report["passed"] is False
    assert [item["where"] for item in report["failures"]] == [str(folder / name) for name in ("cut.png", "gone.png", "text.png")]
    assert "No such file" in report["failures"][1]["reason"] and "PNG" in report["failures"][2]["reason"]
    assert report["accuracy"]["of"] == 10
    text = run_slipway("evaluate", digits, "--data", folder)
    assert text.returncode == 1 and re.search(r"^  failed +3 could not be evaluated$", text.stdout, re.MULTILINE)
    assert re.search(r"^.*/gone\.png .*No such file", text.stdout, re.MULTILINE)


def test_broken_samples_should_be_refused(run_slipway, evaluate, digits, pictures):
    folder = pictures({"file": "cut.png", "broken": True}, {"file": "held-out-1.png", "broken": True})
    (folder / "cut.png").write_bytes((folder / "held-out-0.png").read_bytes()[:60])
    report = evaluate(digits, "--data", folder)
    assert report["samples"] == {"total": 12, "evaluated": 10, "failed": 0, "broken_refused": 1, "broken_answered": 1}
    assert report["accuracy"]["of"] == 10
    assert "1 of 2 refused" in run_slipway("evaluate", digits, "--data", folder).stdout
    missing = pictures({"file": "nowhere.png", "broken": True})  # not there is not broken
    assert evaluate(digits, "--data", missing, code=1)["samples"]["failed"] == 1


def test_a_first_line_that_is_broken_does_not_tell_the_task(evaluate, digits, tmp_path):
    (tmp_path / "a").mkdir()
    shutil.copy(digits / "samples" / "held-out-3.png", tmp_path / "a" / "3.png")
    (tmp_path / "a" / "b.png").write_text("")
    (tmp_path / "a" / "manifest.jsonl").write_text('{"file": "b.png", "broken": true}\n{"file": "3.png", "label": 3}\n')
    report = evaluate(digits, "--data", tmp_path / "a")
    assert report["samples"]["broken_refused"] == 1 and report["accuracy"]["count"] == 1


@pytest.mark.parametrize("line, part", [
    ('{"file": "x.png", "is_stego": true', "manifest.jsonl line 3: malformed JSON"),
    ('{"file": "../x.png", "is_stego": true}', "line 3: file: \"../x.png\""),
    ('{"file": "k0.png"}', "k0.png: label is missing"),
    ('{"file": "k0.png", "label": "cat"}', "k0.png: label cat: must be true, false, 0 or 1"),
])
def test_faults_of_the_data_end_the_run_and_name_the_line(run_slipway, model, samples, tmp_path, line, part):
    folder = lookup.write_data(samples[:2], tmp_path / "faulty")
    (folder / "k0.png").write_text("k0")
    with (folder / "manifest.jsonl").open("a") as file:
        file.write(line + "\n")
    done = run_slipway("evaluate", model, "--data", folder)
    assert done.returncode == 2 and done.stdout == "" and part in done.stderr, done.stderr


@pytest.mark.parametrize("words, code, part", [
    ([], 2, "--data is missing"),
    (["--data", "/nonexistent"], 3, "/nonexistent"),
    (["--data", "DATA", "--interval", "wald"], 2, "must be wilson or exact"),
    (["--data", "DATA", "--confidence", "95"], 2, "--confidence: '95' must be a number from 0.5 to 0.9999"),
    (["--data", "DATA", "--max-fpr", "7%"], 2, "--max-fpr: '7%' must be a number from 0 to 1"),
    (["--data", "DATA", "--min-accuracy", "0.5"], 2, "--min-accuracy does not go with labels that are true or false"),
    (["--data", "DATA", "--by", "a,,b"], 2, "--by: 'a,,b'"),
    (["--data", "DATA", "--score", "speed"], 2, "--score: model lookup has no output 'speed'"),
    (["--data", "DATA", "--score", "method"], 2, "--score: output 'method' is BYTES [-1]"),
    (["--data", "DATA", "--positive", "logit"], 2, "--positive: output 'logit' is FP32"),
    (["--data", "DATA", "--threshold", "high"], 2, "--threshold: 'high' is not a number"),
    (["--data", "DATA", "--output", "/nonexistent/x.json"], 3, "/nonexistent/x.json"),
    (["--data", "DATA", "--plots", "/nonexistent/x"], 3, "/nonexistent/x"),
])
def test_usage(run_slipway, model, data, words, code, part):
    done = run_slipway("evaluate", model, *(data if word == "DATA" else word for word in words))
    assert done.returncode == code and part in done.stderr, done.stderr


def test_a_model_that_does_not_fit_the_data(run_slipway, test_models, data):
    done = run_slipway("evaluate", test_models / "mlp_45.onnx", "--data", data)
    assert done.returncode == 1
    assert "no sample could be evaluated" in done.stderr and "does not take one BYTES input" in done.stderr


# ---- classes


def test_a_classifier_of_pictures(run_slipway, evaluate, digits, pictures):
    folder = pictures(*({"file": f"unsure-{i}.png", "label": str(i), "kind": "unsure"} for i in range(10)))
    said = {}
    for line in (digits / "golden.jsonl").read_text().splitlines():
        golden = json.loads(line)
        name = golden["inputs"][0]["file"].removeprefix("samples/")
        said[name] = next(output for output in golden["outputs"] if output["name"] == "label")["data"][0]
    truth = {name: name[-5] for name in said}
    report = evaluate(digits, "--data", folder, "--by", "kind")
    assert report["task"] == "classes" and report["outputs"] == {"label": "label", "score": "score"}
    assert_rate(report["accuracy"], [said[name] == truth[name] for name in said])
    found = report["classes"]
    assert found["classes"] == [str(i) for i in range(10)]
    matrix = metrics.confusion_matrix([truth[n] for n in said], [said[n] for n in said], labels=found["classes"])
    assert found["counts"] == matrix.tolist()
    for i, recall in enumerate(found["recall"]):
        assert_rate(recall, [said[n] == truth[n] for n in said if truth[n] == str(i)])
    unsure = report["by"][0]["groups"]
    assert len(unsure) == 1 and unsure[0]["value"] == "unsure"
    assert_rate(unsure[0]["accuracy"], [said[n] == truth[n] for n in said if n.startswith("unsure")])
    wrong = {n for n in said if said[n] != truth[n]}
    assert {item["where"].rsplit("/", 1)[1] for item in report["worst"]["wrong"]} == wrong and wrong
    assert all(f"taken for {said[item['where'].rsplit('/', 1)[1]]}" in item["about"] for item in report["worst"]["wrong"])
    assert "roc" not in report and report["calibration"]["brier"] > 0
    assert evaluate(digits, "--data", folder, "--min-accuracy", "1", code=1)["gates"][0]["passed"] is False
    text = run_slipway("evaluate", digits, "--data", folder).stdout
    assert re.search(r"^class, called +0 +1 +2 +3 +4 +5 +6 +7 +8 +9$", text, re.MULTILINE)
    assert re.search(r"^surest wrong classes +score +about$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def tabular(tmp_path_factory):
    """As scikit-learn's converter writes classifiers: output_label INT64 [N], probabilities FP32 [N,2]; one input."""
    folder = tmp_path_factory.mktemp("tabular")
    one, zero = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    nodes = [helper.make_node("Sub", ["one", "x"], ["y"]), helper.make_node("Concat", ["y", "x"], ["probabilities"], axis=1),
             helper.make_node("Greater", ["x", "half"], ["above"]), helper.make_node("Cast", ["above"], ["n"], to=TensorProto.INT64),
             helper.make_node("Squeeze", ["n", "axis"], ["output_label"])]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
                              [helper.make_tensor_value_info("output_label", TensorProto.INT64, ["N"]),
                               helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])], [one, zero, axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    rows = [(0.1, 0), (0.2, 1), (0.7, 1), (0.9, 1), (0.8, 0), (0.3, 0), (0.4, 1)]
    (folder / "rows.jsonl").write_text("".join(json.dumps({
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [x]}], "label": label}) + "\n" for x, label in rows))
    return folder, rows


def test_a_classifier_of_rows(evaluate, tabular):
    folder, rows = tabular
    report = evaluate(folder / "model.onnx", "--data", folder / "rows.jsonl")
    assert report["task"] == "classes" and report["outputs"]["label"] == "output_label"
    assert_rate(report["accuracy"], [(x > 0.5) == bool(label) for x, label in rows])
    assert report["classes"]["counts"] == [[2, 1], [2, 2]]


def test_one_column_of_probabilities_as_a_score(evaluate, run_slipway, tabular):
    folder, rows = tabular
    report = evaluate(folder / "model.onnx", "--data", folder / "rows.jsonl", "--score", "probabilities:1", "--threshold", "0.35")
    assert report["task"] == "binary"
    assert_rate(report["detection"], [x >= 0.35 for x, label in rows if label])
    assert_rate(report["false_positives"], [x >= 0.35 for x, label in rows if not label])
    assert report["calibration"]["brier"] == pytest.approx(np.mean([(x - label) ** 2 for x, label in rows]), abs=1e-7)
    done = run_slipway("evaluate", folder / "model.onnx", "--data", folder / "rows.jsonl", "--score", "probabilities:2")
    assert done.returncode == 2 and "has no column 2" in done.stderr


def test_the_greatest_score_is_the_class(evaluate, run_slipway, tabular, tmp_path):
    folder, rows = tabular
    (tmp_path / "bundle.yaml").write_text("model: model.onnx\noutput: { labels: { values: [no, yes], tensor: probabilities } }\n")
    shutil.copy(folder / "model.onnx", tmp_path)
    words = [{"inputs": json.loads(line)["inputs"], "label": "yes" if json.loads(line)["label"] else "no"}
             for line in (folder / "rows.jsonl").read_text().splitlines()]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(word) + "\n" for word in words))
    report = evaluate(tmp_path, "--data", tmp_path / "words.jsonl")
    assert report["outputs"] == {"label": "label", "score": "score"}
    assert report["classes"]["classes"] == ["no", "yes"] and report["classes"]["counts"] == [[2, 1], [2, 2]]
    done = run_slipway("evaluate", tmp_path, "--data", tmp_path / "words.jsonl", "--max-fpr", "0.1")
    assert done.returncode == 2 and "--max-fpr does not go with labels that are classes" in done.stderr


# ---- files


def test_output_and_plots(run_slipway, model, data, tmp_path):
    output, plots = tmp_path / "report.json", tmp_path / "plots"
    done = run_slipway("evaluate", model, "--data", data, "--output", output, "--plots", plots)
    assert done.returncode == 0 and f"wrote {plots / 'roc.svg'}" in done.stdout
    assert json.loads(output.read_text())["samples"]["total"] == COUNT
    drawn = {path.name: path.read_text() for path in plots.iterdir()}
    assert sorted(drawn) == ["reliability.svg", "roc.svg"]
    for text in drawn.values():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and "prefers-color-scheme:dark" in text
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
        numbers = [float(n) for n in re.findall(r' (?:x|y|cx|cy|width|height)="([^"]+)"', text)]
        assert len(numbers) > 30 and 0 <= min(numbers) and max(numbers) <= max(float(root.get("width")), float(root.get("height")))
    auc = json.loads(output.read_text())["roc"]["auc"]
    assert f"lookup: ROC, AUC {auc:.5f}" in drawn["roc.svg"]
    again = tmp_path / "again"
    run_slipway("evaluate", model, "--data", data, "--plots", again, "--threads", "1")
    assert {path.name: path.read_text() for path in again.iterdir()} == drawn


# ---- calibrate


def fit(run_slipway, model, data, tmp_path, *arguments):
    output = tmp_path / "fitted.json"
    done = run_slipway("calibrate", model, "--data", data, "--output", output, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text())


def smoothed(truth):
    return np.where(truth, (truth.sum() + 1) / (truth.sum() + 2), 1 / ((~truth).sum() + 2))


def cross_entropy(values, targets):
    return np.sum(np.logaddexp(0, values) - targets * values)


def test_platt_as_scikit_learn_fits_it(run_slipway, model, data, samples, tmp_path):
    found = fit(run_slipway, model, data, tmp_path, "--score", "logit")
    a, b = _sigmoid_calibration(np.array([s.logit for s in samples]), np.array([s.stego for s in samples]))
    assert found["method"] == "platt" and found["fitted_on"] == COUNT
    assert (found["a"], found["b"]) == (pytest.approx(a, rel=2e-4), pytest.approx(b, rel=2e-3))


def test_isotonic_as_scikit_learn_fits_it(run_slipway, model, data, samples, tmp_path):
    found = fit(run_slipway, model, data, tmp_path, "--score", "logit", "--method", "isotonic")
    logits = np.array([s.logit for s in samples], dtype=np.float32).astype(float)
    reference = isotonic.IsotonicRegression(out_of_bounds="clip").fit(logits, [s.stego for s in samples])
    where = np.linspace(-12, 12, 5000)
    assert np.interp(where, found["x"], found["y"]) == pytest.approx(reference.predict(where), abs=1e-9)


def test_temperature_and_beta_are_the_optimum(run_slipway, model, data, samples, tmp_path):
    truth = np.array([s.stego for s in samples])
    logits = np.array([s.logit for s in samples])
    found = fit(run_slipway, model, data, tmp_path, "--score", "logit", "--method", "temperature")
    best = optimize.minimize_scalar(lambda t: cross_entropy(logits / t, smoothed(truth)), bounds=(0.1, 10), method="bounded",
                                    options={"xatol": 1e-9})
    assert found["temperature"] == pytest.approx(best.x, rel=1e-5) and found["input"] == "logit"
    found = fit(run_slipway, model, data, tmp_path, "--score", "probability", "--method", "beta", "--input", "probability")
    p = np.array([s.probability for s in samples])
    best = optimize.minimize(lambda w: cross_entropy(w[0] * np.log(p) - w[1] * np.log1p(-p) + w[2], smoothed(truth)), [1, 1, 0],
                             method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000})
    assert [found["a"], found["b"], found["c"]] == pytest.approx(best.x, rel=2e-3, abs=2e-3)


def test_a_fitted_bundle_tells_truer_probabilities(run_slipway, evaluate, model, data, samples, tmp_path):
    before = evaluate(model, "--data", data)
    bundle = tmp_path / "bundle"
    shutil.copytree(model, bundle)
    done = run_slipway("calibrate", bundle, "--data", data, "--score", "logit", "--output", bundle / "calibration.json", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["method"] == "platt"
    after = evaluate(bundle, "--data", data)
    assert after["calibration"]["log_loss"] < before["calibration"]["log_loss"]
    assert after["calibration"]["equal_mass"]["ece"] < before["calibration"]["equal_mass"]["ece"]
    assert after["roc"]["auc"] == pytest.approx(before["roc"]["auc"], abs=1e-6)  # the order stays


@pytest.mark.parametrize("words, code, part", [
    (["--data", "DATA"], 2, "--output is missing"),
    (["--data", "DATA", "--output", "OUT", "--method", "magic"], 2, "must be one of platt, temperature, beta, isotonic"),
    (["--data", "DATA", "--output", "OUT", "--input", "odds"], 2, "must be one of logit, probability"),
    (["--data", "CLEAN", "--output", "OUT"], 1, "needs samples of both classes"),
    (["--data", "DATA", "--output", "/nonexistent/c.json"], 3, "/nonexistent/c.json"),
    (["--data", "DATA", "--output", "OUT", "--score", "logit", "--method", "beta", "--input", "probability"], 2,
     "is no probability"),
])
def test_calibrate_usage(run_slipway, model, data, samples, tmp_path, words, code, part):
    clean = lookup.write_data([s for s in samples[:30] if not s.stego], tmp_path / "clean-only")
    places = {"DATA": data, "CLEAN": clean, "OUT": tmp_path / "out.json"}
    done = run_slipway("calibrate", model, *(places.get(word, word) for word in words))
    assert done.returncode == code and part in done.stderr, done.stderr
    assert not (tmp_path / "out.json").exists()


def test_memory_does_not_grow_with_the_data(binary, model, tmp_path):
    """1.5 GiB go through; one file a thread is in memory."""
    (tmp_path / "large").write_bytes(b"x" * (8 << 20))
    (tmp_path / "many.jsonl").write_text('{"file": "large", "label": false}\n' * 192)
    command = [str(binary), "evaluate", str(model), "--data", str(tmp_path / "many.jsonl"), "--threads", "2", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    report = json.loads(child.stdout.read())
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0 and report["samples"]["evaluated"] == 192
    if not os.environ.get("TEST_SANITIZER"):
        assert usage.ru_maxrss < 400 << 10  # KiB


# ---- the guide


def test_every_command_of_the_guide_works(binary, tmp_path):
    """The shell blocks of docs/evaluate.md, one after the other, as somebody would paste them."""
    root = Path(__file__).resolve().parents[2]
    text = (root / "docs" / "evaluate.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "slipway").symlink_to(binary)
    (tmp_path / "models").symlink_to(root / "models")
    shown = ""
    for block in blocks:
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", block], cwd=tmp_path, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        shown += done.stdout
    for line in re.findall(r"^    (?=overall|accuracy)(.*)$", text, re.MULTILINE):
        assert f"{line}\n" in shown
    assert re.search(r"^detection +2 of 2 ", shown, re.MULTILINE) and "beta calibration fitted on 20 samples" in shown
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"roc.svg", "reliability.svg"}
