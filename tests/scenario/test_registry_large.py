"""A model of 2 GB goes through client and server, each of which stays below 200 MB."""
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from helpers.registry import Registry

RESIDENT_MAX_KIB = 200 * 1000 * 1000 // 1024
DISK_NEEDED = 10 << 30
PIECE = 16 << 20
LIMIT_S = 600.0


def marks(size):
    """Offsets in the large file that are not zero, so that pieces in a wrong place are seen."""
    return [*range(0, size - 8, 97 << 20), size - 8]


def write_sparse(path, head, size):
    """`head`, then `size` bytes: zeros with marks among them, which take no room on the disk."""
    with open(path, "wb") as file:
        file.write(head)
        for mark in marks(size):
            file.seek(len(head) + mark)
            file.write(mark.to_bytes(8, "little"))


def number(value):
    """A protobuf varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(tag, length):
    """Head of a length-delimited protobuf field."""
    return number(tag << 3 | 2) + number(length)


def small_graph(initializers=()):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    nodes = [helper.make_node("ReduceSum", ["w"], ["sum"], keepdims=0), helper.make_node("Add", ["x", "sum"], ["y"])]
    return helper.make_graph(nodes, "large", values[:1], values[1:], list(initializers))


def model_of(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weights_inside(folder):
    """One file, just below the 2 GiB that a protobuf message may have: all but the head is one tensor's raw_data."""
    size = (2 << 30) - (1 << 20)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4]).SerializeToString() + field(9, size)
    graph = small_graph().SerializeToString() + field(5, len(tensor) + size) + tensor
    model = model_of(small_graph())
    model.ClearField("graph")
    write_sparse(folder / "large.onnx", model.SerializeToString() + field(7, len(graph) + size) + graph, size)


def weights_beside(folder):
    """A small file, and one beyond 2 GiB for its tensor."""
    size = (2 << 30) + (64 << 20)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "weights.bin"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=text)
    (folder / "large.onnx").write_bytes(model_of(small_graph([tensor])).SerializeToString())
    write_sparse(folder / "weights.bin", b"", size)


def pack(folder):
    """An archive of it, which the server unpacks."""
    with tarfile.open(folder.parent / "large.tar", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return folder.parent / "large.tar"


def peak_kib(pid):
    """The largest resident set that the process has had; None when it has gone."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def run_watched(binary, *words, env):
    """(standard output, largest resident set in KiB) of a command that must succeed."""
    process = subprocess.Popen([str(binary), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    peak, deadline = 0, time.monotonic() + LIMIT_S
    try:
        while process.poll() is None:
            assert time.monotonic() < deadline, f"{words}: not done within {LIMIT_S} s"
            peak = max(peak, peak_kib(process.pid) or 0)
            time.sleep(0.02)
    finally:
        process.kill()
        output, messages = process.communicate()
    assert process.returncode == 0, messages
    return output, peak


def assert_same(one, other):
    assert one.stat().st_size == other.stat().st_size
    with open(one, "rb") as a, open(other, "rb") as b:
        while piece := a.read(PIECE):
            assert piece == b.read(PIECE), f"{other} differs before byte {a.tell()}"


@pytest.fixture
def room(tmp_path):
    """A folder on a disk with enough room, emptied when the test is over: pytest would keep it."""
    if shutil.disk_usage(tmp_path).free < DISK_NEEDED:
        pytest.skip(f"less than {DISK_NEEDED >> 30} GiB free")
    (tmp_path / "room").mkdir()
    yield tmp_path / "room"
    shutil.rmtree(tmp_path / "room")


@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("TEST_SANITIZER")), reason="sanitizers take memory of their own")
@pytest.mark.parametrize("make, packed", [(weights_inside, False), (weights_beside, False), (weights_beside, True)],
                         ids=["inside", "beside", "archive"])
def test_two_gigabytes_through_two_hundred_megabytes(binary, start_server, room, make, packed):
    source, target = room / "source", room / "target"
    source.mkdir()
    make(source)
    server = start_server(args=("--data-dir", room / "data"))
    env = {"SLIPWAY_SERVER": server.url, "XDG_STATE_HOME": str(room / "state")}
    output, push_peak = run_watched(binary, "model", "push", "large", pack(source) if packed else source / "large.onnx",
                                    env=env)
    assert "large version 1" in output
    with Registry(server.port) as registry:
        version = registry.version("large", 1)
        assert version["size_bytes"] == sum(p.stat().st_size for p in source.iterdir())
        assert version["signature"]["inputs"][0]["name"] == "x"
    _, pull_peak = run_watched(binary, "model", "pull", "large", 1, target, env=env)
    for path in source.iterdir():
        assert_same(path, target / path.name)
    peaks = {"push": push_peak, "pull": pull_peak, "server": peak_kib(server.process.pid)}
    print(f"\nlargest resident sets in KiB: {peaks}")
    assert all(0 < peak <= RESIDENT_MAX_KIB for peak in peaks.values()), peaks
    server.stop()
