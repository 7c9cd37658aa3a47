"""`slipway backup` beside a server that goes on, and `slipway restore` into an empty one."""
import hashlib
import json
import re
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from helpers.client import tensor
from helpers.models import plus
from helpers.registry import Refused, Registry
from helpers.waiting import until


@pytest.fixture
def server(start_server):
    return start_server(args=("--set", "registry.gc_grace=0s"))


@pytest.fixture
def registry(server):
    with Registry(server.port) as registry:
        yield registry


@pytest.fixture
def slipway(run_slipway):
    """Runs a command that must end with this exit code; its output, its message or, with json, what it printed."""
    def run(*words, code=0, json_wanted=False):
        done = run_slipway(*words, *(["--json"] if json_wanted else []))
        assert done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert (done.stderr == "") == (code == 0), done.stderr
        return json.loads(done.stdout) if json_wanted else done.stdout if code == 0 else done.stderr
    return run


def data_of(server):
    return server.cwd / "slipway-data"


def files(number):
    return {"model.onnx": plus(number), "note.txt": f"version {number}".encode()}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def stored(folder, digest):
    """Where the file with this digest lies below the folder."""
    found = [p for p in folder.rglob(digest) if p.is_file()]
    assert len(found) == 1, f"{digest}: {found}"
    return found[0]


