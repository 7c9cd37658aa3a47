"""The registry from the command line: `slipway model ...` and `slipway audit ...` against a running server, as people use
them and with --json, and what their exit codes say. Backups are in test_registry_backup.py."""
import hashlib
import http.server
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from helpers.client import tensor
from helpers.proxy import Proxy
from helpers.registry import Registry, read_files
from helpers.server import REPORTS
from helpers.waiting import until

LARGE = 24 << 20  # of the files whose transfer is interrupted
SPARE = 8 << 20   # what may be sent twice: it was in the buffers of the system when the connection broke


class Cli:
    """slipway with the address of a server; `refused` and `json` name the exit code that a test expects."""

    def __init__(self, run, server_url, state):
        self.run_slipway, self.state = run, Path(state)
        self.env = {"SLIPWAY_SERVER": server_url, "XDG_STATE_HOME": str(state)}

    def run(self, *words, code=0, **options):
        done = self.run_slipway(*words, env=self.env, **options)
        codes = code if isinstance(code, tuple) else (code,)
        assert done.returncode in codes, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def __call__(self, *words, **options):
        done = self.run(*words, **options)
        assert done.stderr == "", done.stderr
        return done.stdout

    def json(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def refused(self, code, *words):
        """What it says when it ends with this code: one line that begins with the command."""
        done = self.run(*words, code=code)
        assert done.stderr.startswith(f"slipway {words[0]} {words[1]}: "), done.stderr
        return done.stderr


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def cli(server, run_slipway, tmp_path):
    return Cli(run_slipway, server.url, tmp_path / "state")


@pytest.fixture
def mlp(test_models):
    return test_models / "mlp_45.onnx"


def bundle(folder, mlp, **keys):
    """A bundle folder around the small network; keys go into bundle.yaml."""
    folder.mkdir()
    shutil.copy(mlp, folder / "model.onnx")
    (folder / "bundle.yaml").write_text(json.dumps({"name": "mlp", "model": "model.onnx", **keys}))
    return folder


def digests(folder):
    return {path: hashlib.sha256(data).hexdigest() for path, data in read_files(folder).items()}


def files_of(server, name, version):
    """{path: SHA-256} of a version, as the server lists them."""
    with Registry(server.port) as registry:
        return {f["path"]: f["sha256"] for f in registry.files(name, version)}


def answered_version(client, name):
    answer = client.infer(name, [tensor("features", [1, 45], "FP32", [0.5] * 45)])
    return int(answer.headers["X-Model-Version"]) if answer.status == 200 else None


def gates_of(text):
    """{gate: result} of the table that people see."""
    rows = [line.split() for line in text.splitlines()]
    begin = rows.index(["GATE", "RESULT", "MEASURED", "WANTED", "DETAIL"])
    return {row[0]: row[1] for row in rows[begin + 1:] if len(row) > 1 and row[1] in ("passed", "failed", "skipped")}


# ---- the first minutes


def test_from_a_file_to_traffic_and_back(cli, server, mlp):
    assert "slipway model push NAME PATH" in cli("model", "list")
    assert "mlp version 1: 1 file, 28.4 KiB (sent 28.4 KiB)" in cli("model", "push", "mlp", mlp)
    assert "mlp version 2" in cli("model", "push", "mlp", mlp, "--description", "again")
    with server.client() as client:
        assert answered_version(client, "mlp") is None, "a version that was not promoted is served"
        text = cli("model", "promote", "mlp", 1)
        assert gates_of(text)["load"] == "passed" and "mlp version 1 is now live; before: -" in text
        until(lambda: answered_version(client, "mlp") == 1, "version 1 is served")
        assert "mlp version 2 is now live; before: 1" in cli("model", "promote", "mlp", 2, "--reason", "better")
        until(lambda: answered_version(client, "mlp") == 2, "version 2 is served")
        assert "mlp version 1 is live again; before: 2" in cli("model", "rollback", "mlp", "--reason", "worse")
        until(lambda: answered_version(client, "mlp") == 1, "version 1 is served again")
        assert "nothing to go back to" in cli.refused(1, "model", "rollback", "mlp")
    history = cli("model", "history", "mlp").splitlines()
    assert [line.split()[3] for line in history[1:]] == ["rollback", "promote", "promote"]
    assert "worse" in history[1] and "current" in history[1] and "taken back" in history[2] and "better" in history[2]
    shown = cli("model", "show", "mlp")
    assert "champion=1" in shown and re.search(r"1 +live +Production +champion", shown)
    assert re.search(r"^mlp +1 +2 +2 +champion=1", cli("model", "list"), re.MULTILINE)


def test_everything_again_for_programs(cli, mlp):
    assert cli.json("model", "list") == {"models": [], "next_page_token": None}
    one = cli.json("model", "push", "mlp", mlp, "-t", "team=risk", "-m", "auc=0.97", "--source", "git:abc", "-d", "first")
    assert (one["version"], one["tags"], one["metrics"], one["source"], one["description"]) == \
        (1, {"team": "risk"}, {"auc": 0.97}, "git:abc", "first")
    two = cli.json("model", "push", "mlp", mlp, "--version", 2, "--promote")
    assert two["version"]["version"] == two["promotion"]["live"] == 2 and two["promotion"]["previous_live"] is None
    three = cli.json("model", "push", "mlp", mlp)
    assert three["version"] == 3 and three["digest"] == one["digest"]
    promoted = cli.json("model", "promote", "mlp", 3)
    assert (promoted["live"], promoted["previous_live"], promoted["forced"]) == (3, 2, False)
    assert {gate["name"]: gate["status"] for gate in promoted["gates"]}["signature"] == "passed"
    assert cli.json("model", "rollback", "mlp")["version"] == 2
    assert cli.json("model", "promote", "mlp", 3, "--alias", "challenger")["live"] == 2
    assert cli.json("model", "promote", "mlp", 1, "--stage", "staging")["live"] == 2
    model = cli.json("model", "show", "mlp")
    assert model["model"]["aliases"] == {"champion": 2, "challenger": 3} and model["model"]["live"] == 2
    assert [(v["version"], v["stage"]) for v in model["versions"]] == [(3, "Archived"), (2, "Production"), (1, "Staging")]
    assert cli.json("model", "show", "mlp", "challenger")["version"] == 3
    assert cli.json("model", "tag", "mlp", "a=b", "c=d")["tags"] == {"a": "b", "c": "d"}
    assert cli.json("model", "tag", "mlp/1", "team=", "x=y")["tags"] == {"x": "y"}
    assert cli.json("model", "unalias", "mlp", "challenger") == {"model": "mlp", "alias": "challenger", "deleted": True}
    assert cli.json("model", "archive", "mlp", 1)["version"] == 1
    assert cli.json("model", "delete", "mlp", 1, "--yes") == {"model": "mlp", "version": "1", "deleted": True}
    assert [h["version"] for h in cli.json("model", "history", "mlp")["history"]][0] == 2
    rows = cli.json("audit", "list", "--model", "mlp", "--action", "version.")["rows"]
    assert [row["object"] for row in rows if row["action"] == "version.create"] == ["mlp/3", "mlp/2", "mlp/1"]
    assert cli.json("audit", "verify")["ok"]


@pytest.mark.parametrize("words", [
    ["push", "NAME"], ["push", "a b", "x.onnx"], ["push", "m", "notes.txt"], ["push", "m", "model.onnx", "-t", "=x"],
    ["push", "m", "model.onnx", "-m", "auc=high"], ["push", "m", "model.onnx", "--version", "-1"],
    ["list", "--limit", "0"], ["show"], ["show", "m", "1", "2"], ["show", "m", "no version"], ["promote", "m"],
    ["promote", "m", "1", "--stage", "prod"], ["promote", "m", "1", "--alias", "5"], ["promote", "m", "1", "--force"],
    ["rollback"], ["rollback", "m", "--to", "-"], ["archive", "m"], ["unalias", "m"], ["unalias", "m", "live"],
    ["delete"], ["delete", "m", "1"], ["delete", "m", "1", "--yes", "--force"], ["tag", "m"], ["tag", "m", "x"],
    ["history"], ["pull", "m", "1"], ["gc", "--days", "-1"],
], ids=" ".join)
def test_wrong_usage_is_told_before_a_server_is_asked(run_slipway, tmp_path, words):
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "model.onnx").write_text("")
    done = run_slipway("model", *words, env={"SLIPWAY_SERVER": "http://127.0.0.1:1"})
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.startswith(f"slipway model {words[0]}: ") and "cannot reach" not in done.stderr


