#!/usr/bin/python3
"""Memory, start-up and size of the server.

    bench/footprint.py [--cycles 1000] [--starts 15] [--output FILE]

Resident memory idle with one small model, its growth over load/unload cycles, process start to first correct answer,
and the size of the stripped binary.
"""
import argparse
import http.client
import json
import pathlib
import shutil
import statistics
import subprocess
import time

from common import Process, figure, free_port, need, report, slipway, temporary, test_models, SLIPWAY


def post(port, path, body=b""):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def start_once(model, expected, folder):
    """Seconds from starting the process to the first right answer."""
    port = free_port()
    body = json.dumps({"inputs": expected["inputs"]}).encode()
    begin = time.perf_counter()
    server = Process([SLIPWAY, "serve", model, "--port", port, "--data-dir", folder / "data"], folder / "start.log")
    try:
        while time.perf_counter() - begin < 10:
            try:
                status, answer = post(port, "/v2/models/mlp_45/infer", body)
            except OSError:
                time.sleep(0.0005)
                continue
            if status != 200:
                time.sleep(0.0005)
                continue
            seconds = time.perf_counter() - begin
            got, want = json.loads(answer)["outputs"][0]["data"], expected["outputs"][0]["data"]
            if any(abs(g - w) > 1e-4 for g, w in zip(got, want)) or len(got) != len(want):
                raise SystemExit(f"bench: wrong answer {got}, expected {want}")
            return seconds
        raise SystemExit("bench: no answer within 10 s")
    finally:
        server.stop()


def cycles(port, server, count):
    sizes = []
    for i in range(count):
        for action in ("unload", "load"):
            status, body = post(port, f"/v2/repository/models/mlp_45/{action}")
            if status != 200:
                raise SystemExit(f"bench: {action}: {status} {body[:300]}")
        if i == 9 or i == count - 1:
            sizes.append(server.resident_bytes())
    return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--output")
    args = parser.parse_args()
    need(SLIPWAY, "strip")
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models")
        model = models / "mlp_45.onnx"
        expected = json.loads((models / "mlp_45.golden.jsonl").read_text().splitlines()[0])
        starts = [start_once(model, expected, folder) for _ in range(args.starts)]
        server = slipway([model], folder)
        try:
            port = int(server.url.rsplit(":", 1)[1])
            status, _ = post(port, "/v2/models/mlp_45/infer", json.dumps({"inputs": expected["inputs"]}).encode())
            if status != 200:
                raise SystemExit(f"bench: infer answered {status}")
            time.sleep(1)
            idle = server.resident_bytes()
            after10, last = cycles(port, server, args.cycles)
        finally:
            server.stop()
        stripped = folder / "stripped"
        shutil.copy(SLIPWAY, stripped)
        subprocess.run(["strip", stripped], check=True)
        size = stripped.stat().st_size
    mb = 1024 * 1024
    figures = [
        figure("resident, one small model, idle", idle / mb, 45, "MB"),
        figure(f"growth over {args.cycles} load/unload cycles (from the 10th)", (last - after10) / mb, 4, "MB"),
        figure(f"process start to first correct answer, median of {args.starts}", statistics.median(starts) * 1e3, 80, "ms"),
        figure("stripped binary", size / mb, 2, "MB"),
    ]
    report("footprint", figures, {"starts_ms": [s * 1e3 for s in starts], "idle_bytes": idle,
                                  "after_10_cycles_bytes": after10, "after_all_cycles_bytes": last,
                                  "stripped_bytes": size}, args.output)


if __name__ == "__main__":
    main()
