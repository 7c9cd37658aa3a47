"""The monitoring API of a running server: statistics, metrics of clients, alerts from rule to receiver, what a restart keeps, and
two servers on one database."""
import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.client import tensor
from helpers.waiting import until

sys.path.append(str(Path(__file__).resolve().parents[1]))
from servers.postgres import PostgresServer, programs  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
API = "/monitoring/v1"
ROW = [tensor("features", [1, 45], "FP32", [0.5] * 45)]
TICK_LIMIT_S = 40.0  # rules are evaluated every ten seconds


class Receiver:
    """A webhook that keeps what it gets and answers with the statuses of `answers`, then with 200."""

    def __init__(self):
        self.answers, self.requests = [], []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, self.headers, json.loads(body)))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def stats(client, **query):
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return client.get(f"{API}/metrics/stats?{text}")


def log(client, *metrics):
    return client.post(f"{API}/metrics/log", {"metrics": list(metrics)})


def alerts(client, query=""):
    answer = client.get(f"{API}/alerts/recent{query}")
    assert answer.status == 200, answer
    return answer.json()["alerts"]


def test_inferences_become_statistics(start_server, test_models):
    server = start_server(test_models / "mlp_45.onnx")
    with server.client() as client:
        for _ in range(20):
            assert client.infer("mlp_45", ROW).status == 200
        assert client.infer("mlp_45", [tensor("wrong", [1], "FP32", [1])]).status == 400
        answer = stats(client, model="mlp_45", window="1h", granularity="1m").json()
        total, points = answer["total"], answer["points"]
        assert len(points) == 60 and answer["series"] == 1
        assert total["count"] == 20 and total["requests"] == 21 and total["errors"]["client"] == 1
        assert total["error_rate"] == 0 and total["rps"] > 0
        assert 0 < total["min"] <= total["p50"] <= total["p95"] <= total["p99"] <= total["max"]
        assert sum(point["count"] for point in points) == 20
        assert stats(client, model="mlp_45", version="2").json()["total"]["count"] == 0
        resources = client.get(f"{API}/health").json()["resources"]
        assert resources["memory_bytes"] > 1 << 20 and resources["memory_percent"] > 0
        memory = until(lambda: stats(client, metric="memory_bytes").json()["total"]["mean"], "the process is sampled")
        assert memory > 1 << 20