@pytest.mark.parametrize("words", [["model", "list"], ["model", "gc"], ["audit", "verify"], ["audit", "list"]])
def test_a_server_that_is_not_there(run_slipway, words):
    done = run_slipway(*words, "--server", "http://127.0.0.1:1")
    assert done.returncode == 3 and "cannot reach http://127.0.0.1:1" in done.stderr and "--server" in done.stderr


def test_what_is_not_there(cli, mlp, tmp_path):
    assert "no model nope" in cli.refused(3, "model", "show", "nope")
    assert "no model nope" in cli.refused(3, "model", "promote", "nope", 1)
    assert "No such file" in cli.refused(3, "model", "push", "mlp", tmp_path / "nowhere.onnx")
    cli("model", "push", "mlp", mlp)
    assert "no version or alias 9" in cli.refused(3, "model", "promote", "mlp", 9)
    assert "no version of model mlp is live" in cli.refused(3, "model", "show", "mlp", "live")
    assert "champion" in cli.refused(3, "model", "unalias", "mlp", "champion")
    assert "next version of model mlp is 2, not 7" in cli.refused(1, "model", "push", "mlp", mlp, "--version", 7)


def test_delete_asks_and_spares_what_is_live(cli, mlp):
    for _ in range(3):
        cli("model", "push", "mlp", mlp)
    cli("model", "promote", "mlp", 2)
    assert "--yes" in cli.refused(2, "model", "delete", "mlp", 1)
    assert "deleted mlp version 1" in cli("model", "delete", "mlp", 1, "--yes")
    assert "2" in cli.refused(1, "model", "delete", "mlp", 2, "--yes")
    assert "live version, 2" in cli.refused(1, "model", "delete", "mlp", "--yes")
    assert [v["version"] for v in cli.json("model", "show", "mlp")["versions"]] == [3, 2]
    assert "deleted mlp" in cli("model", "delete", "mlp", "--yes", "--force")
    assert cli.json("model", "list")["models"] == []
    assert cli.json("model", "push", "mlp", mlp)["version"] == 4, "a number was used again"


