"""Metrics and logs of a running server."""
import os
import shutil
import subprocess

import pytest

from helpers.client import tensor

ROW = [tensor("features", [1, 45], "FP32", [0.5] * 45)]


def samples(text):
    """{'name{labels}': value}."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            found[key] = float(value)
    return found


def matching(found, name, **labels):
    return {k: v for k, v in found.items()
            if (k == name or k.startswith(name + "{")) and all(f'{l}="{v2}"' in k for l, v2 in labels.items())}


@pytest.fixture
def server(start_server, test_models):
    return start_server(test_models / "mlp_45.onnx")


def test_request_counts_and_histograms(server):
    with server.client() as client:
        for _ in range(5):
            client.infer("mlp_45", ROW)
        client.infer("mlp_45", [tensor("wrong", [1], "FP32", [1])])
        client.get("/no/such/path")
        found = samples(client.get("/metrics").text)
    infer = "/v2/models/{model}/infer"
    assert sum(matching(found, "http_requests_total", method="POST", route=infer, status="200", model="mlp_45",
                        version="1").values()) == 5
    assert sum(matching(found, "http_requests_total", route=infer, status="400").values()) == 1
    assert sum(matching(found, "http_requests_total", status="404").values()) == 1
    assert sum(matching(found, "http_request_duration_seconds_count", route=infer).values()) == 6
    for phase in ("queue", "run", "pre", "post"):
        count = matching(found, "slipway_inference_duration_seconds_count", model="mlp_45", version="1", phase=phase)
        assert sum(count.values()) == 5, phase
        buckets = matching(found, "slipway_inference_duration_seconds_bucket", phase=phase)
        assert sorted(buckets.values()) == list(buckets.values()) and max(buckets.values()) == 5
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert sum(matching(found, "slipway_models_loaded").values()) == 1
    assert sum(matching(found, "slipway_http_connections").values()) >= 1


def test_labels_stay_bounded(server):
    with server.client() as client:
        before = len(samples(client.get("/metrics").text))
        for i in range(200):
            client.get(f"/no/such/{i}")
            client.get(f"/v2/models/unknown-{i}")
            client.request("PURGE" if i % 2 else f"X{i}", "/version")
        found = samples(client.get("/metrics").text)
    assert len(found) < before + 120
    assert not any("unknown-" in key or "/no/such" in key for key in found)


def test_promtool_accepts(server):
    promtool = shutil.which("promtool")
    if not promtool:  # of Debian's prometheus, which the lint tier installs
        assert not os.environ.get("CI"), "promtool is not installed"
        pytest.skip("promtool is not installed")
    with server.client() as client:
        client.infer("mlp_45", ROW)
        text = client.get("/metrics").text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_logs_are_json_without_bodies(start_server, test_models):
    server = start_server(test_models / "mlp_45.onnx",
                          env={"SLIPWAY_LOG_LEVEL": "debug", "SLIPWAY_LOG_ACCESS": "all"})
    secret = "s3cr3t-value-in-the-body"
    with server.client() as client:
        client.request("POST", f"/v2/models/mlp_45/infer?token={secret}", f'{{"inputs": "{secret}"}}'.encode(),
                       {"Content-Type": "application/json", "Authorization": f"Bearer {secret}", "X-Request-Id": "find-me"})
    line = server.wait_log("request", request_id="find-me")
    assert line["status"] == 400 and line["route"] == "/v2/models/{model}/infer" and line["method"] == "POST"
    assert line["level"] in ("debug", "info", "warn") and line["duration_us"] > 0 and line["ts"].endswith("Z")
    assert all(not l.startswith("{") or secret not in l for l in server.lines)
    assert secret not in "\n".join(server.lines)