@pytest.mark.parametrize("query, allowed", [
    ({"window": "2h"}, ["1h", "6h", "24h", "7d"]),
    ({"window": "7d", "granularity": "1m"}, ["10m", "1h", "6h", "24h"]),
    ({"window": "1h", "granularity": "24h"}, ["1m", "5m", "10m", "1h"]),
])
def test_bad_windows_name_the_allowed_ones(shared_server, query, allowed):
    with shared_server.client() as client:
        answer = stats(client, **query)
    error = answer.json()["error"]
    assert answer.status == 400 and error["details"]["allowed"] == allowed
    assert list(error) == ["code", "message", "details", "timestamp", "request_id"]
    assert error["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("window, steps", [("1h", 60), ("6h", 72), ("24h", 144), ("7d", 168)])
def test_windows(shared_server, window, steps):
    with shared_server.client() as client:
        answer = stats(client, window=window).json()
    assert len(answer["points"]) == steps
    times = [point["time"] for point in answer["points"]]
    assert times == sorted(times) and times[0] == answer["from"] and times[-1] <= answer["until"]


def test_clients_log_and_ask(shared_server):
    with shared_server.client() as client:
        answer = log(client, {"name": "orders", "value": 3, "labels": {"shop": "a"}},
                     {"name": "orders", "value": 5, "labels": {"shop": "b"}})
        assert answer.status == 200 and answer.json() == {"accepted": 2}
        total = stats(client, metric="orders").json()["total"]
        assert (total["count"], total["mean"], total["min"], total["max"]) == (2, 4, 3, 5)
        assert stats(client, metric="orders", label="shop:b").json()["total"]["mean"] == 5
        refused = log(client, {"name": "orders", "value": 1}, {"name": "orders", "value": 1, "timestamp": "2001-01-01T00:00:00Z"})
        assert refused.status == 422 and "metrics[1]" in refused.json()["error"]["message"]
        assert stats(client, metric="orders").json()["total"]["count"] == 2
        assert stats(client, metric="nothing").status == 404


def test_the_number_of_series_is_bounded(start_server):
    server = start_server()
    with server.client() as client:
        for first in range(0, 256, 64):
            assert log(client, *({"name": f"m{i}", "value": 1} for i in range(first, first + 64))).status == 200
        refused = log(client, {"name": "one_more", "value": 1})
        assert refused.status == 422 and "256 series" in refused.json()["error"]["message"]
        assert log(client, {"name": "m7", "value": 2}).status == 200


def test_a_test_alert_arrives(start_server, receiver):
    receiver.answers = [503]  # it is told again
    server = start_server(args=["--set", f"monitoring.webhook={receiver.url}", "--set", "monitoring.webhook_token=t0ken",
                                "--set", "monitoring.instance=one"])
    with server.client() as client:
        made = client.post(f"{API}/alerts/test", {"severity": "critical", "message": "Does this arrive?"})
        assert made.status == 201
        alert = until(lambda: [a for a in alerts(client) if a["delivery"]["state"] == "delivered"], "delivered")[0]
        assert alert["id"] == made.json()["id"] and alert["test"] and alert["delivery"]["attempts"] == 2
        assert len(receiver.requests) == 2
        path, headers, body = receiver.requests[-1]
        assert path == "/hook" and headers["Authorization"] == "Bearer t0ken"
        assert body["version"] == "4" and body["status"] == "firing" and len(body["alerts"]) == 1
        assert body["alerts"][0]["labels"] == {"alertname": "TestAlert", "severity": "critical", "service": "slipway",
                                               "instance": "one", "test": "true"}
        assert body["alerts"][0]["annotations"]["description"] == "Does this arrive?"
        assert 'slipway_alert_notifications_total{result="delivered"} 1' in client.get("/metrics").text
        assert "t0ken" not in "\n".join(server.lines)


def test_the_token_is_never_shown(run_slipway):
    shown = run_slipway("config", "show", "--set", "monitoring.webhook=http://h/secret-path", "--set",
                        "monitoring.webhook_token=t0ken")
    assert shown.returncode == 0 and "t0ken" not in shown.stdout and "secret-path" not in shown.stdout
    refused = run_slipway("config", "show", "--set", "monitoring.webhook=ftp://h/secret-path")
    assert refused.returncode == 2 and "http://" in refused.stderr and "secret-path" not in refused.stderr


RULES = """
defaults: false
rules:
  - { name: TooMany, metric: orders, statistic: sum, above: 10, severity: critical, summary: Too many orders. }
"""


@pytest.mark.slow
def test_an_alert_from_a_rule_outlives_a_restart(start_server, receiver, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    args = ["--set", f"monitoring.rules={rules}", "--set", "monitoring.instance=one", "--data-dir", tmp_path / "data"]
    server = start_server(args=args)
    with server.client() as client:
        assert log(client, {"name": "orders", "value": 11, "labels": {"shop": "a"}}).status == 200
        server.wait_log("alert firing", limit_s=TICK_LIMIT_S, alert="TooMany")
        alert, = alerts(client, "?state=firing&severity=critical")
        assert alert["message"] == "orders is 11, above 10." and alert["summary"] == "Too many orders."
        assert alert["delivery"]["state"] == "none"
        assert client.get(f"{API}/alerts/rules").json()["rules"][0]["state"] == "firing"
        assert 'slipway_alerts_firing{alert="TooMany",severity="critical"} 1' in client.get("/metrics").text
        body = {"alert_id": alert["id"], "acknowledged_by": "ann", "note": "on it"}
        assert client.post(f"{API}/alerts/acknowledge", body).json()["acknowledged"]["by"] == "ann"
        again = client.post(f"{API}/alerts/acknowledge", body)
        assert again.status == 409 and "by ann at" in again.json()["error"]["message"]
        assert client.post(f"{API}/alerts/acknowledge", {"alert_id": "0" * 32}).status == 404
        row, = client.get("/api/v1/audit?action=alert.acknowledge").json()["rows"]
        assert row["object"] == f"alert/{alert['id']}" and row["reason"] == "on it"
    server.stop()
    server = start_server(args=args)
    with server.client() as client:
        total = until(lambda: stats(client, metric="orders").json()["total"] if stats(client, metric="orders").status == 200
                      else None, "points come back")
        assert total["count"] == 1 and total["mean"] == 11
        assert [a["id"] for a in alerts(client, "?state=firing")] == [alert["id"]]  # the same one goes on
        assert alerts(client)[0]["acknowledged"]["note"] == "on it"
    # Without its rule it is over, and that is told.
    server.stop()
    rules.write_text("defaults: false\n")
    server = start_server(args=[*args, "--set", f"monitoring.webhook={receiver.url}"])
    with server.client() as client:
        until(lambda: alerts(client)[0]["state"] == "resolved", "it is over")
        assert alerts(client)[0]["resolved_reason"] == "the rule is gone"
    until(lambda: receiver.requests, "told")
    assert receiver.requests[0][2]["status"] == "resolved"


def test_a_crash_keeps_what_was_written(start_server, tmp_path):
    """What was answered to a change is in the store, whatever happens to the process then."""
    args = ["--set", "monitoring.instance=one", "--data-dir", tmp_path / "data"]
    server = start_server(args=args)
    with server.client() as client:
        assert client.post(f"{API}/alerts/test", {"message": "before the crash"}).status == 201
    server.signal(signal.SIGKILL)
    server.wait_exit()
    server = start_server(args=args)
    with server.client() as client:
        assert [a["message"] for a in alerts(client)] == ["before the crash"]


@pytest.mark.parametrize("text, says", [
    ("rules: [{name: A, metric: nothing at all, above: 1}]", "rules[0].metric"),
    ("rules: [{name: A, metric: error_rate}]", "one of above and below"),
    ("rules: {", "line 2"),
])
def test_bad_rules_end_the_start(run_slipway, tmp_path, text, says):
    (tmp_path / "rules.yaml").write_text(text)
    done = run_slipway("serve", "--port", "0", "--set", f"monitoring.rules={tmp_path / 'rules.yaml'}")
    assert done.returncode == 2 and "monitoring.rules" in done.stderr and says in done.stderr
    assert run_slipway("serve", "--port", "0", "--set", "monitoring.rules=nowhere.yaml").returncode == 3


def test_switched_off(start_server):
    server = start_server(env={"SLIPWAY_MONITORING_ENABLED": "false"})
    with server.client() as client:
        answer = stats(client)
        assert answer.status == 503 and "monitoring.enabled" in answer.json()["error"]["message"]
        assert client.get(f"{API}/health").json()["alerts"] is None
        assert client.get(f"{API}/ready").status == 200 and client.get(f"{API}/live").status == 200


def test_under_an_application(start_server):
    server = start_server(args=["--app", "starlight"])
    with server.client() as client:
        answer = client.get("/starlight/monitoring/v1/metrics/stats").json()
        assert answer["model"] == "starlight"
        assert client.get("/starlight/monitoring/v1/metrics/stats?metric=queue_depth").json()["model"] is None
        versions = client.get("/starlight/monitoring/v1/models/versions").json()["models"]
        assert [model["name"] for model in versions] == ["starlight"]
        lost = client.get("/starlight/monitoring/v1/nothing")
        assert lost.status == 404 and lost.json()["error"]["timestamp"]
        assert client.get(f"{API}/metrics/stats").json()["model"] is None


@pytest.mark.skipif(not programs(), reason="PostgreSQL is not installed")
def test_two_servers_on_one_database(start_server):
    with PostgresServer() as postgres:
        one, two = (start_server(args=["--set", f"store.url={postgres.url}", "--set", f"monitoring.instance={name}"])
                    for name in ("one", "two"))
        with one.client() as first, two.client() as second:
            made = first.post(f"{API}/alerts/test", {}).json()
            assert log(first, {"name": "orders", "value": 1}).status == 200
            seen, = alerts(second)
            assert seen["id"] == made["id"] and seen["instance"] == "one"
            assert second.post(f"{API}/alerts/acknowledge", {"alert_id": made["id"]}).status == 200
            assert alerts(first)[0]["acknowledged"]["by"] == "anonymous"
            assert first.post(f"{API}/alerts/acknowledge", {"alert_id": made["id"]}).status == 409
            assert stats(second, metric="orders").status == 404  # each answers for itself
        one.stop()
        two.stop()


# ---- documentation

def code_blocks(language):
    text = (ROOT / "docs" / "monitoring.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_commands_of_the_documentation(start_server, digits):
    """Every curl line of docs/monitoring.md, as it stands there but for the port."""
    server = start_server(digits)
    with server.client() as client:
        client.post(f"{API}/alerts/test", {})
    lines = [line for block in code_blocks("bash") for line in block.splitlines()]
    assert len(lines) == 15 and all("curl -s" in line for line in lines)
    for line in lines:
        done = subprocess.run(["bash", "-c", line.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, line
        answer = json.loads(done.stdout)
        assert "served from a file" in done.stdout if "rollback" in line else "error" not in answer, (line, answer)


def test_rules_of_the_documentation(start_server, tmp_path):
    rules, = code_blocks("yaml")
    (tmp_path / "rules.yaml").write_text(rules)
    server = start_server(args=["--set", f"monitoring.rules={tmp_path / 'rules.yaml'}"])
    with server.client() as client:
        shown = {rule["name"]: rule for rule in client.get(f"{API}/alerts/rules").json()["rules"]}
    assert set(shown) == {"HighLatency", "VeryHighLatency", "HighErrorRate", "VeryHighErrorRate", "HighMemory",
                          "FlatPredictions", "QueueTooOld"}
    assert shown["FlatPredictions"]["model"] == "churn"
    assert shown["HighLatency"]["condition"] == {"above": 300, "for": "5m"}
    assert shown["QueueTooOld"]["window"] == "5m" and shown["QueueTooOld"]["keep_firing_for"] == "120s"
