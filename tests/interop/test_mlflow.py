"""The MLflow client, which others wrote, against the real binary: everything docs/mlflow.md says that it can do.

Not part of `make test`, for the client comes from the Python package index:

    python3 -m venv --system-site-packages venv && venv/bin/pip install mlflow-skinny
    make interop PYTHON=venv/bin/python
"""
import os
from pathlib import Path

import pytest

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
                  MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
try:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
except ImportError:
    mlflow = None

from helpers.models import bundle, plus
from helpers.registry import Registry

pytestmark = [pytest.mark.skipif(not mlflow, reason="mlflow is not installed: pip install mlflow-skinny"),
              pytest.mark.filterwarnings("ignore")]  # the client's own words about stages


@pytest.fixture
def server(start_server):
    return start_server(args=["--set", "registry.gc_grace=0s"])


@pytest.fixture
def client(server):
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    return mlflow.MlflowClient(server.url, server.url)


@pytest.fixture
def upload(server, tmp_path):
    """Uploads files {path: bytes} below a path of the proxy, as log_artifacts does."""
    def send(path, files):
        folder = tmp_path / "upload" / path
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        artifacts(server, path).log_artifacts(str(folder))
        return f"mlflow-artifacts:/{path}"
    return send


def artifacts(server, path=""):
    return MlflowArtifactsRepository(f"mlflow-artifacts:/{path}", tracking_uri=server.url)


def refused(error_code, function, *arguments, **fields):
    with pytest.raises(MlflowException) as caught:
        function(*arguments, **fields)
    assert caught.value.error_code == error_code, caught.value
    return str(caught.value)


def read(folder):
    folder = Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- registered models

def test_life_of_a_model(client):
    made = client.create_registered_model("digits", tags={"team": "vision", "empty": ""}, description="reads digits")
    got = client.get_registered_model("digits")
    assert got.name == made.name == "digits" and got.description == "reads digits"
    assert got.tags == {"team": "vision", "empty": ""} and got.aliases == {} and not got.latest_versions
    assert got.creation_timestamp == got.last_updated_timestamp > 1_600_000_000_000
    assert client.update_registered_model("digits", "new words").description == "new words"
    client.rename_registered_model("digits", "numbers")
    assert client.get_registered_model("numbers").description == "new words"
    assert "digits" in refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "digits")
    client.delete_registered_model("numbers")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "numbers")
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_registered_model, "numbers")


def test_what_exists_already(client):
    client.create_registered_model("a")
    client.create_registered_model("b")
    refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, "a")
    refused("RESOURCE_ALREADY_EXISTS", client.rename_registered_model, "a", "b")


@pytest.mark.parametrize("name", ["a/b", "a b", "-a", "ä", "a:b", "x" * 129])
def test_names_that_are_none(client, name):
    refused("INVALID_PARAMETER_VALUE", client.create_registered_model, name)


def test_tags_of_models(client):
    client.create_registered_model("a")
    client.set_registered_model_tag("a", "stage of.life", "new")
    client.set_registered_model_tag("a", "n", 5)
    assert client.get_registered_model("a").tags == {"stage of.life": "new", "n": "5"}
    client.delete_registered_model_tag("a", "n")
    client.delete_registered_model_tag("a", "never")
    assert client.get_registered_model("a").tags == {"stage of.life": "new"}
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_tag, "a", "bad\tkey", "x")


def test_search_models(client):
    for name, team in (("digits", "vision"), ("Digits-2", "vision"), ("faces", "vision"), ("words", "text")):
        client.create_registered_model(name, tags={"team": team, "dotted.key": name})

    def search(text=None, **more):
        return [m.name for m in client.search_registered_models(text, **more)]

    assert search() == ["Digits-2", "digits", "faces", "words"]
    assert search("name = 'faces'") == ["faces"] == search("name='faces'")
    assert search("name LIKE 'dig%'") == ["digits"]
    assert search("name ilike 'DIG%'") == ["Digits-2", "digits"]
    assert search("name != 'faces' and tags.team = 'vision'") == ["Digits-2", "digits"]
    assert search("tag.`dotted.key` = 'words'") == ["words"] == search("tags.dotted.key LIKE 'w_rds'")
    assert search("tags.team != 'vision'") == ["words"]
    assert search("tags.none = 'x'") == []
    assert search(order_by=["name DESC"]) == ["words", "faces", "digits", "Digits-2"]
    client.update_registered_model("faces", "changed last")
    assert search(order_by=["last_updated_timestamp DESC", "name"])[0] == "faces"
    first = client.search_registered_models(max_results=3)
    rest = client.search_registered_models(max_results=3, page_token=first.token)
    assert [m.name for m in first] + [m.name for m in rest] == search() and not rest.token
    for wrong in ("name", "name = faces", "name > 'a'", "colour = 'x'", "name = 'a' OR name = 'b'", "name = 'a", "metrics.x = '1'"):
        assert "filter" in refused("INVALID_PARAMETER_VALUE", client.search_registered_models, wrong)
    refused("INVALID_PARAMETER_VALUE", client.search_registered_models, order_by=["colour"])
    refused("INVALID_PARAMETER_VALUE", client.search_registered_models, page_token="nonsense")


