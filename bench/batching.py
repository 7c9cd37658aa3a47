#!/usr/bin/python3
"""Dynamic batching of a model that is bound by its run (MLP 784-2048-2048-1000), against in-process batched loops.

    bench/batching.py [--rounds 5] [--seconds 4] [--output FILE]

The reference is the best of bare loops over ONNX Runtime with 16, 32 or 64 rows a run, one process a core. (32 clients that wait
for their answers never have more than 32 rows under way, which is 16 for each of two cores: the share of the loops that
have as many is shown too.) Beside the server
as it comes, one with `instances: { threads: CORES }` and one with `scheduler.batching: false` run. Everything runs on this
machine, interleaved; figures are medians over the rounds.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import struct

from common import (figure, inproc, inproc_rows, interleaved, median, need, report, slipway, spread, table, temporary,
                    test_models, wrk, INPROC, SLIPWAY)

BATCHES = (16, 32, 64)
CONNECTIONS = 32


def bodies(folder):
    random.seed(3)
    values = [round(random.uniform(-1, 1), 6) for _ in range(784)]
    tensor = {"name": "input", "shape": [1, 784], "datatype": "FP32"}
    as_json = folder / "big.json"
    as_json.write_text(json.dumps({"inputs": [dict(tensor, data=values)]}))
    header = json.dumps({"inputs": [dict(tensor, parameters={"binary_data_size": 4 * len(values)})],
                         "parameters": {"binary_data_output": True}}).encode()
    binary = folder / "big.bin"
    binary.write_bytes(header + struct.pack(f"<{len(values)}f", *values))
    return as_json, binary, len(header)


def with_threads(folder, model):
    bundle = folder / "threads"
    bundle.mkdir()
    shutil.copy(model, bundle / "model.onnx")
    (bundle / "bundle.yaml").write_text(f"name: mlp_big\ninstances: {{ threads: {os.cpu_count()} }}\n")
    return bundle


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY, INPROC)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        model = test_models(folder / "models") / "mlp_big.onnx"
        as_json, binary, header_length = bodies(folder)
        servers = {"default": slipway([model], folder), "threads": slipway([with_threads(folder, model)], folder),
                   "off": slipway([model], folder, "--set", "scheduler.batching=false")}

        def ask(name, connections, body):
            url = servers[name].url + "/v2/models/mlp_big/infer"
            if body is binary:
                return wrk(url, binary, connections, args.seconds, "application/octet-stream", header_length)
            return wrk(url, as_json, connections, args.seconds)

        runs = {f"inproc.{batch}": lambda b=batch: inproc_rows(model, b, 3000 // b) for batch in BATCHES}
        runs["inproc.1"] = lambda: inproc(model, 1000)
        for name in servers:
            runs[f"{name}.32.binary"] = lambda n=name: ask(n, CONNECTIONS, binary)
            runs[f"{name}.32.json"] = lambda n=name: ask(n, CONNECTIONS, as_json)
        runs["default.1.binary"] = lambda: ask("default", 1, binary)
        try:
            results = interleaved(args.rounds, runs)
        finally:
            for server in servers.values():
                server.stop()
    table([[name, f"{median(r, 'per_s'):,.0f}" if "per_s" in r[0] else "", f"{median(r, 'p50_us'):.0f}",
            f"{median(r, 'p99_us'):.0f}"] for name, r in results.items()], ["run", "rows/s", "p50 us", "p99 us"])
    print()
    best = max(median(results[f"inproc.{batch}"], "per_s") for batch in BATCHES)

    def share(name):
        """Round by round, since the machine's speed changes from one to the next."""
        return statistics.median(r["per_s"] / max(results[f"inproc.{b}"][i]["per_s"] for b in BATCHES)
                                 for i, r in enumerate(results[name]))

    def share_of_as_many(name):
        rows = min(BATCHES, key=lambda b: abs(b * os.cpu_count() - CONNECTIONS))
        return statistics.median(r["per_s"] / results[f"inproc.{rows}"][i]["per_s"] for i, r in enumerate(results[name]))

    def beyond():
        return statistics.median(r["p50_us"] - results["inproc.1"][i]["p50_us"]
                                 for i, r in enumerate(results["default.1.binary"]))

    batched = max(("default", "threads"), key=lambda n: share(f"{n}.32.binary"))
    figures = [
        figure(f"MLP 784-2048-2048-1000, 32 connections, binary, against the best in-process loops ({batched})",
               share(f"{batched}.32.binary"), 0.8, at_least=True),
        figure("the same against the loops that have as many rows under way", share_of_as_many(f"{batched}.32.binary"), 0.8,
               at_least=True),
        figure("against the best loops, as JSON", share(f"{batched}.32.json"), 0.5, at_least=True),
        figure("without any setting, binary", share("default.32.binary"), 0.5, at_least=True),
        figure("without batching, binary", share("off.32.binary"), 1),
        figure("1 connection, binary: p50 beyond the in-process run", beyond(), 80, "us"),
    ]
    report("batching", figures, {"rounds": args.rounds, "seconds": args.seconds, "best_inproc_per_s": best,
                                 "results": results, "ranges_per_s": {n: spread(r, "per_s") for n, r in results.items()
                                                                      if "per_s" in r[0]}}, args.output)


if __name__ == "__main__":
    main()
