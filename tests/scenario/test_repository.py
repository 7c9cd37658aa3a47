"""Loading, reloading and unloading models while serving; versions; start and stop of the server."""
import json
import shutil
import signal
import threading

import pytest

from helpers.client import tensor

ROW = [tensor("features", [1, 45], "FP32", [0.5] * 45)]


def index(client, **body):
    return {(m["name"], m.get("version")): m for m in client.post("/v2/repository/index", body).json()}


def test_load_and_unload(start_server, test_models):
    with start_server(test_models / "mlp_45.onnx", test_models / "scalar.onnx").client() as client:
        assert index(client)[("mlp_45", "1")]["state"] == "READY"
        assert client.post("/v2/repository/models/mlp_45/unload", {}).status == 200
        assert index(client)[("mlp_45", "1")]["state"] == "UNAVAILABLE"
        assert ("mlp_45", "1") not in index(client, ready=True)
        gone = client.infer("mlp_45", ROW)
        assert gone.status == 503 and "mlp_45" in gone.json()["error"], repr(gone)
        assert client.get("/v2/models/mlp_45/ready").status != 200
        assert client.get("/v2/models/scalar/ready").status == 200
        assert client.post("/v2/repository/models/mlp_45/load", {}).status == 200
        assert client.infer("mlp_45", ROW).status == 200
        unknown = client.post("/v2/repository/models/nothing/load", {})
        assert unknown.status == 404 and "nothing" in unknown.json()["error"]


def test_reload_never_fails_a_request(start_server, test_models, tmp_path):
    model = tmp_path / "live.onnx"
    shutil.copy(test_models / "mlp_45.onnx", model)
    server = start_server(model)
    stop, failures, served = threading.Event(), [], []

    def ask():
        with server.client() as client:
            while not stop.is_set():
                answer = client.infer("live", ROW)
                served.append(answer.status)
                if answer.status != 200:
                    failures.append(repr(answer))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for t in threads:
        t.start()
    with server.client() as control:
        for _ in range(30):
            assert control.post("/v2/repository/models/live/load", {}).status == 200
        model.write_bytes(b"broken")
        bad = control.post("/v2/repository/models/live/load", {})
        assert bad.status >= 400 and "live" in bad.json()["error"], repr(bad)
        assert control.infer("live", ROW).status == 200, "the old one goes on serving"
    stop.set()
    for t in threads:
        t.join()
    assert not failures and len(served) > 30, failures[:3]


def test_versions(start_server, test_models, tmp_path):
    folder = tmp_path / "many"
    for version in ("1", "2", "10"):
        (folder / version).mkdir(parents=True)
        shutil.copy(test_models / "mlp_45.onnx", folder / version / "model.onnx")
    with start_server(folder).client() as client:
        assert client.get("/v2/models/many").json()["versions"] == ["1", "2", "10"]
        answer = client.infer("many", ROW)
        assert answer.json()["model_version"] == "10" and answer.headers["X-Model-Version"] == "10"
        assert client.infer("many", ROW, version=2).json()["model_version"] == "2"
        assert client.infer("many", ROW, version=3).status == 404
        listed = client.get("/models/versions?model=many").json()
        assert "10" in json.dumps(listed)


def test_models_directory(start_server, test_models, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(test_models / "mlp_45.onnx", folder / "good.onnx")
    (folder / "bad.onnx").write_bytes(b"not a model")
    server = start_server(args=["--models-dir", folder], wait_ready=False)
    with server.client() as client:
        server.wait_log("model ready", model="good")
        rows = index(client)
        assert rows[("good", "1")]["state"] == "READY"
        assert rows[("bad", "1")]["state"] == "UNAVAILABLE" and rows[("bad", "1")]["reason"]
        assert client.infer("good", ROW).status == 200
        refused = client.infer("bad", ROW)
        assert refused.status == 503 and rows[("bad", "1")]["reason"][:20] in refused.json()["error"], repr(refused)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_finishes_running_requests(start_server, test_models, number):
    server = start_server(test_models / "cnn_224.onnx")
    values = [0.5] * (3 * 224 * 224)
    body = json.dumps({"inputs": [tensor("image", [1, 3, 224, 224], "FP32", values)]}).encode()
    head = (b"POST /v2/models/cnn_224/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body))
    with server.connect() as c:
        c.sendall(head + body[:-10])
        c.sendall(body[-10:])
        server.signal(number)
        got = c.recv(4096)
    assert server.wait_exit() == 0
    assert got.startswith(b"HTTP/1.1 200"), got[:300]


def test_reload_of_configuration(start_server, test_models, tmp_path):
    path = tmp_path / "slipway.yaml"
    path.write_text("log: {level: info}\n")
    server = start_server(test_models / "mlp_45.onnx", args=["--config", path])
    path.write_text("log: {level: debug, access: all}\n")
    server.signal(signal.SIGHUP)
    server.wait_log("configuration reloaded")
    with server.client() as client:
        request_id = client.infer("mlp_45", ROW).headers["X-Request-Id"]
    line = server.wait_log("request", request_id=request_id)
    assert line["status"] == 200 and line["model"] == "mlp_45"
    path.write_text("log: {level: shouting}\n")
    server.signal(signal.SIGHUP)
    server.wait_log("configuration not reloaded, the old one stays")
    assert server.client().get("/health/live").status == 200


def test_port_taken(start_server, run_slipway, test_models):
    server = start_server(test_models / "mlp_45.onnx")
    second = run_slipway("serve", test_models / "mlp_45.onnx", "--port", server.port)
    assert second.returncode == 3 and str(server.port) in second.stderr


def test_beyond_loopback_needs_insecure(run_slipway, test_models):
    refused = run_slipway("serve", test_models / "mlp_45.onnx", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2 and "--insecure" in refused.stderr