# ---- versions

def test_life_of_a_version(client, upload):
    client.create_registered_model("a")
    source = upload("runs/7/model", bundle(1))
    made = client.create_model_version("a", source, run_id="7", tags={"git": "abc"}, description="the first")
    got = client.get_model_version("a", "1")
    assert dict(got) == dict(made)
    assert (int(got.version), got.status, got.current_stage, got.source) == (1, "READY", "None", source)
    assert (got.run_id, got.description, got.tags, got.aliases) == ("7", "the first", {"git": "abc"}, [])
    assert client.update_model_version("a", "1", "other words").description == "other words"
    client.set_model_version_tag("a", "1", "k", "v")
    client.delete_model_version_tag("a", "1", "git")
    assert client.get_model_version("a", "1").tags == {"k": "v"}
    client.delete_model_version("a", "1")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, "a", "1")
    assert int(client.create_model_version("a", source).version) == 2


def test_sources(client, upload):
    client.create_registered_model("a")
    upload("file", {"model.onnx": plus(1)})
    assert int(client.create_model_version("a", "mlflow-artifacts:/file/model.onnx").version) == 1
    assert int(client.create_model_version("a", "mlflow-artifacts:/file/").version) == 2
    for wrong in ("runs:/abc/model", "s3://bucket/model", "/tmp/model", "mlflow-artifacts://elsewhere/file",
                  "mlflow-artifacts:/nothing", "mlflow-artifacts:/a/../file", "models:/abc"):
        message = refused("INVALID_PARAMETER_VALUE", client.create_model_version, "a", wrong)
        assert "source" in message or "path" in message
    refused("RESOURCE_DOES_NOT_EXIST", client.create_model_version, "a", "models:/a/9")
    refused("RESOURCE_DOES_NOT_EXIST", client.create_model_version, "none", "mlflow-artifacts:/file")
    upload("text", {"README.md": b"no model"})
    assert "model" in refused("INVALID_PARAMETER_VALUE", client.create_model_version, "a", "mlflow-artifacts:/text")


def test_register_model(client, upload):
    source = upload("m", {"model.onnx": plus(1), "MLmodel": b"flavors: {}\n", "data/labels.txt": b"x\n"})
    first = mlflow.register_model(source, "a", tags={"by": "me"})
    assert (first.name, int(first.version), first.tags) == ("a", 1, {"by": "me"})
    assert int(mlflow.register_model(source, "a").version) == 2  # the model exists by now


def test_a_version_keeps_its_files(client, server, upload, tmp_path):
    files = {"model.onnx": plus(1), "notes/a.txt": b"one"}
    source = upload("m", files)
    client.create_registered_model("a")
    client.create_model_version("a", source)
    upload("m", {"model.onnx": plus(2)})
    artifacts(server, "m").delete_artifacts("notes")
    assert [f.path for f in artifacts(server, "m").list_artifacts()] == ["model.onnx"]
    with Registry(server.port) as registry:
        registry.gc(days=0)
    assert read(mlflow.artifacts.download_artifacts("models:/a/1", dst_path=str(tmp_path / "out"))) == files


def test_copies(client, upload):
    client.create_registered_model("a")
    upload("m", bundle(1))
    version = client.create_model_version("a", "mlflow-artifacts:/m", tags={"k": "v"}, description="words")
    copy = client.copy_model_version(f"models:/a/{version.version}", "b")
    assert (copy.name, int(copy.version), copy.tags, copy.description) == ("b", 1, {"k": "v"}, "words")
    client.set_registered_model_alias("a", "best", "1")
    for source in ("models:/a/1", "models:/a@best", "models:/a/None", "models:/a/latest"):
        client.create_model_version("b", source)
    a = read(mlflow.artifacts.download_artifacts("models:/a/1"))
    assert a == bundle(1) and a == read(mlflow.artifacts.download_artifacts("models:/b/5"))


