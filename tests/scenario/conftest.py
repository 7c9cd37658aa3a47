"""Scenario tests run the real binary and talk to it over HTTP. What a test can ask for:

binary          path of the slipway binary: $SLIPWAY_BIN, else build/slipway.
test_models     folder (session) filled by `tools/make_test_models.py FOLDER`: small ONNX files and bundles.
digits          path of the starter bundle, models/digits.
start_server    function: start_server(model, ..., args=(...), env={...}, wait_ready=True) -> Server. Port and working
                folder are its own. All servers of a test are stopped when it ends, with SIGTERM, and must then exit
                with code 0 within 30 s and have written no sanitizer report and no failed assertion.
server, client  a server with the digits bundle, and one client of it.
shared_server   one server without models for all tests of a file, with its data in shared_server.cwd / "slipway-data".
registry        a helpers.registry.Registry of shared_server, whose answers are compared with /openapi.json.
model_name      a model name that no other test of the file has.
run_slipway     function: run_slipway("validate", path, ...) -> subprocess.CompletedProcess with text; for the commands
                that are not servers. Sanitizer reports fail the test.

Server          .port .url  .client()  .connect() bare socket  .raw(bytes) -> bytes  .wait_log(msg, **fields)
                .logs_of(msg)  .rss_kib()  .signal(n)  .wait_exit()  .stop()  .wait_ready()
Client          .get(path) .post(path, json) .request(method, path, body=, headers=) .infer(model, [tensor(...)])
                -> Response: .status .headers .body .text .json()
                A keep-alive connection. Every answer is compared with the server's own /openapi.json: the status must
                be listed for the route and method, the content type too, and JSON must fit its schema.

    from helpers.client import tensor

    def test_adds(start_server, test_models):
        server = start_server(test_models / "add.onnx")
        with server.client() as client:
            answer = client.infer("add", [tensor("a", [1], "FP32", [1]), tensor("b", [1], "FP32", [2])])
        assert answer.status == 200 and answer.json()["outputs"][0]["data"] == [3]

No test sleeps: wait for a log line, an answer or an exit, each with a limit. Mark a test of more than a few seconds
with @pytest.mark.slow. $TEST_SANITIZER names the sanitizer the binary was built with, for the few tests that
measure memory or time.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.registry import Registry
from helpers.server import REPORTS, Server

ROOT = Path(__file__).resolve().parents[2]


def pytest_make_parametrize_id(config, val, argname):
    """Bodies and other long values would make unreadable test names."""
    return argname if isinstance(val, (bytes, str)) and len(val) > 40 else None


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("SLIPWAY_BIN") or ROOT / "build" / "slipway").resolve()
    assert os.access(path, os.X_OK), f"{path} is not there: run `make build`"
    library = ROOT / "third_party" / "onnxruntime" / "libonnxruntime.so"
    if path.parent.parent != ROOT and library.exists():  # a build elsewhere does not find it by itself
        os.environ.setdefault("SLIPWAY_ORT_LIB", str(library))
    return path


@pytest.fixture(scope="session")
def test_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, ROOT / "tools" / "make_test_models.py", folder], check=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def digits():
    return ROOT / "models" / "digits"


@pytest.fixture
def start_server(binary, tmp_path, request):
    servers = []

    def start(*models, args=(), env=None, wait_ready=True):
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        server = Server(binary, models, args=args, env=env, cwd=folder, wait_ready=wait_ready)
        servers.append(server)
        return server

    yield start
    failures = []
    for server in servers:
        try:
            server.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def server(start_server, digits):
    return start_server(digits)


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def shared_server(binary, tmp_path_factory):
    with Server(binary, [], args=["--set", "registry.gc_grace=0s"], cwd=tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def registry(shared_server):
    with shared_server.client() as client:
        yield Registry(shared_server.port, client=client)


@pytest.fixture
def model_name(request):
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:100]


@pytest.fixture
def run_slipway(binary, tmp_path):
    def run(*arguments, env=None, timeout_s=60, **options):
        options.setdefault("cwd", tmp_path)
        done = subprocess.run([str(binary), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout_s, env={**os.environ, **(env or {})}, **options)
        assert not REPORTS.search(done.stderr), f"{done.args}:\n{done.stderr[-8000:]}"
        return done

    return run
