#!/usr/bin/env python3
"""Records what the MLflow client and a server say to each other, for tests/scenario/test_mlflow_replay.py.

usage: record_mlflow.py SLIPWAY [FILE]

Starts the server, a proxy in front of it that writes every exchange down, and runs a session of the real client through
the proxy. Needs mlflow (see test_mlflow.py). FILE is tests/scenario/mlflow_exchange.jsonl when left out; look at its
differences before you commit it.
"""
import contextlib
import http.client
import http.server
import os
import sys
import tempfile
import threading
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "tests" / "scenario"
sys.path.insert(0, str(SCENARIO))
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
                  MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
os.environ.setdefault("SLIPWAY_ORT_LIB", str(ROOT / "third_party" / "onnxruntime" / "libonnxruntime.so"))

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from helpers import exchange
from helpers.models import bundle, plus
from helpers.server import Server


def proxy_to(port, lines):
    """A handler that passes requests on, one at a time, and appends each exchange to lines."""
    lock = threading.Lock()

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def read_chunks(self):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def handle_any(self):
            chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
            body = self.read_chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
            media_type = self.headers.get("Content-Type")
            with lock, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request(self.command, self.path, body=body, headers={"Content-Type": media_type} if media_type else {})
                answer = connection.getresponse()
                data, answer_type = answer.read(), answer.headers.get("Content-Type")
                lines.append(exchange.line(self.command, self.path, media_type, body, answer.status, answer_type, data))
            self.send_response(answer.status)
            if answer_type:
                self.send_header("Content-Type", answer_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_):
            pass

    return Proxy


def refused(function, *arguments, **fields):
    try:
        function(*arguments, **fields)
    except (MlflowException, OSError):
        return
    sys.exit(f"{function.__name__}{arguments}: was expected to be refused")


def upload(url, folder, path, files):
    for name, data in files.items():
        (folder / path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / path / name).write_bytes(data)
    MlflowArtifactsRepository(f"mlflow-artifacts:/{path}", tracking_uri=url).log_artifacts(str(folder / path))


def models(client):
    client.create_registered_model("digits", tags={"team": "vision"}, description="reads digits")
    refused(client.create_registered_model, "digits")
    refused(client.create_registered_model, "a/b")
    client.create_registered_model("faces")
    client.rename_registered_model("faces", "people")
    client.update_registered_model("people", "who is it?")
    client.set_registered_model_tag("people", "team", "vision")
    client.get_registered_model("people")
    refused(client.get_registered_model, "faces")
    client.delete_registered_model_tag("people", "team")
    client.search_registered_models("name LIKE 'dig%' AND tags.team = 'vision'", order_by=["name DESC"])
    page = client.search_registered_models(max_results=1)
    client.search_registered_models(max_results=1, page_token=page.token)
    refused(client.search_registered_models, "colour = 'red'")
    client.delete_registered_model("people")


def versions(client, url, folder):
    upload(url, folder, "m1", bundle(1, golden=2))
    upload(url, folder, "m2", {"model.onnx": plus(2), "data/notes.txt": b"notes", "data/empty": b""})
    upload(url, folder, "m3", bundle(1, golden=7))
    client.create_model_version("digits", "mlflow-artifacts:/m1", run_id="run-1", tags={"git": "abc"}, description="first")
    mlflow.register_model("mlflow-artifacts:/m2", "digits")
    client.create_model_version("digits", "mlflow-artifacts:/m3")
    client.copy_model_version("models:/digits/2", "copies")
    for source in ("runs:/abc/model", "mlflow-artifacts:/nothing", "s3://bucket/m"):
        refused(client.create_model_version, "digits", source)
    client.update_model_version("digits", "1", "the first")
    client.set_model_version_tag("digits", "2", "k", "v")
    client.delete_model_version_tag("digits", "2", "k")
    client.search_model_versions("name = 'digits'", order_by=["version_number ASC"])
    client.search_model_versions("run_id = 'run-1'")


def pointers(client):
    client.set_registered_model_alias("digits", "champion", "1")
    refused(client.set_registered_model_alias, "digits", "champion", "3")
    client.get_model_version_by_alias("digits", "champion")
    client.set_registered_model_alias("digits", "candidate", "3")
    client.delete_registered_model_alias("digits", "candidate")
    refused(client.get_model_version_by_alias, "digits", "candidate")
    refused(client.set_registered_model_alias, "digits", "latest", "1")
    client.transition_model_version_stage("digits", "1", "Production")
    client.transition_model_version_stage("digits", "2", "Production", archive_existing_versions=True)
    client.get_latest_versions("digits")
    client.get_latest_versions("digits", ["Production", "Staging"])
    refused(client.delete_model_version, "digits", "2")
    client.delete_model_version("digits", "3")
    refused(client.get_model_version, "digits", "3")
    refused(client.delete_registered_model, "digits")


def files(client, url, folder):
    repo = MlflowArtifactsRepository("mlflow-artifacts:/m2", tracking_uri=url)
    repo.list_artifacts()
    repo.delete_artifacts("data")
    refused(repo.delete_artifacts, "data")
    for i, uri in enumerate(("models:/digits@champion", "models:/digits/2", "models:/digits/Production")):
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / f"out{i}"))
    refused(MlflowArtifactsRepository("mlflow-artifacts:/.versions/digits/1", tracking_uri=url).delete_artifacts, "model.onnx")
    refused(client.get_run, "0123456789abcdef0123456789abcdef")  # not a tracking server


def session(url, folder):
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    client = mlflow.MlflowClient(url, url)
    models(client)
    versions(client, url, folder)
    pointers(client)
    files(client, url, folder)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else SCENARIO / "mlflow_exchange.jsonl"
    lines = []
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        with Server(Path(sys.argv[1]).resolve(), [], cwd=folder) as server:
            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), proxy_to(server.port, lines)) as proxy:
                threading.Thread(target=proxy.serve_forever, daemon=True).start()
                session(f"http://127.0.0.1:{proxy.server_port}", Path(folder))
                proxy.shutdown()
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} exchanges in {target}")


if __name__ == "__main__":
    main()