def test_search_versions(client, upload):
    for name in ("a", "b"):
        client.create_registered_model(name)
        for i in range(3):
            source = upload(f"{name}{i}", {"model.onnx": plus(i)})
            client.create_model_version(name, source, run_id=f"run-{i}", tags={"odd": str(i % 2)})

    def search(text=None, **more):
        return [(v.name, int(v.version)) for v in client.search_model_versions(text, **more)]

    assert search("name = 'a'") == [("a", 3), ("a", 2), ("a", 1)]
    assert search() == [("a", 3), ("a", 2), ("a", 1), ("b", 3), ("b", 2), ("b", 1)]
    assert search("run_id = 'run-1'") == [("a", 2), ("b", 2)]
    assert search("run_id IN ('run-0', 'run-2') AND name = 'b'") == [("b", 3), ("b", 1)]
    assert search("source_path = 'mlflow-artifacts:/b1'") == [("b", 2)]
    assert search("version_number > 1 AND version_number <= 2 AND name LIKE '_'") == [("a", 2), ("b", 2)]
    assert search("tags.odd = '1'", order_by=["name DESC"]) == [("b", 2), ("a", 2)]
    assert search(order_by=["version_number ASC", "name DESC"])[:3] == [("b", 1), ("a", 1), ("b", 2)]
    found, token = [], None
    while token != "":
        page = client.search_model_versions("name != 'c'", max_results=4, order_by=["creation_timestamp DESC"], page_token=token)
        found, token = found + [(v.name, int(v.version)) for v in page], page.token or ""
    assert sorted(found) == sorted(search()) and len(set(found)) == 6
    assert search("name = 'nothing'") == []


# ---- stages and aliases

def test_stages(client, upload):
    client.create_registered_model("a")
    for i in (1, 2, 3):
        client.create_model_version("a", upload(f"m{i}", bundle(i)))
    moved = client.transition_model_version_stage("a", "1", "Production")
    assert moved.current_stage == "Production"
    client.transition_model_version_stage("a", "3", "staging")
    moved = client.transition_model_version_stage("a", "2", "Production", archive_existing_versions=True)
    assert (int(moved.version), moved.current_stage) == (2, "Production")
    assert client.get_model_version("a", "1").current_stage == "Archived"

    def latest(stages=None):
        return {v.current_stage: int(v.version) for v in client.get_latest_versions("a", stages)}

    assert latest() == {"Archived": 1, "Production": 2, "Staging": 3}
    assert latest(["Production"]) == {"Production": 2} and latest(["None"]) == {}
    assert latest(["staging", "Archived"]) == {"Archived": 1, "Staging": 3}
    newest = client.get_registered_model("a").latest_versions
    assert {v.current_stage: int(v.version) for v in newest} == latest()
    assert {int(v.version) for v in client.search_registered_models("name = 'a'")[0].latest_versions} == {1, 2, 3}
    refused("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, "a", "1", "Somewhere")
    refused("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, "a", "1", "None", True)
    refused("RESOURCE_DOES_NOT_EXIST", client.transition_model_version_stage, "a", "9", "Staging")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_latest_versions, "nothing")
    refused("INVALID_STATE", client.delete_model_version, "a", "2")
    refused("INVALID_STATE", client.delete_registered_model, "a")


def test_aliases(client, upload):
    client.create_registered_model("a")
    for i in (1, 2):
        client.create_model_version("a", upload(f"m{i}", bundle(i)))
    client.set_registered_model_alias("a", "champion", "1")
    client.set_registered_model_alias("a", "Some_other-1", 2)
    assert int(client.get_model_version_by_alias("a", "champion").version) == 1
    assert {k: int(v) for k, v in client.get_registered_model("a").aliases.items()} == {"champion": 1, "Some_other-1": 2}
    assert client.get_model_version("a", "2").aliases == ["Some_other-1"]
    client.set_registered_model_alias("a", "champion", "2")
    assert int(client.get_model_version_by_alias("a", "champion").version) == 2
    client.delete_registered_model_alias("a", "Some_other-1")
    client.delete_registered_model_alias("a", "Some_other-1")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version_by_alias, "a", "Some_other-1")
    refused("RESOURCE_DOES_NOT_EXIST", client.set_registered_model_alias, "a", "x", "7")
    for wrong in ("v1", "latest", "7", "live"):
        refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, "a", wrong, "1")


