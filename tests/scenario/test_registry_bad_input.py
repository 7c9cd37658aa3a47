"""What the registry must refuse, with an error that names the thing, and change nothing by it: the table "Bad input
gets" of the registry. `unchanged` compares all that the registry shows, the audit log and the data folder."""
import contextlib
import gzip
import hashlib
import http.client
import io
import lzma
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import tarfile
import threading
import zipfile

import pytest

from helpers.client import tensor
from helpers.models import bundle, plus, tar, zipped
from helpers.registry import Refused, Registry, disk, eventually, quote

ONE = [tensor("x", [1], "FP32", [1])]
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def unchanged(shared_server, registry):
    """with unchanged(): ... what the registry shows and keeps is the same afterwards. until_gc: files that were good by
    themselves may stay until gc comes."""
    @contextlib.contextmanager
    def check(until_gc=False):
        folder = shared_server.cwd / "slipway-data"
        if until_gc:
            registry.gc(days=0)
        before, files = registry.everything(), disk(folder)
        yield
        assert registry.everything() == before
        if until_gc:
            registry.gc(days=0)
        eventually(lambda: disk(folder) == files, "something is left on the disk", 10)

    return check


def refused(codes, function, *arguments, **fields):
    """codes: {status: code} that are right."""
    with pytest.raises(Refused) as caught:
        function(*arguments, **fields)
    error = caught.value
    assert codes.get(error.status) == error.code, error
    return error


INVALID = {400: "invalid_argument"}
BAD_ARCHIVE = {400: "model_invalid"}

# ---- names

NAMES = [
    "a/b", "../a", "..", ".", ".hidden", "a b", "a\tb", "a\nb", "a\0b", "ä", "a%2Fb", "a:b", "a@b", "x" * 129, "a;b",
    "'", "日本"
]


@pytest.mark.parametrize("bad", NAMES)
def test_names_outside_the_pattern(registry, unchanged, bad):
    blob = registry.upload(plus(1))
    with unchanged():
        shown = bad.split("\n")[0].split("\0")[0].split("\t")[0]
        for call in (lambda: registry.create(bad),
                     lambda: registry.call("POST", f"/api/v1/models/{quote(bad)}/versions",
                                           {"files": [{"path": "model.onnx", "sha256": blob, "size": len(plus(1))}]}),
                     lambda: registry.push_body(bad, plus(1)), lambda: registry.promote(bad, 1)):
            error = refused({400: "invalid_argument", 404: "not_found"}, call)
            assert shown in error.message or shown in (".", ".."), error


def test_no_name(registry, unchanged):
    with unchanged():
        assert "name" in refused(INVALID, registry.create, "").message
        assert "name" in refused(INVALID, registry.call, "POST", "/api/v1/models", {}).message
        assert "name" in refused(INVALID, registry.call, "POST", "/api/v1/models", {"name": 7}).message


def test_longest_name(registry):
    longest = "Aa0._-" + "x" * 122
    assert registry.push(longest, {"model.onnx": plus(1)})["model"] == longest
    assert registry.promote(longest, 1)["live"] == 1


def test_a_bad_name_on_the_command_line(shared_server, run_slipway, unchanged, tmp_path):
    (tmp_path / "model.onnx").write_bytes(plus(1))
    with unchanged():
        done = run_slipway("model", "push", "a/b", tmp_path / "model.onnx", "--server", shared_server.url)
        assert done.returncode in (1, 2) and "a/b" in done.stderr, done


# ---- paths