def damage(path):
    """One bit."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def answer(client, name):
    done = client.infer(name, [tensor("x", [1], "FP32", [1])])
    return done.json()["outputs"][0]["data"][0] if done.status == 200 else None


def state(registry, name):
    """Everything there is to know of a model, with the digest of each file as it is given out."""
    versions = registry.versions(name, limit=1000)["versions"]
    contents = {}
    for version in versions:
        number = version["version"]
        for file in registry.files(name, number):
            _, _, data = registry.request("GET", f"/api/v1/models/{name}/versions/{number}/files/{file['path']}")
            assert sha256(data) == file["sha256"] and len(data) == file["size"]
            contents[number, file["path"]] = file["sha256"]
    return registry.model(name), versions, registry.history(name), contents


# ---- backup


def test_a_backup_is_made_beside_a_server_and_restored(server, registry, slipway, start_server, tmp_path):
    backups, restored = tmp_path / "backups", tmp_path / "restored"
    for number in (1, 2, 3):
        registry.push("m", files(number), tags={"n": str(number)}, metrics={"auc": number / 10})
    registry.promote("m", 1)
    registry.promote("m", 3)
    registry.alias("m", "challenger", 2)
    made = slipway("backup", backups, "--data-dir", data_of(server))
    assert re.search(r"holds +6 files", made) and re.search(r"copied +6 files", made)
    assert "is whole" in slipway("backup", backups, "--verify")
    before, rows = state(registry, "m"), registry.audit(limit=1000)
    text = slipway("restore", backups, "--data-dir", restored)
    assert re.search(r"restored +6 files", text) and f"slipway serve --data-dir {restored}" in text
    other = start_server(args=("--data-dir", restored, "--set", "registry.gc_grace=0s"))
    with other.client() as client, Registry(other.port) as again:
        assert state(again, "m") == before
        assert again.audit_verify()["ok"] and again.audit(limit=1000)[-len(rows):] == rows
        until(lambda: answer(client, "m") == 4, "the live version is served")
        assert again.rollback("m")["version"] == 1
        until(lambda: answer(client, "m") == 2, "the version before it is served")
        assert again.push("m", files(4))["version"] == 4
        again.delete_version("m", 4)
        assert again.gc(days=0)["blobs"]["count"] == 2, "the restored server cannot collect garbage"


def test_backups_while_somebody_pushes(server, slipway, start_server, tmp_path):
    """Each backup is a moment of the registry: versions 1 to n, all of their files, and nothing else."""
    backups, stop, failures = tmp_path / "backups", threading.Event(), []

    def push():
        try:
            with Registry(server.port) as registry:
                number = 0
                while not stop.is_set():
                    number += 1
                    version = registry.push("m", files(number))["version"]
                    registry.promote("m", version)
                    collect(registry)
        except Exception as failure:  # noqa: BLE001 (told by the test)
            failures.append(failure)

    def collect(registry):
        try:
            registry.gc(days=0)
        except Refused as refusal:  # a backup is running
            if refusal.status != 409:
                raise

    thread = threading.Thread(target=push)
    thread.start()
    made = []
    try:
        with Registry(server.port) as registry:
            for count in (3, 6, 9):
                until(lambda: len(registry.models()["models"]) and registry.model("m")["latest"] >= count, f"version {count}")
                made.append(slipway("backup", backups, "--data-dir", data_of(server), json_wanted=True))
                slipway("backup", backups, "--verify")
    finally:
        stop.set()
        thread.join(60)
    assert not failures and not thread.is_alive(), failures
    for number, manifest in enumerate(made):
        folder = tmp_path / f"restored{number}"
        slipway("restore", backups, "--at", manifest["time"], "--data-dir", folder)
        other = start_server(args=("--data-dir", folder))
        with other.client() as client, Registry(other.port) as registry:
            model, versions, _, contents = state(registry, "m")
            numbers = [v["version"] for v in versions]
            assert numbers == list(range(len(numbers), 0, -1)) and len(numbers) >= 3 * (number + 1)
            assert contents == {(n, p): sha256(d) for n in numbers for p, d in files(n).items()}
            assert registry.audit_verify()["ok"]
            until(lambda: answer(client, "m") == 1 + model["live"], "the version that was live is served")


def test_the_next_backup_copies_only_what_is_new(server, registry, slipway, tmp_path):
    backups, words = tmp_path / "backups", ("--data-dir", data_of(server))
    registry.push("m", files(1))
    first = slipway("backup", backups, *words, json_wanted=True)
    assert (first["files"], first["copied_files"]) == (2, 2)
    registry.push("m", {**files(1), "new.txt": b"new"})
    second = slipway("backup", backups, *words, json_wanted=True)
    assert (second["files"], second["copied_files"], second["copied_bytes"]) == (3, 1, 3)
    assert slipway("backup", backups, *words, json_wanted=True)["copied_files"] == 0
    listed = slipway("backup", backups, "--list", json_wanted=True)
    assert [b["snapshot"] for b in listed][:2] == [first["snapshot"], second["snapshot"]] and len(listed) == 3
    text = slipway("backup", backups, "--list").splitlines()
    assert text[0].split()[0] == "BACKUP" and text[1].split()[0] == first["snapshot"] and len(text) == 4


def spoil_blob(folder, digest):
    damage(stored(folder, digest))


def lose_blob(folder, digest):
    stored(folder, digest).unlink()


def spoil_file(name):
    def spoil(folder, _):
        damage(next(folder.glob(f"snapshots/*/{name}")))
    return spoil


def spoil_manifest(folder, _):
    path = next(folder.glob("snapshots/*/manifest.json"))
    path.write_text(path.read_text()[:-20])


@pytest.mark.parametrize("spoil, named", [
    (spoil_blob, None), (lose_blob, None), (spoil_file("metadata.sqlite"), "metadata"), (spoil_file("blobs.txt"), "blobs"),
    (spoil_manifest, "manifest"),
], ids=["changed", "missing", "metadata", "list", "manifest"])
def test_damage_is_found_and_named_and_never_restored(server, registry, slipway, tmp_path, spoil, named):
    backups, target = tmp_path / "backups", tmp_path / "restored"
    registry.push("m", files(1))
    slipway("backup", backups, "--data-dir", data_of(server))
    digest = sha256(files(1)["note.txt"])
    spoil(backups, digest)
    assert (named or digest) in slipway("backup", backups, "--verify", code=1)
    assert (named or digest) in slipway("restore", backups, "--data-dir", target, code=1)
    assert not (target / "slipway.db").exists(), "a damaged backup was restored"
    if not named:  # the server still has the file: the next backup mends it
        slipway("backup", backups, "--data-dir", data_of(server))
        assert "is whole" in slipway("backup", backups, "--verify")


def test_a_damaged_store_is_not_backed_up(server, registry, slipway, tmp_path):
    backups, words = tmp_path / "backups", ("--data-dir", data_of(server))
    registry.push("m", files(1))
    digest = sha256(files(1)["note.txt"])
    damage(stored(data_of(server), digest))
    assert digest in slipway("backup", backups, *words, code=1)
    assert not list(backups.glob("snapshots/2*")), "a damaged file was called a backup"
    with sqlite3.connect(data_of(server) / "slipway.db") as database:
        database.execute("UPDATE audit SET actor = 'x' WHERE seq = 1")
    database.close()
    stored(data_of(server), digest).unlink()
    with Registry(server.port) as fresh:  # mends the file
        assert fresh.upload(files(1)["note.txt"]) == digest
    assert "row 1" in slipway("backup", backups, *words, code=1)  # a chain that does not hold is not kept either


# ---- restore


def test_back_to_how_things_were(server, registry, slipway, start_server, tmp_path):
    backups, words, made = tmp_path / "backups", ("--data-dir", data_of(server)), []
    for number in (1, 2, 3):
        registry.push("m", files(number))
        registry.promote("m", number)
        made.append(slipway("backup", backups, *words, json_wanted=True))
    registry.call("DELETE", "/api/v1/models/m?force=true")
    slipway("backup", backups, *words)
    for number, manifest in enumerate(made, 1):
        folder = tmp_path / f"restored{number}"
        assert slipway("restore", backups, "--at", manifest["time"], "--data-dir", folder,
                       json_wanted=True)["snapshot"] == manifest["snapshot"]
        with Registry(start_server(args=("--data-dir", folder)).port) as again:
            assert again.model("m")["live"] == again.model("m")["latest"] == number
    assert "newer than that" in slipway("restore", backups, "--at", "2020-01-01", "--data-dir", tmp_path / "x", code=3)
    assert "yesterday" in slipway("restore", backups, "--at", "yesterday", "--data-dir", tmp_path / "x", code=2)
    assert not (tmp_path / "x" / "slipway.db").exists()


def test_restore_only_into_an_empty_server(server, registry, slipway, tmp_path):
    backups, words = tmp_path / "backups", ("--data-dir", data_of(server))
    registry.push("m", files(1))
    slipway("backup", backups, *words)
    registry.push("m", files(2))
    assert "empty server" in slipway("restore", backups, *words, code=1)
    assert registry.model("m")["latest"] == 2 and registry.audit_verify()["ok"]
    server.stop()
    assert "empty server" in slipway("restore", backups, *words, code=1)
    with sqlite3.connect(data_of(server) / "slipway.db") as database:
        assert database.execute("SELECT count(*) FROM versions").fetchone() == (2,)
    database.close()


def test_what_is_no_folder_of_backups(server, slipway, tmp_path):
    full, nowhere = tmp_path / "full", tmp_path / "nowhere"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    words = ("--data-dir", data_of(server))
    assert "not empty" in slipway("backup", full, *words, code=1)
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    for command in (("backup", full, "--list"), ("backup", nowhere, "--list"), ("backup", nowhere, "--verify"),
                    ("restore", nowhere, "--data-dir", tmp_path / "new")):
        assert "holds no backups" in slipway(*command, code=3)
    assert not nowhere.exists()


@pytest.mark.parametrize("words", [["backup"], ["restore"], ["backup", "a", "b"], ["backup", "a", "--list", "--verify"],
                                   ["backup", "a", "--at", "1h"], ["backup", "a", "--verify", "--at", "soon"]],
                         ids=" ".join)
def test_wrong_usage(slipway, words, tmp_path):
    assert f"slipway {words[0]}: " in slipway(*words, code=2)
    assert not (tmp_path / "a").exists()


def test_there_is_no_registry_to_back_up(slipway, tmp_path):
    assert "there is no registry" in slipway("backup", tmp_path / "b", "--data-dir", tmp_path / "nowhere", code=3)
    assert not Path(tmp_path / "b").exists() and not (tmp_path / "nowhere").exists()


def test_a_copy_of_the_folder_is_as_good(server, registry, slipway, tmp_path):
    """Backups hold no path of the machine they were made on."""
    registry.push("m", files(1))
    slipway("backup", tmp_path / "backups", "--data-dir", data_of(server))
    shutil.move(tmp_path / "backups", tmp_path / "elsewhere")
    slipway("restore", tmp_path / "elsewhere", "--data-dir", tmp_path / "restored")
