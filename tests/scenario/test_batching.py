"""Batching, deadlines, full queues and shares of models, on the real runtime.

Runs are joined by chance here (what is joined when is decided in tests/unit/sched); what must hold is that nobody gets
another's answer, nobody fails for another, and that it is shown.
"""
import concurrent.futures
import json
import math
import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers import models
from helpers.client import tensor
from helpers.waiting import until

LONG_ROWS = 16000  # of the model "wide": a run of half a second or more

# Everything on workers, as models that take longer are.
ON_WORKERS = ["--set", "scheduler.inline_max_us=0", "--set", "scheduler.inline_alone_max_us=0"]
ONE_WORKER = ON_WORKERS + ["--set", "scheduler.workers=1", "--set", "scheduler.slow_run=1m"]


def row_model(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "m", [helper.make_tensor_value_info(n, t, list(s)) for n, t, s in inputs],
                              [helper.make_tensor_value_info(n, t, list(s)) for n, t, s in outputs], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def wide_model():
    """[N, 512] -> [N, 1]: a product large enough that rows cost less together."""
    rng = np.random.RandomState(1)
    first, second = rng.randn(512, 4096).astype(np.float32) / 16, rng.randn(4096, 1).astype(np.float32) / 64
    return row_model([helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
                      helper.make_node("MatMul", ["t", "b"], ["y"])],
                     [("x", TensorProto.FLOAT, ["N", 512])], [("y", TensorProto.FLOAT, ["N", 1])],
                     [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")])


def ragged_model():
    """[N, L] -> [N, L]: softmax over L, whose result padding would change."""
    return row_model([helper.make_node("Softmax", ["x"], ["y"], axis=1)], [("x", TensorProto.FLOAT, ["N", "L"])],
                     [("y", TensorProto.FLOAT, ["N", "L"])])


def linked_model():
    """Each row less the mean of all rows."""
    return row_model([helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
                      helper.make_node("Sub", ["x", "m"], ["y"])],
                     [("x", TensorProto.FLOAT, ["N", 4])], [("y", TensorProto.FLOAT, ["N", 4])])


def lookup_model():
    """Row numbers to rows of a table of eight; others fail the run."""
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(8, 1) * 10, "table")
    return row_model([helper.make_node("Gather", ["table", "x"], ["y"], axis=0)], [("x", TensorProto.INT64, ["N"])],
                     [("y", TensorProto.FLOAT, ["N", 1])], [table])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batching")
    for name, make in (("wide", wide_model), ("ragged", ragged_model), ("linked", linked_model), ("lookup", lookup_model)):
        (folder / f"{name}.onnx").write_bytes(make())
    return folder


def stats(client, model):
    return client.get(f"/v2/models/{model}/stats").json()["model_stats"][0]


def scheduling(client, model):
    return stats(client, model)["scheduling"]


def config(client, model):
    return {k: v["string_value"] for k, v in client.get(f"/v2/models/{model}/config").json()["parameters"].items()}


def at_once(server, count, ask):
    """ask(client, i) for i in 0..count-1 from 16 connections; the results in order."""
    def some(first):
        with server.client() as client:
            return [ask(client, i) for i in range(first, count, 16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(some, range(16)))
    return [parts[i % 16][i // 16] for i in range(count)]


def close(got, want):
    return len(got) == len(want) and all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5) for a, b in zip(got, want))


def test_everyone_gets_their_own_answer(start_server, folder):
    server = start_server(folder / "wide.onnx", args=ON_WORKERS)
    rng = random.Random(7)
    requests = [[[rng.uniform(-1, 1) for _ in range(512)] for _ in range(rng.choice((1, 1, 1, 2, 3, 7)))]
                for _ in range(200)]

    def ask(client, i):
        flat = [value for row in requests[i] for value in row]
        answer = client.infer("wide", [tensor("x", [len(requests[i]), 512], "FP32", flat)])
        assert answer.status == 200, answer
        return answer.json()["outputs"][0]

    with server.client() as client:
        assert scheduling(client, "wide")["mode"] == "batched", scheduling(client, "wide")
        alone = [ask(client, i)["data"] for i in range(len(requests))]

        def has_joined():
            together = at_once(server, len(requests), ask)
            for i, output in enumerate(together):
                assert output["shape"] == [len(requests[i]), 1] and close(output["data"], alone[i])
            s = stats(client, "wide")
            assert s["inference_count"] >= s["execution_count"]
            return any(b["batch_size"] > 7 for b in s["batch_stats"])
        until(has_joined, "a batch of several requests")
        s = stats(client, "wide")
        assert s["inference_count"] == sum(b["batch_size"] * b["compute_infer"]["count"] for b in s["batch_stats"])
        metrics = client.get("/metrics").text
    assert 'slipway_batch_rows_bucket{model="wide",version="1",le="8"}' in metrics
    assert 'slipway_requests_dropped_total{model="wide",version="1",reason="queue_full"} 0' in metrics


def test_nothing_is_padded(start_server, folder):
    server = start_server(folder / "ragged.onnx", args=ON_WORKERS)
    rng = random.Random(8)
    rows = [[rng.uniform(-3, 3) for _ in range(rng.choice((3, 5, 5, 8)))] for _ in range(300)]

    def ask(client, i):
        answer = client.infer("ragged", [tensor("x", [1, len(rows[i])], "FP32", rows[i])])
        assert answer.status == 200, answer
        return answer.json()["outputs"][0]

    for row, output in zip(rows, at_once(server, len(rows), ask)):
        powers = [math.exp(v) for v in row]
        assert output["shape"] == [1, len(row)] and close(output["data"], [p / sum(powers) for p in powers])


def test_a_bad_row_fails_alone(start_server, folder):
    bundle = folder / "lookups"
    bundle.mkdir()
    (bundle / "bundle.yaml").write_text("name: lookup\nbatching: { max_batch: 32, max_delay_us: 5000 }\n")
    (bundle / "lookup.onnx").write_bytes(lookup_model())
    server = start_server(bundle, args=ON_WORKERS)

    def ask(client, i):
        return client.infer("lookup", [tensor("x", [2], "INT64", [i % 8, 99 if i % 10 == 3 else 7])])

    for i, answer in enumerate(at_once(server, 200, ask)):
        if i % 10 == 3:
            assert answer.status == 500 and "99" in answer.json()["error"]
        else:
            assert answer.status == 200 and answer.json()["outputs"][0]["data"] == [i % 8 * 10, 70]


def test_rows_that_influence_each_other_are_left_alone(start_server, run_slipway, folder, test_models):
    server = start_server(folder / "linked.onnx", test_models / "scalar.onnx", args=ON_WORKERS)
    with server.client() as client:
        told = config(client, "linked")
        assert told["slipway.mode"] == "single" and "rows influence each other" in told["slipway.batching_note"]
        assert config(client, "scalar")["slipway.batching_note"].startswith("input ")

    def ask(client, i):
        answer = client.infer("linked", [tensor("x", [2, 4], "FP32", [i] * 4 + [-i] * 4)])
        return answer.json()["outputs"][0]["data"]

    assert all(got == [i] * 4 + [-i] * 4 for i, got in enumerate(at_once(server, 200, ask)))
    done = run_slipway("validate", folder / "linked.onnx")
    assert done.returncode == 0 and "requests cannot be batched: rows influence each other" in done.stdout


@pytest.mark.parametrize("text, reason", [
    ("batching: { max_batch: 0 }", "batching.max_batch: must lie between 1 and 65536"),
    ("batching: { max_batch: 70000 }", "batching.max_batch: must lie between 1 and 65536"),
    ("batching: { max_batch: 8 }\nmodel: fixed.onnx",
     "batching.max_batch: requests cannot be batched: dimension 0 of input 'x' is fixed at 1"),
    ("batching: { max_delay_us: -1 }", "batching.max_delay_us: must lie between 0"),
    ("batching: { preferred: [8, 4] }", "batching.preferred: item 2 must be an integer above 8"),
    ("batching: { max_batch: 4, preferred: [8] }", "batching.preferred: item 1 must be an integer above 1 and at most 4"),
    ("batching: { timeout_ms: 86400000 }", "batching.timeout_ms: must lie between 1 and 3600000"),
    ("batching: { max_queue: 0 }", "batching.max_queue: must lie between 1 and 1000000"),
    ("batching: { dynamic: true }", "batching.dynamic: no such key"),
    ("instances: { weight: -1 }", "instances.weight: must lie between 0.01 and 100"),
    ("instances: { count: many }", "instances.count: must be an integer"),
])
def test_absurd_settings_are_refused_by_name(run_slipway, tmp_path, text, reason):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "bundle.yaml").write_text(text + ("" if "model:" in text else "\nmodel: model.onnx") + "\n")
    (tmp_path / "m" / "model.onnx").write_bytes(models.plus(1))
    (tmp_path / "m" / "fixed.onnx").write_bytes(models.plus(1, shape=(1,)))
    done = run_slipway("validate", tmp_path / "m")
    assert done.returncode == 1 and reason in done.stdout + done.stderr


# ---- one busy worker

def ask_long(client):
    size = LONG_ROWS * 512 * 4
    head = json.dumps({"inputs": [{"name": "x", "shape": [LONG_ROWS, 512], "datatype": "FP32",
                                   "parameters": {"binary_data_size": size}}],
                       "parameters": {"binary_data_output": True}}).encode()
    return client.request("POST", "/v2/models/wide/infer", head + bytes(size),
                          {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})


@pytest.fixture
def busy(start_server, folder):
    """A server with one worker, and a function that keeps it busy for half a second or more."""
    server = start_server(folder / "wide.onnx", folder / "lookup.onnx",
                          args=ONE_WORKER + ["--set", "scheduler.queue=4"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool, server.client() as blocker, server.client() as client:
        client.get("/health")
        runs = []

        def keep_busy():
            runs.append(pool.submit(ask_long, blocker))
            until(lambda: scheduling(client, "wide")["running"] > 0, "the long run has begun")

        yield server, client, keep_busy
        assert all(run.result().status == 200 for run in runs)


def ask_row(client, headers=None):
    request = {"inputs": [tensor("x", [1, 512], "FP32", [0.5] * 512)]}
    return client.request("POST", "/v2/models/wide/infer", json.dumps(request).encode(),
                          {"Content-Type": "application/json", **(headers or {})})


def test_late_requests_are_told_while_the_worker_is_busy(busy):
    server, client, keep_busy = busy
    keep_busy()
    late = ask_row(client, {"X-Timeout-Ms": "30"})
    assert late.status == 504 and "deadline" in late.json()["error"]
    assert scheduling(client, "wide")["running"] == 1  # it was told before the run ended
    assert scheduling(client, "wide")["dropped"]["deadline"] == 1
    predict = client.request("POST", "/v1/models/lookup:predict", b'{"instances": [1]}',
                             {"Content-Type": "application/json", "X-Timeout-Ms": "20"})
    assert predict.status == 504 and predict.json()["error"]["code"] == "deadline_exceeded"
    assert ask_row(client, {"X-Timeout-Ms": "3600000"}).status == 200


def test_a_full_queue_refuses_at_once(busy):
    server, client, keep_busy = busy
    keep_busy()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [server.client() for _ in range(4)]
        waiting = [pool.submit(ask_row, c) for c in clients]
        until(lambda: scheduling(client, "wide")["waiting"] == 4, "four wait")
        refused = ask_row(client)
        assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"] == "4 inferences of this model wait already"
        metrics = client.get("/metrics").text
        assert 'slipway_queue_requests{model="wide",version="1"} 4' in metrics
        assert 'slipway_requests_dropped_total{model="wide",version="1",reason="queue_full"} 1' in metrics
        assert all(w.result().status == 200 for w in waiting)
        for c in clients:
            c.close()


def test_who_hangs_up_is_not_run(busy):
    server, client, keep_busy = busy
    keep_busy()
    request = json.dumps({"inputs": [tensor("x", [1, 512], "FP32", [0.5] * 512)]}).encode()
    before = stats(client, "wide")["inference_count"]
    with server.connect() as gone:
        gone.sendall(b"POST /v2/models/wide/infer HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(request) + request)
        until(lambda: scheduling(client, "wide")["oldest_us"] > 20000, "it has waited for 20 ms")
    until(lambda: scheduling(client, "wide")["dropped"]["client_gone"] == 1, "it is given up")
    until(lambda: stats(client, "wide")["inference_count"] > before, "the long run has ended")
    assert stats(client, "wide")["inference_count"] == before + LONG_ROWS


def test_other_models_have_queues_of_their_own(busy):
    server, client, keep_busy = busy
    keep_busy()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [server.client() for _ in range(4)]
        waiting = [pool.submit(ask_row, c) for c in clients]
        until(lambda: scheduling(client, "wide")["waiting"] == 4, "four wait")
        answer = client.infer("lookup", [tensor("x", [1], "INT64", [3])])
        assert answer.status == 200 and answer.json()["outputs"][0]["data"] == [30]
        assert all(w.result().status == 200 for w in waiting)
        for c in clients:
            c.close()


def test_long_runs_do_not_hold_up_short_ones(start_server, folder):
    """The same with the usual slow_run: the long run is for other threads, and the worker stays free."""
    server = start_server(folder / "wide.onnx", args=ON_WORKERS + ["--set", "scheduler.workers=1"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool, server.client() as blocker, server.client() as client:
        client.get("/health")
        run = pool.submit(ask_long, blocker)
        until(lambda: scheduling(client, "wide")["running"] > 0, "the long run has begun")
        assert ask_row(client).status == 200
        assert not run.done() and scheduling(client, "wide")["running"] >= 1
        assert run.result().status == 200


ABSURD_TERMS = [
    ({"X-Timeout-Ms": "never"}, None, "X-Timeout-Ms: 'never'"),
    ({"X-Timeout-Ms": "0"}, None, "X-Timeout-Ms: '0' is no number from 1 to 3600000"),
    ({"X-Timeout-Ms": "1e3"}, None, "X-Timeout-Ms"),
    ({"X-Priority": "maximal"}, None, "X-Priority: 'maximal' is neither high nor normal"),
    (None, {"timeout": -1}, "parameter 'timeout': -1"),
    (None, {"timeout": 10 ** 13}, "parameter 'timeout': 10000000000000"),
    (None, {"priority": -7}, "parameter 'priority': -7"),
    (None, {"priority": "high"}, "parameters"),
]


def test_absurd_terms_are_refused_by_name(start_server, folder):
    server = start_server(folder / "lookup.onnx")
    with server.client() as client:
        def ask(headers, parameters):
            body = json.dumps({"inputs": [tensor("x", [1], "INT64", [2])], "parameters": parameters or {}})
            return client.request("POST", "/v2/models/lookup/infer", body.encode(),
                                  {"Content-Type": "application/json", **(headers or {})})
        for headers, parameters, reason in ABSURD_TERMS:
            answer = ask(headers, parameters)
            assert answer.status == 400 and reason in answer.json()["error"], (headers, parameters, answer)
        assert ask({"X-Priority": "high"}, {"timeout": 60000000, "priority": 2}).status == 200


def waited_s(client):
    line = next(line for line in client.get("/metrics").text.splitlines()
                if line.startswith("slipway_inference_duration_seconds_sum") and 'phase="queue"' in line)
    return float(line.rsplit(" ", 1)[1])


def test_who_is_alone_is_served_by_its_own_thread(start_server, folder):
    server = start_server(folder / "wide.onnx", args=["--set", "server.io_threads=1", "--set", "scheduler.inline_max_us=0",
                                                      "--set", "scheduler.inline_alone_max_us=100000"])
    with server.client() as client:
        for _ in range(5):
            assert ask_row(client).status == 200
        assert waited_s(client) == 0  # never in a queue
        with server.client() as other:
            assert other.get("/health").status == 200
            assert ask_row(client).status == 200
            assert waited_s(client) > 0


def test_batching_can_be_switched_off(start_server, folder):
    server = start_server(folder / "wide.onnx", args=ON_WORKERS + ["--set", "scheduler.batching=false"])
    with server.client() as client:
        assert scheduling(client, "wide")["mode"] == "single"
        at_once(server, 100, lambda c, i: ask_row(c))
        s = stats(client, "wide")
        assert s["execution_count"] == s["inference_count"] == 100