# ---- what is pushed


def packed(path, files):
    """The files as an archive of the kind that the name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:" + {".tar": "", ".tgz": "gz", ".gz": "gz", ".xz": "xz"}[path.suffix]) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_folder_is_what_its_files_are(cli, server, digits, tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)
    (folder / ".hidden").write_text("not for the registry")
    done = cli.run("model", "push", "digits", folder)
    assert "left out 1 hidden entry" in done.stderr
    assert files_of(server, "digits", 1) == digests(digits)
    assert all(digest in cli("model", "show", "digits", 1) for digest in digests(digits).values())
    (folder / "link").symlink_to("bundle.yaml")
    assert "is a link" in cli.refused((1, 2), "model", "push", "digits", folder)


def test_pushed_twice_nothing_is_sent(cli, server, digits):
    with Proxy(server.port) as proxy:
        cli.env["SLIPWAY_SERVER"] = proxy.url
        assert "(sent 90.7 KiB)" in cli("model", "push", "digits", digits)
        first, bytes_of_files = proxy.up, sum(len(d) for d in read_files(digits).values())
        assert first > bytes_of_files
        proxy.forget()
        assert "(the server had all of them already)" in cli("model", "push", "digits", digits)
        assert proxy.up < first - bytes_of_files + 1024


@pytest.mark.parametrize("name", ["digits.tar", "digits.tgz", "digits.tar.xz", "digits.zip"])
@pytest.mark.parametrize("prefix", ["", "digits/"])
def test_an_archive_is_its_folder(cli, digits, tmp_path, name, prefix):
    archive = packed(tmp_path / name, {prefix + path: data for path, data in read_files(digits).items()})
    pushed = cli.json("model", "push", "digits", archive)
    assert pushed["digest"] == cli.json("model", "push", "digits", digits)["digest"]
    assert cli.json("model", "push", "digits", archive)["version"] == 3


@pytest.mark.parametrize("path", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt"])
@pytest.mark.parametrize("name", ["digits.tar", "digits.zip"])
def test_an_archive_that_leads_out_is_refused(cli, digits, tmp_path, name, path):
    archive = packed(tmp_path / name, {**read_files(digits), path: b"evil"})
    assert "evil.txt" in cli.refused((1, 2), "model", "push", "digits", archive)
    assert cli.json("model", "list")["models"] == []


def test_external_data_goes_with_its_model(cli, server, test_models):
    assert "ext version 1: 2 files" in cli("model", "push", "ext", test_models / "external_data.onnx", "--promote")
    assert files_of(server, "ext", 1) == {name: hashlib.sha256((test_models / name).read_bytes()).hexdigest()
                                          for name in ("external_data.bin", "external_data.onnx")}
    with server.client() as client:
        answers = lambda: client.infer("ext", [tensor("x", [3], "FP32", [1, 2, 3])])  # noqa: E731
        until(lambda: answers().status == 200, "it is served")
        assert answers().json()["outputs"][0]["data"] == [11, 22, 33]
    assert "nowhere.bin" in cli.refused(3, "model", "push", "ext", test_models / "external_missing.onnx")


@pytest.mark.parametrize("name", ["truncated", "not_a_model", "empty"])
def test_a_file_that_is_no_model_is_refused_here(run_slipway, test_models, name):
    done = run_slipway("model", "push", "x", test_models / f"{name}.onnx", "--server", "http://127.0.0.1:1")
    assert done.returncode == 1 and f"{name}.onnx" in done.stderr


def test_a_folder_with_several_models_names_none(cli, mlp, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(mlp, folder / name)
    assert "several .onnx files" in cli.refused(1, "model", "push", "several", folder)
    assert cli.json("model", "list")["models"] == []


# ---- interrupted


def large_bundle(folder, mlp):
    bundle(folder, mlp, name="large")
    (folder / "large.bin").write_bytes(random.Random(7).randbytes(LARGE))
    return folder


def start_push(binary, cli, folder):
    return subprocess.Popen([str(binary), "model", "push", "large", str(folder)], env={**os.environ, **cli.env},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_was_killed_goes_on_where_it_was(binary, cli, server, mlp, tmp_path, number):
    folder = large_bundle(tmp_path / "large", mlp)
    with Proxy(server.port) as proxy:
        cli.env["SLIPWAY_SERVER"] = proxy.url
        proxy.stop_after("up", LARGE // 2)
        client = start_push(binary, cli, folder)
        proxy.wait_stopped()
        client.send_signal(number)
        client.communicate(timeout=30)
        assert client.returncode != 0
        proxy.release()
        proxy.forget()
        done = cli.run("model", "push", "large", folder)
        assert "large version 1: 3 files" in done.stdout
        assert proxy.up < LARGE // 2 + SPARE, f"{proxy.up} bytes were sent the second time"
    assert files_of(server, "large", 1) == digests(folder)
    assert list((cli.state / "slipway" / "uploads").iterdir()) == [], "an upload that has ended is remembered"


def test_a_push_outlives_a_restart_of_the_server(binary, cli, start_server, mlp, tmp_path):
    folder, data = large_bundle(tmp_path / "large", mlp), tmp_path / "data"
    first = start_server(args=("--data-dir", data))
    with Proxy(first.port) as proxy:
        cli.env["SLIPWAY_SERVER"] = proxy.url
        proxy.stop_after("up", LARGE // 2)
        client = start_push(binary, cli, folder)
        proxy.wait_stopped()
        first.signal(signal.SIGKILL)
        first.wait_exit()
        second = start_server(args=("--data-dir", data))
        proxy.port_behind = second.port
        proxy.release()
        output, messages = client.communicate(timeout=60)
        assert client.returncode == 0 and not REPORTS.search(messages), messages
        assert "large version 1: 3 files" in output and "trying again" in messages
        assert proxy.up < LARGE + SPARE, f"{proxy.up} bytes were sent"
    assert files_of(second, "large", 1) == digests(folder)


def test_a_pull_that_was_cut_goes_on_where_it_was(binary, cli, server, mlp, tmp_path):
    folder, target = large_bundle(tmp_path / "large", mlp), tmp_path / "target"
    cli.run("model", "push", "large", folder)
    with Proxy(server.port) as proxy:
        cli.env["SLIPWAY_SERVER"] = proxy.url
        proxy.stop_after("down", LARGE // 2)
        client = subprocess.Popen([str(binary), "model", "pull", "large", "1", str(target)],
                                  env={**os.environ, **cli.env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        proxy.wait_stopped()
        client.kill()
        client.wait(30)
        proxy.release()
        proxy.forget()
        assert not (target / "large.bin").exists(), "a file that is not whole has its name"
        cli.run("model", "pull", "large", 1, target)
        assert proxy.down < LARGE // 2 + SPARE, f"{proxy.down} bytes came the second time"
    assert read_files(target) == read_files(folder)


# ---- gates


def test_a_failing_gate_changes_nothing_and_says_why(cli, mlp, tmp_path):
    good, bad = (bundle(tmp_path / name, mlp, gates={"min_auc": 0.9}) for name in ("good", "bad"))
    cli("model", "push", "mlp", good, "--metric", "auc=0.95", "--promote")
    cli("model", "push", "mlp", bad, "--metric", "auc=0.5")
    done = cli.run("model", "promote", "mlp", 2, code=1)
    assert gates_of(done.stdout)["load"] == "passed" and "failed gates: auc" in done.stderr
    assert re.search(r"^auc +failed +0.5 +0.9 +at least", done.stdout, re.MULTILINE)
    assert cli.json("model", "show", "mlp")["model"]["live"] == 1
    gates = cli.json("model", "promote", "mlp", 2, code=1)["error"]["details"]["gates"]
    assert {"name": "auc", "status": "failed", "measured": 0.5, "wanted": 0.9}.items() <= gates[-1].items()
    assert re.search(r"^auc +failed", cli("model", "show", "mlp", 2), re.MULTILINE)
    assert "--reason" in cli.refused(2, "model", "promote", "mlp", 2, "--force")
    assert cli.json("model", "show", "mlp")["model"]["live"] == 1
    forced = cli.json("model", "promote", "mlp", 2, "--force", "--reason", "drill")
    assert forced["live"] == 2 and forced["forced"]
    row = cli.json("audit", "list", "--limit", 1)["rows"][0]
    assert (row["action"], row["object"], row["reason"]) == ("model.promote", "mlp/2", "drill")
    assert row["actor"].startswith("claimed:")


def test_push_and_promote_with_a_failing_gate_says_that_the_version_is_there(cli, mlp, tmp_path):
    folder = bundle(tmp_path / "bad", mlp, gates={"max_error": 0.1})
    done = cli.run("model", "push", "mlp", folder, "--promote", code=1)
    assert "version 1 was added, but not promoted" in done.stderr and gates_of(done.stdout)["error"] == "failed"
    assert cli.json("model", "show", "mlp")["model"]["live"] is None


def test_a_signature_that_callers_cannot_use_needs_a_word(cli, mlp, test_models):
    cli("model", "push", "m", mlp, "--promote")
    cli("model", "push", "m", test_models / "scalar.onnx")
    assert gates_of(cli.run("model", "promote", "m", 2, code=1).stdout)["signature"] == "failed"
    assert cli.json("model", "promote", "m", 2, "--allow-breaking")["live"] == 2


def test_what_does_not_load_cannot_be_forced(cli, test_models):
    cli("model", "push", "m", test_models / "unknown_operator.onnx")
    done = cli.run("model", "promote", "m", 1, "--force", "--reason", "x", code=1)
    assert "cannot be forced" in done.stderr and "Frobnicate" in done.stdout


def blob_path(server, digest):
    found = [p for p in (server.cwd / "slipway-data").rglob(digest) if p.is_file()]
    assert len(found) == 1, found
    return found[0]


def test_a_version_whose_file_was_tampered_with_is_not_promoted_nor_given_out(cli, server, mlp, tmp_path):
    cli("model", "push", "mlp", mlp)
    blob = blob_path(server, hashlib.sha256(mlp.read_bytes()).hexdigest())
    os.chmod(blob, 0o600)
    with open(blob, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    done = cli.run("model", "promote", "mlp", 1, "--force", "--reason", "x", code=1)
    assert gates_of(done.stdout)["digest"] == "failed"
    cli.refused(1, "model", "pull", "mlp", 1, tmp_path / "out")
    assert not (tmp_path / "out" / mlp.name).exists()


# ---- pull


def test_pull_gives_the_same_bytes_and_leaves_what_is_right(cli, digits, tmp_path):
    target = tmp_path / "target"
    cli("model", "push", "digits", digits, "--promote")
    assert "digits version 1 in" in cli("model", "pull", "digits", "live", target)
    assert read_files(target) == read_files(digits)
    assert "(received 0 B; the rest was there)" in cli("model", "pull", "digits", "champion", target)
    (target / "bundle.yaml").write_text("something of mine")
    assert "bundle.yaml is there already" in cli.refused(1, "model", "pull", "digits", 1, target)
    assert (target / "bundle.yaml").read_text() == "something of mine"
    cli("model", "pull", "digits", 1, target, "--force")
    assert read_files(target) == read_files(digits)


def test_pull_follows_no_link_out_of_the_folder(cli, digits, tmp_path):
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (target / "samples").symlink_to(outside)
    cli("model", "push", "digits", digits)
    done = cli.run("model", "pull", "digits", 1, target, "--force", code=3)
    assert "samples" in done.stderr and list(outside.iterdir()) == []


class LyingServer(http.server.BaseHTTPRequestHandler):
    """Says that version 1 of m has one file: `listed`, and sends `body` for whatever file is asked for."""
    protocol_version = "HTTP/1.1"
    listed, body = None, b"what came"

    def do_GET(self):  # noqa: N802 (the name http.server wants)
        path = self.path.split("?")[0]
        documents = {"/api/v1/models/m/versions/1": {"model": "m", "version": 1},
                     "/api/v1/models/m/versions/1/files": {"files": [self.listed]}}
        data = json.dumps(documents[path]).encode() if path in documents else self.body
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def lying_server():
    handler = type("Handler", (LyingServer,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize("path", ["../evil.txt", "/tmp/slipway-evil.txt", "a/../../evil.txt", "..", "", "a//b", "./a"])
def test_pull_writes_nothing_outside_whatever_the_server_says(run_slipway, lying_server, tmp_path, path):
    handler, url = lying_server
    handler.listed = {"path": path, "sha256": hashlib.sha256(handler.body).hexdigest(), "size": len(handler.body)}
    target = tmp_path / "down" / "target"
    target.parent.mkdir()
    done = run_slipway("model", "pull", "m", 1, target, "--server", url)
    assert done.returncode != 0 and "would leave the folder" in done.stderr, done.stderr
    assert [p for p in (tmp_path / "down").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("listed", [
    {"path": "a", "sha256": "00" * 32, "size": 9}, {"path": "a", "sha256": hashlib.sha256(b"what came").hexdigest(), "size": 8},
    {"path": "a", "sha256": "zz", "size": 9}, {"path": "a", "sha256": hashlib.sha256(b"what came").hexdigest(), "size": -1},
])
def test_pull_keeps_nothing_that_is_not_what_was_announced(run_slipway, lying_server, tmp_path, listed):
    handler, url = lying_server
    handler.listed = listed
    done = run_slipway("model", "pull", "m", 1, tmp_path / "target", "--server", url)
    assert done.returncode in (1, 3), done.stderr
    assert not (tmp_path / "target" / "a").exists()


# ---- gc


def test_gc_shows_and_then_removes_what_nothing_needs(start_server, run_slipway, mlp, tmp_path):
    server = start_server(args=("--set", "registry.gc_grace=0s"))
    cli = Cli(run_slipway, server.url, tmp_path / "state")
    folder = bundle(tmp_path / "one", mlp)
    note = folder / "note.txt"
    note.write_text("only in version 1")
    digest = hashlib.sha256(note.read_bytes()).hexdigest()
    cli("model", "push", "mlp", folder)
    note.write_text("only in version 2")
    cli("model", "push", "mlp", folder)
    assert "would be removed: 0 blobs" in cli("model", "gc", "--days", 0, "--dry-run")
    cli("model", "delete", "mlp", 1, "--yes")
    assert "would be removed: 0 blobs" in cli("model", "gc", "--dry-run"), "30 days have not passed"
    shown = cli("model", "gc", "--days", 0, "--dry-run")
    assert digest in shown and "would be removed: 1 blobs" in shown.replace("1 blob,", "1 blobs,")
    assert blob_path(server, digest).exists()
    removed = cli.json("model", "gc", "--days", 0)
    assert removed["blobs"]["count"] == 1 and [item["id"] for item in removed["items"]] == [digest]
    assert not list((server.cwd / "slipway-data").rglob(digest))
    cli("model", "pull", "mlp", 2, tmp_path / "target")
    assert read_files(tmp_path / "target") == read_files(folder)
    assert cli.json("model", "gc", "--days", 0)["blobs"]["count"] == 0


# ---- the audit log


def change(row):
    return [f"UPDATE audit SET actor = 'somebody else' WHERE seq = {row}"]


def remove(row):
    return [f"DELETE FROM audit WHERE seq = {row}"]


def swap(row):
    """With the one after it."""
    return [f"UPDATE audit SET seq = -1 WHERE seq = {row}", f"UPDATE audit SET seq = {row} WHERE seq = {row + 1}",
            f"UPDATE audit SET seq = {row + 1} WHERE seq = -1"]


@pytest.mark.parametrize("statements, named", [
    (change(3), 3), (remove(3), 3), (swap(3), 3), (remove(1), 1), (change(1), 1), (["DELETE FROM audit WHERE seq > 4"], 5),
    (["UPDATE audit SET reason = 'another' WHERE seq = 6"], 6), (["UPDATE audit SET reason = '' WHERE seq = 2"], 2),
    (["UPDATE audit SET time_ms = time_ms - 1 WHERE seq = 4"], 4),
    (["UPDATE audit SET after_json = '{}' WHERE seq = 4"], 4),
], ids=["changed", "removed", "swapped", "first-removed", "first-changed", "end-cut", "reason", "reason-empty", "time", "after"])
def test_audit_verify_names_the_row_that_is_wrong(cli, server, mlp, statements, named):
    cli("model", "push", "mlp", mlp)
    cli("model", "promote", "mlp", 1, "--alias", "a")
    for number in range(2):
        cli("model", "tag", "mlp", f"n={number}")
    cli("model", "unalias", "mlp", "a", "--reason", "why")
    text = cli("audit", "verify")
    assert re.fullmatch(r"the audit log holds: 6 rows, head [0-9a-f]{64}\n", text), text
    with sqlite3.connect(server.cwd / "slipway-data" / "slipway.db") as database:
        for statement in statements:
            assert database.execute(statement).rowcount >= 1
    database.close()
    message = cli.refused(1, "audit", "verify")
    assert re.search(rf"\brows? {named}\b", message), message
    report = json.loads(cli.run("audit", "verify", "--json", code=1).stdout)
    assert not report["ok"] and report["fault"]["seq"] == named and str(named) in report["fault"]["message"]


def test_audit_list_finds_who_did_what(cli, mlp):
    cli("model", "push", "mlp", mlp, "--promote")
    cli("model", "push", "mlp2", mlp)
    cli("model", "promote", "mlp", 1, "--alias", "challenger", "--reason", "to compare")
    text = cli("audit", "list")
    assert text.split()[:3] == ["ROW", "TIME", "(UTC)"] and "to compare" in text and "mlp2/1" in text
    assert "mlp2" not in cli("audit", "list", "--model", "mlp")
    assert len(cli("audit", "list", "--limit", 2).splitlines()) == 4 and "raise --limit" in cli("audit", "list", "--limit", 2)
    assert {r["action"] for r in cli.json("audit", "list", "--action", "model.promote")["rows"]} == {"model.promote"}
    assert cli.json("audit", "list", "--since", "1h")["rows"] == cli.json("audit", "list")["rows"]
    assert cli.json("audit", "list", "--since", "2100-01-01")["rows"] == []
    assert "no such rows" in cli("audit", "list", "--since", "2100-01-01")
    assert "yesterday" in cli.refused(2, "audit", "list", "--since", "yesterday")


# ---- the guide


def test_every_command_of_the_guide_works(binary, start_server, tmp_path):
    """The shell blocks of docs/registry.md, one after the other, as somebody would paste them. (A change is served a moment after
    the command that made it has ended: curl tries again.)"""
    root = Path(__file__).resolve().parents[2]
    blocks = re.findall(r"^```sh\n(.*?)^```$", (root / "docs" / "registry.md").read_text(), re.MULTILINE | re.DOTALL)
    blocks = [block for block in blocks if "slipway serve" not in block]
    assert len(blocks) > 5
    server = start_server()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "slipway").symlink_to(binary)
    (tmp_path / "models").symlink_to(root / "models")
    (tmp_path / "slipway-data").symlink_to(server.cwd / "slipway-data")
    env = {**os.environ, "SLIPWAY_SERVER": server.url, "XDG_STATE_HOME": str(tmp_path / "state")}
    for block in blocks:
        script = block.replace("http://127.0.0.1:8080", server.url)
        script = script.replace("curl -s", "curl -sS --fail-with-body --retry 5 --retry-all-errors")
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        if "models/digits:predict" in block:
            assert "predictions" in done.stdout
