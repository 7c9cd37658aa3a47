"""Files of the registry: uploads that go on where they stopped, pushes of files and archives, pulls, and gc."""
import hashlib
import socket
import subprocess
import zipfile

import pytest

from helpers.models import bundle, plus, tar, zipped
from helpers.registry import Refused, disk, eventually

DATA = bytes(range(256)) * 4000  # 1 MB, several pieces of a streamed body


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def unique(model_name, size=1000):
    """Bytes that no other test has."""
    return (sha256(model_name.encode()) * (size // 64 + 1)).encode()[:size]


def begin(registry, **fields):
    return registry.call("POST", "/api/v1/uploads", fields)


def append(registry, upload, data, **query):
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return registry.call("PUT", f"/api/v1/uploads/{upload}?{text}", data, {"Content-Type": "application/octet-stream"})


def standing(registry, upload):
    return registry.call("GET", f"/api/v1/uploads/{upload}")


def refused(status, code, function, *arguments, **fields):
    with pytest.raises(Refused) as caught:
        function(*arguments, **fields)
    assert (caught.value.status, caught.value.code) == (status, code), caught.value
    return caught.value


def uploads_of(server):
    return {path for path in disk(server.cwd / "slipway-data") if path.startswith("uploads")}


def contents(registry, model, version):
    """{path: bytes} as pulled."""
    pulled = {}
    for file in registry.files(model, version):
        status, _, data = registry.pull(model, version, file["path"])
        assert status == 200 and sha256(data) == file["sha256"]
        pulled[file["path"]] = data
    return pulled


# ---- uploads


def test_upload_in_one_piece(shared_server, registry, model_name):
    data = unique(model_name) + DATA
    made = begin(registry, size=len(data), sha256=sha256(data))
    assert (made["offset"], made["size"], made["complete"]) == (0, len(data), False)
    done = append(registry, made["id"], data, offset=0)
    assert (done["complete"], done["offset"], done["sha256"]) == (True, len(data), sha256(data))
    refused(404, "not_found", standing, registry, made["id"])
    assert not any(made["id"] in path for path in disk(shared_server.cwd / "slipway-data"))


def test_what_is_here_already_is_not_sent_again(registry, model_name):
    data = unique(model_name)
    registry.upload(data)
    again = begin(registry, size=len(data), sha256=sha256(data))
    assert again == {"complete": True, "sha256": sha256(data), "size": len(data)}
    assert begin(registry, size=len(data), sha256=sha256(data).upper())["complete"], "in capitals too"


def test_upload_in_pieces(registry, model_name):
    data = unique(model_name, 500_000)
    made = begin(registry, size=len(data))
    for start in range(0, len(data), 170_001):
        answer = append(registry, made["id"], data[start:start + 170_001], offset=start)
        assert answer["offset"] == min(start + 170_001, len(data))
        assert answer["complete"] == (answer["offset"] == len(data))
        if not answer["complete"]:
            assert standing(registry, made["id"]) == {k: answer[k] for k in ("id", "offset", "size", "complete")}
    assert answer["sha256"] == sha256(data)


def test_upload_of_unknown_size(registry, model_name):
    data = unique(model_name)
    made = begin(registry)
    assert made["size"] is None
    assert not append(registry, made["id"], data[:600], offset=0)["complete"]
    done = append(registry, made["id"], data[600:], offset=600, commit="true")
    assert done["complete"] and done["sha256"] == sha256(data)


def test_upload_with_chunked_encoding(registry, model_name):
    data = unique(model_name, 300_000)
    made = begin(registry, size=len(data))
    status, _, body = registry.request("PUT", f"/api/v1/uploads/{made['id']}?offset=0",
                                       iter([data[:1], data[1:200_000], data[200_000:]]),
                                       {"Content-Type": "application/octet-stream"})
    assert status == 200 and sha256(data).encode() in body


def test_an_empty_file(registry, model_name):
    version = registry.push(model_name, {"model.onnx": plus(1), "empty.txt": b""})
    assert version["files"] == 2 and contents(registry, model_name, 1)["empty.txt"] == b""


def test_upload_goes_on_after_a_broken_connection(shared_server, registry, model_name):
    data = unique(model_name, 900_000)
    made = begin(registry, size=len(data), sha256=sha256(data))
    with shared_server.connect() as connection:
        connection.sendall(
            f"PUT /api/v1/uploads/{made['id']}?offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
            "Content-Type: application/octet-stream\r\n\r\n".encode() + data[:700_000])
        eventually(lambda: standing(registry, made["id"])["offset"] > 0, "nothing arrives")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset

    def go_on():  # the server may still hold the upload for the broken request
        offset = standing(registry, made["id"])["offset"]
        try:
            return offset, append(registry, made["id"], data[offset:], offset=offset)
        except Refused as refusal:
            assert refusal.status == 409, refusal
            return None

    offset, done = eventually(go_on, "the upload does not go on")
    assert 0 < offset <= 700_000 and done["complete"] and done["sha256"] == sha256(data)


def test_wrong_offset(registry, model_name):
    made = begin(registry, size=10)
    append(registry, made["id"], b"01234", offset=0)
    for wrong in (0, 4, 6, 100):
        error = refused(409, "conflict", append, registry, made["id"], b"56789", offset=wrong)
        assert error.details["offset"] == 5
    assert append(registry, made["id"], b"56789", offset=5)["sha256"] == sha256(b"0123456789")


def test_more_bytes_than_announced(shared_server, registry, model_name):
    made = begin(registry, size=10)
    with pytest.raises(Refused) as caught:
        append(registry, made["id"], b"01234567890", offset=0)
    assert caught.value.status in (400, 413) and "10" in caught.value.message, caught.value
    registry.call("DELETE", f"/api/v1/uploads/{made['id']}")


def test_give_an_upload_up(shared_server, registry, model_name):
    made = begin(registry, size=1000)
    append(registry, made["id"], b"01234", offset=0)
    assert any(made["id"] in path for path in disk(shared_server.cwd / "slipway-data"))
    registry.call("DELETE", f"/api/v1/uploads/{made['id']}")
    assert not any(made["id"] in path for path in disk(shared_server.cwd / "slipway-data"))
    refused(404, "not_found", standing, registry, made["id"])
    refused(404, "not_found", registry.call, "DELETE", f"/api/v1/uploads/{made['id']}")
    refused(404, "not_found", append, registry, made["id"], b"56789", offset=5)


@pytest.mark.parametrize("upload", ["0" * 32, "x", "..%2F..%2Fslipway.db", "0" * 31, "0" * 33, "%00" * 32])
def test_an_upload_that_is_not_there(registry, upload):
    for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
        status, _, data = registry.request(method, f"/api/v1/uploads/{upload}", body)
        assert status in (400, 404), (method, data)


@pytest.mark.parametrize("fields", [{"size": -1}, {"size": "10"}, {"size": 1.5}, {"sha256": "abc"},
                                    {"sha256": "g" * 64}, {"name": "x"}, {"size": 2**70}])
def test_an_upload_that_makes_no_sense(shared_server, registry, fields):
    before = disk(shared_server.cwd / "slipway-data")
    refused(400, "invalid_argument", begin, registry, **fields)
    assert disk(shared_server.cwd / "slipway-data") == before


def test_larger_than_the_limit(start_server):
    server = start_server(args=["--set", "artifacts.max_upload=1MiB"])
    with server.client() as client:
        answer = client.post("/api/v1/uploads", {"size": 2**20 + 1})
        assert answer.status == 413 and "1" in answer.json()["error"]["message"]
        made = client.post("/api/v1/uploads", {}).json()
        answer = client.request("PUT",
                                f"/api/v1/uploads/{made['id']}?offset=0",
                                body=b"x" * (2**20 + 1),
                                headers={"Content-Type": "application/octet-stream"})
        assert answer.status == 413, repr(answer)
        answer = client.request("POST",
                                "/api/v1/models/m/push",
                                body=b"x" * (2**20 + 1),
                                headers={"Content-Type": "application/octet-stream"})
        assert answer.status == 413, repr(answer)
        assert client.get("/api/v1/models/m").status == 404
    assert not [p for p in disk(server.cwd / "slipway-data") if made["id"] not in p]


def test_uploads_go_on_after_a_restart(start_server, tmp_path, model_name):
    args = ["--data-dir", tmp_path / "data"]
    data = unique(model_name)
    first = start_server(args=args)
    with first.client() as client:
        made = client.post("/api/v1/uploads", {"size": len(data)}).json()
        client.request("PUT", f"/api/v1/uploads/{made['id']}?offset=0", body=data[:400])
    first.stop()
    with start_server(args=args).client() as client:
        assert client.get(f"/api/v1/uploads/{made['id']}").json()["offset"] == 400
        done = client.request("PUT", f"/api/v1/uploads/{made['id']}?offset=400", body=data[400:]).json()
        assert done["complete"] and done["sha256"] == sha256(data)


# ---- versions of uploads


def test_a_version_of_an_uploaded_model_file(registry, model_name):
    made = begin(registry)
    assert not append(registry, made["id"], plus(1), offset=0, commit="false")["complete"]
    version = registry.call("POST", f"/api/v1/models/{model_name}/versions",
                            {"upload": made["id"], "file_name": "adder.onnx"})
    assert version["version"] == 1 and contents(registry, model_name, 1) == {"adder.onnx": plus(1)}
    refused(404, "not_found", standing, registry, made["id"])


def test_a_version_of_an_uploaded_archive(registry, model_name):
    files = bundle(1, model_name, golden=2)
    packed = tar(files)
    made = begin(registry, size=len(packed), sha256=sha256(packed))
    answer = append(registry, made["id"], packed[:999], offset=0, commit="false")
    answer = append(registry, made["id"], packed[999:], offset=999, commit="false")
    assert not answer["complete"]
    registry.call("POST", f"/api/v1/models/{model_name}/versions", {"upload": made["id"], "tags": {"k": "v"}})
    assert contents(registry, model_name, 1) == files and registry.version(model_name, 1)["tags"] == {"k": "v"}
    assert registry.promote(model_name, 1)["live"] == 1


def test_a_version_of_an_upload_that_is_not_whole(registry, model_name):
    packed = tar(bundle(1, model_name))
    made = begin(registry, size=len(packed))
    append(registry, made["id"], packed[:999], offset=0, commit="false")
    with pytest.raises(Refused) as caught:
        registry.call("POST", f"/api/v1/models/{model_name}/versions", {"upload": made["id"]})
    assert caught.value.status in (400, 409), caught.value
    refused(404, "not_found", registry.model, model_name)


# ---- push


@pytest.mark.parametrize("file_name", [None, "other.onnx"])
def test_push_a_model_file(registry, model_name, file_name):
    query = {"file_name": file_name} if file_name else {}
    version = registry.push_body(model_name, plus(1), description="Adds", source="here", expected_version=1, **query)
    assert (version["version"], version["description"], version["source"]) == (1, "Adds", "here")
    assert contents(registry, model_name, 1) == {file_name or "model.onnx": plus(1)}


def pack_zstd(files):
    return subprocess.run(["zstd", "-q", "-c"], input=tar(files), capture_output=True, check=True).stdout


PACKERS = {
    "tar": tar,
    "tar.gz": lambda files: tar(files, "w:gz"),
    "tar.xz": lambda files: tar(files, "w:xz"),
    "tar.zst": pack_zstd,
    "zip": zipped,
    "zip_stored": lambda files: zipped(files, zipfile.ZIP_STORED),
    "tar_in_a_folder": lambda files: tar(files, top="some-folder"),
    "tar_with_dots": lambda files: tar(files, top="."),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_push_an_archive(shared_server, registry, model_name, kind):
    if kind == "tar.zst" and subprocess.run(["sh", "-c", "command -v zstd"], capture_output=True).returncode:
        pytest.skip("no zstd program here")
    files = {**bundle(1, model_name, golden=2), "data/a/b.bin": unique(model_name, 3_000), "empty": b""}
    uploads = uploads_of(shared_server)
    assert registry.push_body(model_name, PACKERS[kind](files))["files"] == len(files)
    assert contents(registry, model_name, 1) == files
    assert registry.promote(model_name, 1)["live"] == 1
    eventually(lambda: uploads_of(shared_server) == uploads, "the archive stays on the disk")


def test_push_chunked(registry, model_name):
    data = tar({"model.onnx": plus(1), "more": DATA})
    version = registry.push_body(model_name, iter([data[i:i + 100_000] for i in range(0, len(data), 100_000)]))
    assert version["files"] == 2 and contents(registry, model_name, 1)["more"] == DATA


def test_push_with_curl(shared_server, registry, model_name, tmp_path):
    (tmp_path / "model.onnx").write_bytes(plus(1))
    url = f"{shared_server.url}/api/v1/models/{model_name}/push"
    for arguments in (["--data-binary", "@model.onnx"], ["-X", "POST", "--upload-file", "model.onnx"]):
        done = subprocess.run(["curl", "-sS", "-f", *arguments, url], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert registry.model(model_name)["latest"] == 2


def test_files_are_stored_once(shared_server, registry, model_name):
    big = unique(model_name, 100_000)
    registry.push(model_name, {"model.onnx": plus(1), "big": big})
    before = disk(shared_server.cwd / "slipway-data")
    registry.push_body(model_name, tar({"model.onnx": plus(1), "a": big, "b": big}))
    eventually(lambda: disk(shared_server.cwd / "slipway-data") == before, "the same content again")


def test_external_weights(registry, model_name, test_models):
    files = {p: (test_models / p).read_bytes() for p in ("external_data.onnx", "external_data.bin")}
    registry.push(model_name, files)
    assert registry.promote(model_name, 1)["live"] == 1


# ---- pull


@pytest.fixture(scope="module")
def pulled(shared_server):
    """A version with one file whose bytes are all known."""
    from helpers.registry import Registry
    with Registry(shared_server.port) as registry:
        registry.push("pulled", {"model.onnx": plus(1), "data.bin": DATA})
    return "pulled"


def test_pull(registry, pulled):
    status, headers, data = registry.pull(pulled, 1, "data.bin")
    assert status == 200 and data == DATA and headers["ETag"] == f'"{sha256(DATA)}"'
    assert headers["Content-Length"] == str(len(DATA)) and headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("wanted,start,end", [("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=100-", 100, None),
                                              ("bytes=-100", -100, None), ("bytes=1023999-", -1, None),
                                              ("bytes=5-99999999", 5, None), ("bytes=-99999999", 0, None)])
def test_ranges(registry, pulled, wanted, start, end):
    status, headers, data = registry.pull(pulled, 1, "data.bin", {"Range": wanted})
    assert status == 206 and data == DATA[start:end]
    first = start % len(DATA)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(data) - 1}/{len(DATA)}"


@pytest.mark.parametrize("wanted", ["bytes=1024000-", "bytes=99999999-99999999", "bytes=-0"])
def test_ranges_outside(registry, pulled, wanted):
    status, headers, _ = registry.pull(pulled, 1, "data.bin", {"Range": wanted})
    assert status == 416 and headers["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("wanted", ["bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--1"])
def test_ranges_that_mean_nothing(registry, pulled, wanted):
    status, _, data = registry.pull(pulled, 1, "data.bin", {"Range": wanted})
    assert (status, data == DATA) == (200, True), "RFC 9110: an invalid Range is ignored"


def test_conditional_requests(registry, pulled):
    tag = f'"{sha256(DATA)}"'
    for value in (tag, f'"other", {tag}', "*"):
        status, headers, data = registry.pull(pulled, 1, "data.bin", {"If-None-Match": value})
        assert (status, data, headers["ETag"]) == (304, b"", tag), value
    assert registry.pull(pulled, 1, "data.bin", {"If-None-Match": '"other"'})[0] == 200
    assert registry.pull(pulled, 1, "data.bin", {"Range": "bytes=0-9", "If-Range": tag})[0] == 206
    assert registry.pull(pulled, 1, "data.bin",
                         {"Range": "bytes=0-9", "If-Range": '"other"'})[0] == 200, "the whole file"


def test_head(registry, pulled):
    status, headers, data = registry.pull(pulled, 1, "data.bin", method="HEAD")
    assert (status, data, headers["Content-Length"], headers["ETag"]) == (200, b"", str(len(DATA)), f'"{sha256(DATA)}"')


def test_pull_by_alias(registry, model_name):
    registry.push(model_name, {"model.onnx": plus(1)})
    registry.push(model_name, {"model.onnx": plus(2)})
    registry.alias(model_name, "mine", 1)
    registry.promote(model_name, 2)
    assert registry.pull(model_name, "mine", "model.onnx")[2] == plus(1)
    assert registry.pull(model_name, "live", "model.onnx")[2] == plus(2)


@pytest.mark.parametrize("path", ["nothing", "MODEL.ONNX", "data.bin/", "data.bin/x", "sub", "model.onnx%00"])
def test_pull_what_is_not_there(registry, pulled, path):
    status, _, data = registry.request("GET", f"/api/v1/models/{pulled}/versions/1/files/{path}")
    assert status in (400, 404), data


# ---- gc


def gc_keys(document):
    return {(item["kind"], item["id"]) for item in document["items"]}


def test_gc_removes_what_nothing_needs(shared_server, registry, model_name):
    registry.gc(days=0)  # what other tests left
    data, folder = unique(model_name), shared_server.cwd / "slipway-data"
    digest = registry.upload(data)
    registry.push(model_name, {"model.onnx": plus(1), "kept": unique(model_name + "kept")})
    registry.push(model_name, {"model.onnx": plus(1), "gone": unique(model_name + "gone")})
    registry.delete_version(model_name, 2)
    before = disk(folder)
    wanted = {("blob", digest), ("blob", sha256(unique(model_name + "gone")))}
    dry = registry.gc(days=0, dry_run=True)
    assert dry["dry_run"] and gc_keys(dry) == wanted and dry["blobs"] == {"count": 2, "bytes": 2000}
    assert disk(folder) == before, "it only tells"
    done = registry.gc(days=0)
    assert not done["dry_run"] and gc_keys(done) == wanted and done["kept"] == dry["kept"]
    gone = set(before) - set(disk(folder))
    assert {path.split("/")[-1] for path in gone} == {digest for _, digest in wanted}
    assert contents(registry, model_name, 1)["kept"] == unique(model_name + "kept")
    assert gc_keys(registry.gc(days=0)) == set()
    newest = registry.audit(limit=1)[0]
    assert newest["action"] == "registry.gc" and newest["after"]["blobs"] == 2, newest


def test_gc_spares_what_is_young(registry, model_name):
    digest = registry.upload(unique(model_name))
    for document in (registry.gc(days=1), registry.call("POST", "/api/v1/gc")):
        assert ("blob", digest) not in gc_keys(document)
    assert begin(registry, size=1000, sha256=digest)["complete"]


def test_gc_spares_pushes_under_way(start_server, model_name):
    server = start_server()  # with the default registry.gc_grace
    with server.client() as client:
        data = unique(model_name)
        made = client.post("/api/v1/uploads", {"size": len(data)}).json()
        client.request("PUT", f"/api/v1/uploads/{made['id']}?offset=0", body=data)
        assert client.post("/api/v1/gc", {"days": 0}).json()["items"] == []
        assert client.post("/api/v1/uploads", {"size": len(data), "sha256": sha256(data)}).json()["complete"]


def test_gc_takes_uploads_nobody_goes_on_with(shared_server, registry, model_name):
    registry.gc(days=0)
    made = begin(registry, size=1000)
    append(registry, made["id"], b"12345", offset=0)
    assert registry.gc(days=0, dry_run=True)["uploads"]["count"] == 1 and standing(registry, made["id"])["offset"] == 5
    assert registry.gc(days=0)["uploads"]["count"] == 1
    refused(404, "not_found", standing, registry, made["id"])
    assert not any(made["id"] in path for path in disk(shared_server.cwd / "slipway-data"))


def test_gc_after_a_model_was_deleted(registry, model_name):
    registry.push(model_name, {"model.onnx": plus(1), "own": unique(model_name)})
    registry.delete(model_name)
    assert ("blob", sha256(unique(model_name))) in gc_keys(registry.gc(days=0))


def test_gc_keeps_what_a_rollback_needs(registry, model_name):
    for number in (1, 2):
        registry.push(model_name, {"model.onnx": plus(number), "own": unique(f"{model_name}{number}")})
        registry.promote(model_name, number)
    assert gc_keys(registry.gc(days=0)).isdisjoint({("blob", sha256(unique(f"{model_name}{n}"))) for n in (1, 2)})
    assert registry.rollback(model_name)["version"] == 1
    assert contents(registry, model_name, 1)["own"] == unique(model_name + "1")


@pytest.mark.parametrize("fields", [{"days": -1}, {"days": "x"}, {"days": 36501}, {"dry_run": 1}, {"day": 3}])
def test_gc_refuses(registry, fields):
    refused(400, "invalid_argument", registry.call, "POST", "/api/v1/gc", fields)
