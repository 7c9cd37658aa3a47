#!/usr/bin/python3
"""Does one slow or flooded model hold up the others? p99 of fifteen models under load, alone and beside a sixteenth.

    bench/fairness.py [--rounds 7] [--seconds 4] [--output FILE]

The fifteen are small MLPs, one connection each. The sixteenth takes about a tenth of a second a run and has eight connections;
then it is one more of the fifteen's kind with 64 connections. Alone and busy rounds are interleaved; the figure is the median of
the rounds' ratios. Once with models that run on the I/O threads, once with all runs on workers.
"""
import argparse
import http.client
import json
import pathlib
import shutil
import statistics
import threading

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from common import figure, need, report, slipway, spread, table, temporary, test_models, wrk, port_of, SLIPWAY
from serving import mlp_body

FAST = 15


def slow_model(path):
    """A chain of products of 1024 x 1024 matrices: about 20 GFLOP."""
    rng = np.random.RandomState(5)
    weights = (rng.randn(1024, 1024) / 32).astype(np.float32)
    nodes = [helper.make_node("Mul", ["w", "x"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "w"], [f"m{i + 1}"]) for i in range(9)]
    nodes += [helper.make_node("ReduceMean", ["m9"], ["y"], keepdims=1)]
    graph = helper.make_graph(nodes, "slow", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
                              [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


class Flood(threading.Thread):
    """Connections that ask one model again and again until told to stop."""

    def __init__(self, port, path, body, connections):
        super().__init__()
        self.ended, self.done, self.failed, self.lock = threading.Event(), 0, None, threading.Lock()
        self.workers = [threading.Thread(target=self.ask, args=(port, path, body)) for _ in range(connections)]

    def ask(self, port, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not self.ended.is_set():
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            with self.lock:
                self.done += response.status == 200
                self.failed = self.failed if response.status == 200 else (response.status, answer[:300])

    def run(self):
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models")
        fast = [shutil.copy(models / "mlp_45.onnx", folder / f"fast{i}.onnx") for i in range(FAST + 1)]
        slow = slow_model(folder / "slow.onnx")
        body = mlp_body(folder)
        slow_body = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}).encode()
        servers = {"inline": slipway([*fast, slow], folder),
                   "workers": slipway([*fast, slow], folder, "--set", "scheduler.inline_max_us=0", "--set",
                                      "scheduler.inline_alone_max_us=0", "--set", "scheduler.batching=false")}
        paths = [f"/v2/models/fast{i}/infer" for i in range(FAST)]
        results = {}

        def measure(name):
            return wrk(servers[name].url, body, FAST, args.seconds, threads=1, paths=paths)

        def beside(name, path, other_body, connections):
            flood = Flood(port_of(servers[name]), path, other_body, connections)
            flood.start()
            try:
                result = measure(name)
            finally:
                flood.ended.set()
                flood.join()
            if flood.failed or not flood.done:
                raise SystemExit(f"bench: the sixteenth model: {flood.failed or 'no answer'}")
            return dict(result, flood_per_s=flood.done / args.seconds)

        try:
            for i in range(args.rounds):
                for name in servers:
                    results.setdefault(f"{name}.alone", []).append(measure(name))
                    results.setdefault(f"{name}.slow", []).append(beside(name, "/v2/models/slow/infer", slow_body, 8))
                    results.setdefault(f"{name}.flooded", []).append(
                        beside(name, f"/v2/models/fast{FAST}/infer", body.read_bytes(), 64))
                print(f"  round {i + 1}/{args.rounds}", flush=True)
        finally:
            for server in servers.values():
                server.stop()
    table([[n, f"{statistics.median(x['per_s'] for x in r):,.0f}", f"{statistics.median(x['p50_us'] for x in r):.0f}",
            f"{statistics.median(x['p99_us'] for x in r):.0f}", "{:.0f}..{:.0f}".format(*spread(r, "p99_us")),
            f"{statistics.median(x.get('flood_per_s', 0) for x in r):.1f}"] for n, r in results.items()],
          ["run", "requests/s", "p50 us", "p99 us", "p99 range", "sixteenth/s"])
    print()

    def ratio(name, case):
        pairs = zip(results[f"{name}.{case}"], results[f"{name}.alone"])
        return statistics.median(busy["p99_us"] / alone["p99_us"] for busy, alone in pairs)

    report("fairness", [
        figure("p99 of fifteen models beside a slow one, against alone (on I/O threads)", ratio("inline", "slow"), 2, "x"),
        figure("the same, all runs on workers", ratio("workers", "slow"), 2, "x"),
        figure("beside a flooded one, all runs on workers", ratio("workers", "flooded"), 2, "x"),
    ], {"rounds": args.rounds, "seconds": args.seconds, "results": results}, args.output)


if __name__ == "__main__":
    main()
