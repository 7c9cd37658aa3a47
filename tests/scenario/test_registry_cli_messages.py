"""What `slipway model ...` and `slipway doctor` say, and with which exit code, where people go wrong or a script reads on."""
import contextlib
import hashlib
import http.server
import json
import shutil
import sqlite3
import threading

import pytest

from helpers.models import tar
from helpers.registry import read_files


class Cli:
    def __init__(self, run, server_url, state):
        self.run, self.env = run, {"SLIPWAY_SERVER": server_url, "XDG_STATE_HOME": str(state)}

    def __call__(self, *words, code=0):
        done = self.run(*words, env=self.env)
        assert done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def cli(server, run_slipway, tmp_path):
    return Cli(run_slipway, server.url, tmp_path / "state")


@pytest.fixture
def folder(tmp_path, test_models):
    """A bundle called mlp."""
    path = tmp_path / "bundle"
    path.mkdir()
    shutil.copy(test_models / "mlp_45.onnx", path / "model.onnx")
    (path / "bundle.yaml").write_text("name: mlp\nmodel: model.onnx\n")
    return path


def test_a_bundle_of_another_name_is_not_sent(cli, server, folder):
    done = cli("model", "push", "large", folder, code=1)
    assert "push it as mlp, or change `name` to large" in done.stderr
    assert not list((server.cwd / "slipway-data").rglob(hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()))
    assert json.loads(cli("model", "list", "--json").stdout)["models"] == []


def test_several_model_files_are_not_sent(cli, server, folder):
    (folder / "bundle.yaml").unlink()
    shutil.copy(folder / "model.onnx", folder / "second.onnx")
    done = cli("model", "push", "mlp", folder, code=1)
    assert "name one as `model` in bundle.yaml" in done.stderr
    assert not list((server.cwd / "slipway-data").rglob(hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()))


def test_an_archive_that_is_broken_is_no_wrong_usage(cli, folder, tmp_path):
    (tmp_path / "out.tar").write_bytes(tar({**read_files(folder), "../evil.txt": b"x"}))
    assert "evil.txt" in cli("model", "push", "mlp", tmp_path / "out.tar", code=1).stderr
    (tmp_path / "cut.tar").write_bytes(tar(read_files(folder))[:700])
    assert "archive" in cli("model", "push", "mlp", tmp_path / "cut.tar", code=1).stderr


def test_show_lists_the_files_for_scripts(cli, folder):
    cli("model", "push", "mlp", folder)
    shown = json.loads(cli("model", "show", "mlp", 1, "--json").stdout)
    assert shown["version"] == 1 and shown["files"] == 2
    assert {file["path"]: file["sha256"] for file in shown["file_list"]} == {
        path: hashlib.sha256(data).hexdigest() for path, data in read_files(folder).items()}
    assert sum(file["size"] for file in shown["file_list"]) == shown["size_bytes"]


def test_archive_says_what_keeps_a_version_live(cli, folder):
    cli("model", "push", "mlp", folder, "--promote")
    cli("model", "push", "mlp", folder)
    assert cli("model", "archive", "mlp", 2).stdout == "mlp version 2 is archived; live: 1\n"
    said = cli("model", "archive", "mlp", 1).stdout
    assert "alias champion keeps it live" in said and "slipway model unalias mlp champion" in said
    assert json.loads(cli("model", "show", "mlp", "--json").stdout)["model"]["live"] == 1


def test_push_tells_of_the_version_that_was_not_promoted(cli, folder):
    with open(folder / "bundle.yaml", "a") as file:
        file.write("gates: {min_accuracy: 0.9}\n")
    done = cli("model", "push", "mlp", folder, "--metric", "accuracy=0.5", "--promote", "--json", code=1)
    both = json.loads(done.stdout)
    assert both["version"]["version"] == 1 and both["promotion"] is None
    assert both["error"]["code"] == "gate_failed"
    assert [gate["name"] for gate in both["error"]["details"]["gates"] if gate["status"] == "failed"]
    assert "version 1 was added, but not promoted" in done.stderr
    error = json.loads(cli("model", "promote", "mlp", 1, "--json", code=1).stdout)["error"]
    assert error["code"] == "gate_failed"


# ---- servers that lie


class LyingServer(http.server.BaseHTTPRequestHandler):
    """Version 1 of m has one file, `listed`; `body` comes with `status` whatever file is asked for."""
    listed, body, status = None, b"what came", 200

    def do_GET(self):  # noqa: N802 (the name http.server wants)
        documents = {"/api/v1/models/m/versions/1": {"model": "m", "version": 1},
                     "/api/v1/models/m/versions/1/files": {"files": [self.listed]}}
        known = self.path in documents
        data = json.dumps(documents[self.path]).encode() if known else self.body
        self.asked.append(self.path)
        self.send_response(200 if known else self.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def liar():
    handler = type("Handler", (LyingServer,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join(10)


def listed(path, size):
    return {"path": path, "sha256": hashlib.sha256(LyingServer.body).hexdigest(), "size": size}


def pull(run_slipway, liar, target):
    return run_slipway("model", "pull", "m", 1, target, "--server", liar.url)


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_path_that_leads_out_is_the_servers_fault(run_slipway, liar, tmp_path):
    liar.listed = listed("../x", 9)
    assert pull(run_slipway, liar, tmp_path / "target").returncode == 3


@pytest.mark.parametrize("size", [5, 8, 10, 5_000_000])
def test_a_file_of_another_length_is_asked_for_once(run_slipway, liar, tmp_path, size):
    liar.listed = listed("a", size)
    done = pull(run_slipway, liar, tmp_path / "target")
    assert done.returncode in (1, 3) and "trying again" not in done.stderr, done
    assert len([path for path in liar.asked if path.endswith("/files/a")]) == 1
    assert files_under(tmp_path / "target") == []


def test_a_refused_file_leaves_nothing(run_slipway, liar, tmp_path):
    liar.listed, liar.status, liar.body = listed("a", 9), 404, b"{}"
    assert pull(run_slipway, liar, tmp_path / "target").returncode != 0
    assert files_under(tmp_path / "target") == []


# ---- doctor


def checks(run_slipway, data):
    done = run_slipway("doctor", "--json", "--data-dir", data, "--port", "0")
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_doctor_looks_at_the_database_and_leaves_it(run_slipway, start_server, tmp_path):
    assert "will be made" in checks(run_slipway, tmp_path / "none")["store"]["text"]
    assert not (tmp_path / "none").exists()
    server = start_server()
    data = server.cwd / "slipway-data"
    assert "migrations" in checks(run_slipway, data)["store"]["text"], "beside a server"
    server.stop()
    with contextlib.closing(sqlite3.connect(data / "slipway.db")) as database, database:
        database.execute("DELETE FROM schema_migrations WHERE number = 3")
        database.execute("DROP TABLE predictions")
    before = {path.name: path.read_bytes() for path in data.glob("slipway.db*")}
    store = checks(run_slipway, data)["store"]
    assert store["verdict"] == "ok" and "serve applies 1 of" in store["text"], store
    assert {path.name: path.read_bytes() for path in data.glob("slipway.db*")} == before
