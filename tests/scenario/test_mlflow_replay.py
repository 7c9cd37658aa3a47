"""What the real MLflow client once asked (mlflow_exchange.jsonl, recorded by tests/interop/record_mlflow.py) is asked
again: the answers must be the same, but for times. So the routes stay as that client wants them where it is not
installed."""
import json
from pathlib import Path

from helpers import exchange

RECORDED = [json.loads(line) for line in
            (Path(__file__).parent / "mlflow_exchange.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_answer_is_as_recorded(start_server):
    server = start_server()
    with server.client() as client:
        for number, want in enumerate(RECORDED, 1):
            headers = {"Content-Type": want["type"]} if want["type"] else {}
            got = client.request(want["method"], want["path"], body=exchange.decode(want["body"]), headers=headers)
            where = f"line {number}: {want['method']} {want['path']}"
            answer = exchange.encode(got.body, got.headers.get("Content-Type"))
            assert (got.status, answer) == (want["status"], want["answer"]), where


def test_the_recording_has_every_mlflow_route(start_server):
    """A route that is added without being recorded fails here."""
    contract = start_server().contract
    declared = {(method.upper(), path) for path, item in contract.document["paths"].items()
                if path.startswith(("/api/2.0/mlflow", "/api/3.0/mlflow")) for method in item}
    good = {(e["method"], contract.find(e["path"])) for e in RECORDED if e["status"] == 200}
    never_asked = {("GET", "/api/2.0/mlflow/registered-models/get-latest-versions")}  # only if POST is not found
    assert declared - good == never_asked