def test_gates(client, server, upload):
    """What would go live is tried first; the message names the gate."""
    client.create_registered_model("a")
    client.create_model_version("a", upload("good", bundle(1, golden=2)))
    client.create_model_version("a", upload("bad", bundle(1, golden=7)))
    client.set_registered_model_alias("a", "champion", "1")
    assert "golden" in refused("INVALID_STATE", client.set_registered_model_alias, "a", "champion", "2")
    assert "golden" in refused("INVALID_STATE", client.transition_model_version_stage, "a", "2", "Production", True)
    assert int(client.get_model_version_by_alias("a", "champion").version) == 1
    assert client.get_model_version("a", "2").current_stage == "None"
    client.set_registered_model_alias("a", "candidate", "2")  # it need not be good for this
    with Registry(server.port) as registry:
        assert registry.model("a")["live"] == 1


# ---- files

def test_downloads(client, upload, tmp_path):
    files = {**bundle(1), "data/a b.txt": b"spaces", "data/\u00e4.bin": bytes(range(256)) * 300, "data/empty": b""}
    client.create_registered_model("a")
    client.create_model_version("a", upload("m", files))
    client.set_registered_model_alias("a", "champion", "1")
    client.transition_model_version_stage("a", "1", "Production")
    for i, uri in enumerate(("models:/a@champion", "models:/a/1", "models:/a/Production", "models:/a/latest",
                             "mlflow-artifacts:/m")):
        assert read(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / str(i)))) == files
    one = mlflow.artifacts.download_artifacts("models:/a@champion/data/a b.txt", dst_path=str(tmp_path / "one"))
    assert Path(one).read_bytes() == b"spaces"
    assert client.get_model_version_download_uri("a", "1") == "mlflow-artifacts:/.versions/a/1"
    with pytest.raises(MlflowException):
        mlflow.artifacts.download_artifacts("models:/a/2")


def test_artifacts(client, server, upload):
    repo = artifacts(server, "x")
    upload("x", {"a.txt": b"1", "d/b.txt": b"22", "d/e/c.txt": b"333"})
    assert [(f.path, f.is_dir, f.file_size) for f in repo.list_artifacts()] == [("a.txt", False, 1), ("d", True, None)]
    assert [(f.path, f.is_dir) for f in repo.list_artifacts("d")] == [("d/b.txt", False), ("d/e", True)]
    assert repo.list_artifacts("a.txt") == [] == repo.list_artifacts("nothing")
    repo.delete_artifacts("d/e")
    assert [f.path for f in repo.list_artifacts("d")] == ["d/b.txt"]
    assert mlflow.artifacts.load_text("mlflow-artifacts:/x/d/b.txt") == "22"
    assert [f.path for f in artifacts(server).list_artifacts()] == ["x"]


def test_versions_cannot_be_written(client, server, upload, tmp_path):
    client.create_registered_model("a")
    client.create_model_version("a", upload("m", bundle(1)))
    (tmp_path / "model.onnx").write_bytes(plus(9))
    repo = artifacts(server, ".versions/a/1")
    for change in (lambda: repo.log_artifact(str(tmp_path / "model.onnx")), lambda: repo.delete_artifacts("model.onnx"),
                   lambda: repo.delete_artifacts()):
        with pytest.raises(Exception, match="400"):
            change()
    assert read(mlflow.artifacts.download_artifacts("models:/a/1")) == bundle(1)


def test_pushed_versions_are_seen(client, server):
    """What came through the native routes."""
    with Registry(server.port) as registry:
        registry.push("n", bundle(3))
        registry.promote("n", 1)
    assert int(client.get_model_version_by_alias("n", "champion").version) == 1
    assert client.get_model_version("n", "1").source == "mlflow-artifacts:/.versions/n/1"
    assert read(mlflow.artifacts.download_artifacts("models:/n@champion")) == bundle(3)


def test_audit_log_names_what_was_done(client, server, upload):
    client.create_registered_model("a")
    client.create_model_version("a", upload("m", {"model.onnx": plus(1)}))
    with Registry(server.port) as registry:
        rows = registry.audit(limit=100)
        assert registry.audit_verify()["ok"]
    assert [(r["action"], r["object"]) for r in rows] == [
        ("version.create", "a/1"), ("artifact.put", "mlflow-artifacts:/m/model.onnx"), ("model.create", "a")]