PATHS = [
    "../x", "..", ".", "a/../x", "a/../../x", "/etc/x", "a//b", "a/./b", "a/", "", "a\\b", "..\\x", "a\nb", "a\0b",
    "x" * 513
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_a_version(registry, unchanged, model_name, path):
    blob = registry.upload(plus(1))
    files = [{"path": "model.onnx", "sha256": blob, "size": len(plus(1))},
             {"path": path, "sha256": blob, "size": len(plus(1))}]
    with unchanged():
        error = refused(INVALID, registry.call, "POST", f"/api/v1/models/{model_name}/versions", {"files": files})
        assert "path" in error.message or "\\u0000" in error.message


def test_a_path_twice(registry, unchanged, model_name):
    file = {"path": "model.onnx", "sha256": registry.upload(plus(1)), "size": len(plus(1))}
    with unchanged():
        error = refused(INVALID, registry.call, "POST", f"/api/v1/models/{model_name}/versions",
                        {"files": [file, file]})
        assert "model.onnx" in error.message


def test_a_file_that_is_a_folder_of_another(registry, unchanged, model_name):
    blob = registry.upload(plus(1))
    files = [{"path": p, "sha256": blob, "size": len(plus(1))} for p in ("model.onnx", "a", "a/b")]
    with unchanged():
        refused(INVALID, registry.call, "POST", f"/api/v1/models/{model_name}/versions", {"files": files})


@pytest.mark.parametrize("path", ["../x.onnx", "a/../../x.onnx", "/x.onnx", "..", "", "a\\x.onnx"])
def test_file_name_of_a_push(registry, unchanged, model_name, path):
    with unchanged():
        assert "file_name" in refused(INVALID, registry.push_body, model_name, plus(1), file_name=path).message


@pytest.mark.parametrize("path", [
    "../../slipway.db", "..%2f..%2fslipway.db", "%2e%2e/%2e%2e/slipway.db", "a/../model.onnx", "/etc/passwd",
    "./model.onnx", "model.onnx/../model.onnx"
])
def test_pull_leads_nowhere_else(registry, model_name, path):
    registry.push(model_name, {"model.onnx": plus(1)})
    status, _, data = registry.request("GET", f"/api/v1/models/{model_name}/versions/1/files/{path}")
    assert status in (400, 404), (status, data[:100])


ARCHIVE_PATHS = ["../x", "a/../../x", "/etc/x", "..", "a/../x", "..\\x", "a\\..\\..\\x", "\\x"]


@pytest.mark.parametrize("pack", [tar, zipped], ids=["tar", "zip"])
@pytest.mark.parametrize("path", ARCHIVE_PATHS)
def test_paths_in_archives(registry, unchanged, model_name, pack, path):
    with unchanged():
        error = refused(BAD_ARCHIVE, registry.push_body, model_name,
                        pack({"model.onnx": plus(1), path: b"unique " + model_name.encode()}))
        assert path.strip("/") in error.message or path.replace("\\", "/") in error.message, error


@pytest.mark.parametrize("pack", [tar, zipped], ids=["tar", "zip"])
def test_a_top_folder_does_not_hide_dots(registry, unchanged, model_name, pack):
    with unchanged():
        refused(BAD_ARCHIVE, registry.push_body, model_name, pack({"top/model.onnx": plus(1), "top/../../x": b"x"}))


def test_a_bundle_that_points_outside(registry, unchanged, model_name):
    for text in ("model: ../../other/model.onnx\n", "model: /etc/passwd\n",
                 "model: model.onnx\ngolden: ../golden.jsonl\n"):
        files = {"model.onnx": plus(1), "bundle.yaml": text.encode()}
        with unchanged(until_gc=True):
            error = refused(BAD_ARCHIVE, registry.push_body, model_name, tar(files))
            assert "../" in error.message or "/etc/passwd" in error.message, error


# ---- links and other things that are no files, in archives


def member(path, kind, target=""):
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


MEMBERS = {
    "symlink": member("link", tarfile.SYMTYPE, "model.onnx"),
    "symlink_outside": member("link", tarfile.SYMTYPE, "../../../etc/passwd"),
    "symlink_absolute": member("link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard_link": member("link", tarfile.LNKTYPE, "model.onnx"),
    "hard_link_outside": member("link", tarfile.LNKTYPE, "/etc/passwd"),
    "character_device": member("link", tarfile.CHRTYPE),
    "block_device": member("link", tarfile.BLKTYPE),
    "fifo": member("link", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_and_devices_in_archives(registry, unchanged, model_name, kind, mode):
    archive = tar({"model.onnx": plus(1), "mine": model_name.encode()}, mode, members=[MEMBERS[kind]])
    with unchanged():
        error = refused(BAD_ARCHIVE, registry.push_body, model_name, archive)
        assert "link" in error.message and "/etc/passwd" not in os.listdir("/"), error


def test_a_file_behind_a_link(registry, unchanged, model_name, tmp_path):
    """First a link to a folder outside, then a file below it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(member("folder", tarfile.SYMTYPE, str(tmp_path)))
        info = tarfile.TarInfo("folder/planted")
        info.size = 7
        archive.addfile(info, io.BytesIO(b"planted"))
    with unchanged():
        assert "folder" in refused(BAD_ARCHIVE, registry.push_body, model_name, out.getvalue()).message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR])
def test_links_in_zip_archives(registry, unchanged, model_name, kind):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model.onnx", plus(1))
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with unchanged():
        assert "link" in refused(BAD_ARCHIVE, registry.push_body, model_name, out.getvalue()).message


@pytest.mark.parametrize("pack", ["tar", "zip"])
def test_a_name_twice_in_an_archive(registry, unchanged, model_name, pack):
    out = io.BytesIO()
    if pack == "tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            for data in (plus(1), plus(2)):
                info = tarfile.TarInfo("model.onnx")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning):
            for data in (plus(1), plus(2)):
                archive.writestr("model.onnx", data)
    with unchanged():
        assert "model.onnx" in refused(BAD_ARCHIVE, registry.push_body, model_name, out.getvalue()).message


# ---- archives that are broken, or far more than they look


PACKERS = {
    "tar": tar,
    "tar.gz": lambda files: tar(files, "w:gz"),
    "tar.xz": lambda files: tar(files, "w:xz"),
    "zip": zipped,
}


@pytest.mark.parametrize("pack", PACKERS)
def test_truncated_archives(registry, unchanged, model_name, pack):
    files = {"model.onnx": plus(1), "noise": os.urandom(20_000)}
    whole = PACKERS[pack](files)
    for end in (len(whole) // 10, len(whole) // 2, len(files["noise"]) - 100):
        with unchanged():
            refused(BAD_ARCHIVE, registry.push_body, model_name, whole[:end])


@pytest.mark.parametrize("pack", ["tar.gz", "tar.xz", "zip"])
def test_damaged_archives(registry, unchanged, model_name, pack):
    files = {"model.onnx": plus(1), "noise": os.urandom(20_000)}
    whole = PACKERS[pack](files)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x40
    with unchanged():
        refused(BAD_ARCHIVE, registry.push_body, model_name, bytes(damaged))


TOO_LARGE = {**BAD_ARCHIVE, 413: "too_large"}
ZEROS = 300 * 2**20


def tar_of_zeros():
    """The bytes of a tar with a file of zeros, in pieces."""
    info = tarfile.TarInfo("zeros")
    info.size = ZEROS
    yield info.tobuf()
    for _ in range(ZEROS // 2**20):
        yield bytes(2**20)
    yield bytes(1024)


@pytest.fixture(scope="module")
def bombs():
    gz, xz, out = io.BytesIO(), lzma.LZMACompressor(preset=0), io.BytesIO()
    with gzip.GzipFile(fileobj=gz, mode="wb", compresslevel=1) as packed:
        for piece in tar_of_zeros():
            packed.write(piece)
    packed_xz = b"".join(map(xz.compress, tar_of_zeros())) + xz.flush()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("zeros", "w") as file:
            for _ in range(ZEROS // 2**20):
                file.write(bytes(2**20))
    lying = bytearray(out.getvalue())  # says that its file has 10 bytes
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = lying.index(signature) + offset
        lying[at:at + 4] = struct.pack("<I", 10)
    return {"tar.gz": gz.getvalue(), "tar.xz": packed_xz, "zip": out.getvalue(), "lying_zip": bytes(lying)}


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip", "lying_zip"])
def test_archive_bombs(shared_server, registry, unchanged, model_name, bombs, kind):
    assert len(bombs[kind]) < ZEROS / 200
    with unchanged():
        refused(TOO_LARGE, registry.push_body, model_name, bombs[kind])
    written = sum(size for path, size in disk(shared_server.cwd / "slipway-data").items())
    assert written < ZEROS / 2


def test_a_bomb_as_an_upload(registry, unchanged, model_name, bombs):
    with unchanged():
        made = registry.call("POST", "/api/v1/uploads", {})
        registry.call("PUT", f"/api/v1/uploads/{made['id']}?offset=0&commit=false", bombs["tar.gz"], OCTETS)
        refused(TOO_LARGE, registry.call, "POST", f"/api/v1/models/{model_name}/versions", {"upload": made["id"]})


def test_a_tar_that_claims_to_be_huge(registry, unchanged, model_name):
    info = tarfile.TarInfo("model.onnx")
    for size in (2**40, 2**62):
        info.size = size
        with unchanged():
            refused(TOO_LARGE, registry.push_body, model_name, info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))


def test_more_files_than_are_allowed(registry, unchanged, model_name):
    files = {"model.onnx": plus(1), **{f"f{i}": b"" for i in range(10_000)}}
    with unchanged():
        error = refused(TOO_LARGE, registry.push_body, model_name, tar(files, "w:gz"))
        assert "10000" in error.message.replace(",", ""), error


# ---- content that is no model


@pytest.mark.parametrize("model", ["truncated", "empty", "not_a_model"])
def test_broken_models(registry, unchanged, model_name, test_models, model):
    with unchanged(until_gc=True):
        refused(BAD_ARCHIVE, registry.push_body, model_name, (test_models / f"{model}.onnx").read_bytes() or b"")


@pytest.mark.parametrize("files,named", [({"a.onnx": plus(1), "b.onnx": plus(2)}, "onnx"),
                                         ({"notes.txt": b"no model"}, "model"),
                                         ({"bundle.yaml": b"model: gone.onnx\n", "model.onnx": plus(1)}, "gone.onnx"),
                                         ({"bundle.yaml": b"name: [", "model.onnx": plus(1)}, "bundle.yaml"),
                                         ({"bundle.yaml": b"nmae: x\n", "model.onnx": plus(1)}, "nmae"),
                                         (bundle(1, "somebody-else"), "somebody-else"), ({}, "")])
def test_versions_without_a_model(registry, unchanged, model_name, files, named):
    with unchanged(until_gc=True):
        error = refused(BAD_ARCHIVE, registry.push_body, model_name, tar(files))
        assert named in error.message, error


def test_an_empty_push(registry, unchanged, model_name):
    with unchanged(until_gc=True):
        with pytest.raises(Refused) as caught:
            registry.push_body(model_name, b"")
        assert caught.value.status == 400, caught.value


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"null", b'{"files": []}', b'{"files": {}}', b'{"files": [{}]}', b'{"upload": 1}', b"{}",
    b'{"files": [1]}', b'{"file": []}', b'\xff\xfe', b'{"upload": "x", "files": []}',
    b'{"files": [{"path": "m.onnx", "sha256": "zz", "size": 1}]}',
    b'{"files": [{"path": "m.onnx", "sha256": "' + b"0" * 64 + b'", "size": -1}]}'
])
def test_bodies_that_are_no_version(registry, unchanged, model_name, body):
    with unchanged():
        refused(INVALID, registry.call, "POST", f"/api/v1/models/{model_name}/versions", body,
                {"Content-Type": "application/json"})


# ---- digests


def test_an_upload_with_another_digest(registry, unchanged, model_name):
    data = b"data of " + model_name.encode()
    with unchanged():
        made = registry.call("POST", "/api/v1/uploads",
                             {"size": len(data), "sha256": hashlib.sha256(b"other").hexdigest()})
        error = refused({422: "digest_mismatch"}, registry.call, "PUT", f"/api/v1/uploads/{made['id']}?offset=0", data,
                        OCTETS)
        assert hashlib.sha256(data).hexdigest() in error.message or "SHA-256" in error.message, error
        refused({404: "not_found"}, registry.call, "GET", f"/api/v1/uploads/{made['id']}")


def test_a_version_of_content_that_is_not_here(registry, unchanged, model_name):
    blob = registry.upload(plus(1))
    missing = hashlib.sha256(model_name.encode()).hexdigest()
    for digest, size in ((missing, 10), (blob, len(plus(1)) + 1)):
        with unchanged():
            files = [{"path": "model.onnx", "sha256": digest, "size": size}]
            error = refused({422: "digest_mismatch"}, registry.call, "POST", f"/api/v1/models/{model_name}/versions",
                            {"files": files})
            assert "model.onnx" in error.message or digest in error.message, error


# ---- two at once


def at_once(port, count, work):
    """work(registry, i) in threads that begin together; gives the results and the refusals."""
    barrier, results, refusals, broken = threading.Barrier(count), {}, {}, []

    def run(i):
        try:
            with Registry(port) as registry:
                barrier.wait(30)
                results[i] = work(registry, i)
        except Refused as refusal:
            refusals[i] = refusal
        except (OSError, http.client.HTTPException, AssertionError) as error:
            broken.append(error)

    threads = [threading.Thread(target=run, args=(i, )) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not broken, broken
    return results, refusals


@pytest.mark.parametrize("how", ["files", "archive"])
def test_two_pushes_of_one_version_at_once(shared_server, registry, model_name, how):
    def work(registry, i):
        files = {"model.onnx": plus(1), "who": f"{model_name} {i}".encode()}
        if how == "files":
            return registry.push(model_name, files, expected_version=1)
        return registry.push_body(model_name, tar(files), expected_version=1)

    results, refusals = at_once(shared_server.port, 8, work)
    assert len(results) == 1 and len(refusals) == 7
    winner, = results
    for refusal in refusals.values():
        assert (refusal.status, refusal.code) == (409, "conflict"), refusal
        assert model_name in refusal.message and "1" in refusal.message
    assert [v["version"] for v in registry.versions(model_name)["versions"]] == [1]
    assert registry.pull(model_name, 1, "who")[2] == f"{model_name} {winner}".encode()
    assert [r["action"] for r in registry.audit(object=model_name)] == ["version.create", "model.create"]


def test_pushes_at_once_each_get_a_number(shared_server, registry, model_name):
    def work(registry, i):
        return registry.push(model_name, {"model.onnx": plus(1), "who": str(i).encode()})["version"]

    results, refusals = at_once(shared_server.port, 8, work)
    assert not refusals and sorted(results.values()) == list(range(1, 9))
    for i, version in results.items():
        assert registry.pull(model_name, version, "who")[2] == str(i).encode()


def test_one_model_created_twice_at_once(shared_server, registry, model_name):
    results, refusals = at_once(shared_server.port, 8,
                                lambda registry, i: registry.create(model_name, description=str(i)))
    assert len(results) == 1 and {r.code for r in refusals.values()} == {"conflict"}
    assert registry.model(model_name)["description"] == str(*results)


def test_promotions_at_once(shared_server, registry, model_name):
    for number in range(1, 5):
        registry.push(model_name, {"model.onnx": plus(number)})
    results, refusals = at_once(shared_server.port, 4, lambda registry, i: registry.promote(model_name, i + 1))
    assert results and {r.code for r in refusals.values()} <= {"conflict"}
    model, stages = registry.model(model_name), registry.stages(model_name)
    assert [v for v, stage in stages.items() if stage == "Production"] == [model["live"]]
    assert model["aliases"] == {"champion": model["live"]} and model["live"] in [i + 1 for i in results]
    assert len(registry.history(model_name)) == len(results) == len(
        registry.audit(object=model_name, action="model.promote"))


def test_rollbacks_at_once_go_back_one_step(shared_server, registry, model_name):
    for number in range(1, 4):
        registry.push(model_name, {"model.onnx": plus(number)})
        registry.promote(model_name, number)
    results, refusals = at_once(shared_server.port, 4, lambda registry, i: registry.rollback(model_name)["version"])
    assert {r.code for r in refusals.values()} <= {"conflict"}
    assert registry.model(model_name)["live"] == (2 if len(results) == 1 else 1)
    kinds = [h["kind"] for h in registry.history(model_name)]
    assert kinds.count("rollback") == len(results) and registry.audit_verify()["ok"]


def test_two_writers_of_one_upload(shared_server, registry, model_name):
    made = registry.call("POST", "/api/v1/uploads", {"size": 400_000})
    data = os.urandom(400_000)

    def work(registry, i):
        return registry.call("PUT", f"/api/v1/uploads/{made['id']}?offset=0", data, OCTETS)

    results, refusals = at_once(shared_server.port, 4, work)
    assert len(results) == 1 and {r.status for r in refusals.values()} <= {404, 409}, (results, refusals)
    assert list(results.values())[0]["sha256"] == hashlib.sha256(data).hexdigest()


# ---- files that somebody has tampered with on the disk


def blob_path(server, data):
    digest = hashlib.sha256(data).hexdigest()
    return server.cwd / "slipway-data" / "blobs" / digest[:2] / digest


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    rewrite(path, bytes(data))


def rewrite(path, data):
    """In place: the same inode, so that hard links are hit too."""
    os.chmod(path, 0o600)
    path.write_bytes(data)


def resize(path, by):
    os.chmod(path, 0o600)
    os.truncate(path, path.stat().st_size + by)


TAMPER = {
    "one_bit": flip,
    "shorter": lambda path: resize(path, -1),
    "longer": lambda path: resize(path, 1),
    "another_model": lambda path: rewrite(path, plus(666)),
    "gone": lambda path: path.unlink(),
    "empty": lambda path: rewrite(path, b""),
}
DIGEST = {409: "gate_failed", 422: "digest_mismatch"}


@pytest.mark.parametrize("how", TAMPER)
def test_promotion_of_a_tampered_version(shared_server, registry, model_name, how):
    good, bad = {"model.onnx": plus(1)}, {"model.onnx": plus(2), "weights": b"weights of " + model_name.encode()}
    registry.push(model_name, good)
    registry.promote(model_name, 1)
    registry.push(model_name, bad)
    before = registry.everything()
    TAMPER[how](blob_path(shared_server, bad["weights"]))
    for call in (lambda: registry.promote(model_name, 2), lambda: registry.alias(model_name, "champion", 2),
                 lambda: registry.stage(model_name, "Production", 2),
                 lambda: registry.promote(model_name, 2, force=True, reason="I know better")):
        error = refused(DIGEST, call)
        assert "weights" in str(error.details) + error.message or "digest" in str(error.details), error
    assert registry.model(model_name)["live"] == 1 and registry.aliases(model_name) == {"champion": 1}
    assert registry.stages(model_name) == {1: "Production", 2: "None"}
    assert registry.history(model_name) == before["below"][model_name]["history"]
    was = [r for r in before["audit"] if r["object"].split("/")[0] == model_name]
    new = [r for r in registry.audit(object=model_name) if r not in was]
    assert {r["action"] for r in new} == {"version.gates"}, "only what was tried"
    assert new[0]["after"]["failed"] == ["digest"]
    with shared_server.client() as client:
        eventually(lambda: client.infer(model_name, ONE).json().get("outputs", [{}])[0].get("data") == [2])


def test_a_tampered_file_is_not_given_out(shared_server, registry, model_name):
    data = os.urandom(100_000)
    registry.push(model_name, {"model.onnx": plus(1), "data": data})
    flip(blob_path(shared_server, data))
    for headers in ({}, {"Range": "bytes=0-9"}):
        status, _, body = registry.pull(model_name, 1, "data", headers)
        assert status == 422 and b"digest_mismatch" in body, (status, body[:200])


def test_rollback_to_a_tampered_version(shared_server, registry, model_name):
    weights = b"weights of " + model_name.encode()
    registry.push(model_name, {"model.onnx": plus(1), "weights": weights})
    registry.promote(model_name, 1)
    registry.push(model_name, {"model.onnx": plus(2)})
    registry.promote(model_name, 2)
    before = registry.everything()
    flip(blob_path(shared_server, weights))
    error = refused({422: "digest_mismatch"}, registry.rollback, model_name)
    assert "weights" in error.message or model_name in error.message
    assert registry.everything() == before
    with shared_server.client() as client:
        eventually(lambda: client.infer(model_name, ONE).json().get("outputs", [{}])[0].get("data") == [3])


def test_uploading_again_mends_a_tampered_file(shared_server, registry, model_name):
    weights = b"weights of " + model_name.encode()
    files = {"model.onnx": plus(1), "weights": weights}
    registry.push(model_name, files)
    flip(blob_path(shared_server, weights))
    refused(DIGEST, registry.promote, model_name, 1)
    made = registry.call("POST", "/api/v1/uploads", {"size": len(weights)})
    registry.call("PUT", f"/api/v1/uploads/{made['id']}?offset=0", weights, OCTETS)
    assert registry.promote(model_name, 1)["live"] == 1


def test_a_tampered_version_is_not_served_after_a_restart(start_server, tmp_path):
    args = ["--data-dir", tmp_path / "slipway-data"]
    first = start_server(args=args)
    first.cwd = tmp_path
    with Registry(first.port) as registry, first.client() as client:
        for model, number in (("good", 1), ("bad", 2)):
            registry.push(model, {"model.onnx": plus(number)})
            registry.promote(model, 1)
        eventually(lambda: client.infer("bad", ONE).status == 200)
    first.stop()
    flip(blob_path(first, plus(2)))
    second = start_server(args=args, wait_ready=False)
    with second.client() as client:
        eventually(lambda: client.infer("good", ONE).status == 200, "the other model is served")

        def says_why():
            answer = client.infer("bad", ONE)
            assert answer.status == 503, repr(answer)
            return hashlib.sha256(plus(2)).hexdigest()[:8] in answer.text or "digest" in answer.text.lower() \
                or "SHA-256" in answer.text

        eventually(says_why)


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "slipway-test", folder],
                          capture_output=True,
                          text=True)
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=30)


def free(folder):
    return shutil.disk_usage(folder).free


FULL = {507: "insufficient_storage"}


def test_a_full_disk(small_disk, binary, tmp_path):
    from helpers.server import Server
    with Server(binary, [], args=["--data-dir", small_disk / "data"], cwd=tmp_path) as server:
        client = server.client()
        registry = Registry(server.port, client=client)
        registry.push("m", {"model.onnx": plus(1)})
        registry.promote("m", 1)
        registry.push("m", {"model.onnx": plus(2)})
        before, files, room = registry.everything(), disk(small_disk / "data"), free(small_disk)

        big = os.urandom(room + 2**20)
        for call in (lambda: registry.push_body("m", big),
                     lambda: registry.push_body("m", tar({"model.onnx": plus(1), "big": big})),
                     lambda: registry.push_body("n", zipped({"model.onnx": plus(1), "big": big[:room * 3 // 4]}))):
            error = refused(FULL, call)
            assert any(word in error.message for word in ("full", "room", "space")), error
            eventually(lambda: disk(small_disk / "data") == files, "what was written is freed")
        made = registry.call("POST", "/api/v1/uploads", {})
        refused(FULL, registry.call, "PUT", f"/api/v1/uploads/{made['id']}?offset=0", big, OCTETS)
        eventually(lambda: disk(small_disk / "data") == files)
        assert registry.everything() == before
        assert free(small_disk) > room - 2**20

        filler = small_disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        for call in (lambda: registry.promote("m", 2), lambda: registry.create("n", description="x" * 60_000),
                     lambda: registry.push("m", {"model.onnx": plus(3)})):
            with contextlib.suppress(Refused):  # the database may still have a page to write on
                call()
                before = registry.everything()
        for i in range(200):  # until it has none
            try:
                registry.create(f"n{i}", description="x" * 50_000)
            except Refused as refusal:
                assert refusal.code in ("insufficient_storage", "unavailable") and refusal.status in (503, 507), refusal
                assert f"n{i}" not in [m["name"] for m in registry.models(limit=1000)["models"]]
                break
        else:
            pytest.fail("a full disk is never noticed")
        full = registry.everything()
        refused({**FULL, 503: "unavailable"}, registry.create, "another", description="x" * 50_000)
        assert registry.everything() == full and registry.audit_verify()["ok"]
        eventually(lambda: client.infer("m", ONE).status == 200, "serving goes on")

        filler.unlink()
        eventually(lambda: create(registry, "another"), "with room again changes are taken")
        assert registry.promote("m", 2)["live"] == 2
        assert registry.audit_verify()["ok"]


def create(registry, model):
    try:
        return registry.create(model)
    except Refused as refusal:
        assert refusal.status in (503, 507), refusal
        return None


# ---- a database that cannot be used


@pytest.fixture
def stopped(start_server, run_slipway, tmp_path):
    """The data folder of a server that has ended, with two versions and a rollback in it."""
    server = start_server(args=["--data-dir", tmp_path / "data"])
    with Registry(server.port) as registry:
        for number in (1, 2):
            registry.push("m", {"model.onnx": plus(number)})
            registry.promote("m", number)
        for i in range(30):
            registry.create(f"filler-{i}", description="x" * 2000)
    server.stop()
    return tmp_path / "data"


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*")) if p.is_file() and "serving" not in p.parts and p.suffix not in (".db-shm", )
    }


def refuses_to_start(run_slipway, folder, *named):
    before = digests(folder)
    done = run_slipway("serve", "--port", "0", "--data-dir", folder, timeout_s=30)
    assert done.returncode in (1, 3), done
    for text in named:
        assert text in done.stderr, done.stderr
    assert digests(folder) == before, "it was left as it is"
    return done


def test_a_database_that_is_none(run_slipway, stopped):
    (stopped / "slipway.db").write_bytes(b"this is no database, it only has its name" * 200)
    refuses_to_start(run_slipway, stopped, "slipway.db")


def test_a_lost_database_takes_no_files_with_it(start_server, stopped):
    """Nothing is known of the files that are there; they stay, and what is pushed again finds them."""
    for path in stopped.glob("slipway.db*"):
        path.unlink()
    blobs = disk(stopped)
    server = start_server(args=["--data-dir", stopped])
    with Registry(server.port) as registry:
        assert registry.models()["models"] == [] and disk(stopped) == blobs
        assert registry.push("m", {"model.onnx": plus(2)})["version"] == 1 and registry.promote("m", 1)["live"] == 1
    assert disk(stopped) == blobs


@pytest.mark.parametrize("where", ["header", "schema", "half"])
def test_a_damaged_database(run_slipway, stopped, where):
    path = stopped / "slipway.db"
    data = bytearray(path.read_bytes())
    if where == "header":
        data[16:40] = os.urandom(24)
    elif where == "schema":
        data[100:4096] = bytes(3996)
    else:
        del data[len(data) // 2:]
    path.write_bytes(bytes(data))
    for more in stopped.glob("slipway.db-*"):
        more.unlink()
    refuses_to_start(run_slipway, stopped, "slipway.db")


def test_a_migration_of_a_newer_program(run_slipway, start_server, stopped):
    with contextlib.closing(sqlite3.connect(stopped / "slipway.db")) as database, database:
        database.execute("INSERT INTO schema_migrations VALUES (9999, 'from_the_future', ?, 0)", ("0" * 64, ))
    done = refuses_to_start(run_slipway, stopped, "9999")
    assert "newer" in done.stderr
    with contextlib.closing(sqlite3.connect(stopped / "slipway.db")) as database, database:
        database.execute("DELETE FROM schema_migrations WHERE number = 9999")
    server = start_server(args=["--data-dir", stopped])
    with Registry(server.port) as registry:
        assert registry.model("m")["live"] == 2


def test_a_migration_that_was_changed(run_slipway, stopped):
    with contextlib.closing(sqlite3.connect(stopped / "slipway.db")) as database, database:
        database.execute("UPDATE schema_migrations SET sha256 = ? WHERE number = 1", ("0" * 64, ))
    refuses_to_start(run_slipway, stopped, "slipway.db")


def test_a_database_of_another_program(run_slipway, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "slipway.db")) as database, database:
        database.execute("CREATE TABLE models (id INTEGER, title TEXT)")
        database.execute("INSERT INTO models VALUES (1, 'theirs')")
    refuses_to_start(run_slipway, folder, "slipway.db")


def test_doctor_tells_of_a_damaged_database(run_slipway, stopped):
    (stopped / "slipway.db").write_bytes(b"x" * 5000)
    before = digests(stopped)
    done = run_slipway("doctor", "--data-dir", stopped, "--port", "0")
    assert done.returncode == 1 and "slipway.db" in done.stdout + done.stderr, done
    assert digests(stopped) == before
