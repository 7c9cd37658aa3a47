#!/usr/bin/python3
"""How long does it take to come back from a backup of 1 GB?

    bench/restore.py [--models 20] [--output FILE]

Pushes --models models of 50 MB with different weights, makes a backup while the server runs, then times: `slipway restore` into an
empty folder, start of a server on it, first right answer.
"""
import argparse
import http.client
import json
import pathlib
import subprocess
import time

from common import Process, figure, free_port, need, port_of, report, slipway, table, temporary, test_models, SLIPWAY
from helpers.registry import Registry


def different_weights(data, number):
    """The same model with other bytes in its weights (the file ends in them or holds them in one long run)."""
    changed = bytearray(data)
    middle = len(changed) // 2  # inside the one large initializer
    changed[middle:middle + 8] = number.to_bytes(2, "little") * 4
    return bytes(changed)


def first_answer(port, model, limit_s=120):
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/v2/models/{model}")
            answer = connection.getresponse()
            meta = json.loads(answer.read())
            if answer.status == 200:
                tensor = meta["inputs"][0]
                shape = [1 if d < 0 else d for d in tensor["shape"]]
                count = 1
                for d in shape:
                    count *= d
                body = json.dumps({"inputs": [{"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"],
                                               "data": [0] * count}]})
                connection.request("POST", f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise SystemExit(f"bench: no answer within {limit_s} s")


def timed(argv):
    begin = time.monotonic()
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {argv}: exit {done.returncode}: {done.stderr[-1000:]}")
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--output")
    args = parser.parse_args()
    need(SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        data = (test_models(folder / "models") / "big_50mb.onnx").read_bytes()
        server = slipway([], folder)
        with Registry(port_of(server)) as registry:
            for i in range(args.models):
                registry.push(f"big-{i}", {"model.onnx": different_weights(data, i)})
                registry.known.clear()
            registry.promote("big-0", 1)
        backup_s = timed([SLIPWAY, "backup", folder / "backup", "--data-dir", folder / "data"])
        server.stop()
        size = sum(p.stat().st_size for p in (folder / "backup").rglob("*") if p.is_file())
        begin = time.monotonic()
        restore_s = timed([SLIPWAY, "restore", folder / "backup", "--data-dir", folder / "new"])
        port = free_port()
        server = Process([SLIPWAY, "serve", "--port", port, "--data-dir", folder / "new"], folder / "new.log")
        try:
            first_answer(port, "big-0")
            total_s = time.monotonic() - begin
        finally:
            server.stop()
    table([["backup while serving", f"{backup_s:.1f}"], ["restore, every digest verified", f"{restore_s:.1f}"],
           ["restore to first answer", f"{total_s:.1f}"]], ["step", "s"])
    report("restore", [figure(f"restore of {size / 1e9:.2f} GB, then the first answer", total_s, 60, "s")],
           {"bytes": size, "backup_s": backup_s, "restore_s": restore_s, "total_s": total_s}, args.output)


if __name__ == "__main__":
    main()
