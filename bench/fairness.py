#!/usr/bin/python3
"""Does one slow or flooded model hold up the others? p99 of fifteen models under load, alone and beside a sixteenth.

    bench/fairness.py [--rounds 7] [--seconds 4] [--output FILE]

The fifteen are small MLPs, one connection each. The sixteenth takes about a tenth of a second a run and has eight connections;
then it is the MLP 784-2048-2048-1000, flooded by 64. Alone and busy rounds are interleaved; the figure is the median of the
rounds' ratios. Once with small models that run on the I/O threads, once with all runs on workers.
"""
import argparse
import concurrent.futures
import json
import pathlib
import shutil
import statistics
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from batching import bodies
from common import figure, load, need, report, slipway, spread, table, temporary, test_models, wrk, SLIPWAY
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
        fast = [shutil.copy(models / "mlp_45.onnx", folder / f"fast{i}.onnx") for i in range(FAST)]
        served = [*fast, slow_model(folder / "slow.onnx"), models / "mlp_big.onnx"]
        body = mlp_body(folder)
        big_body, _, _ = bodies(folder)
        slow_body = folder / "slow.json"
        slow_body.write_text(json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}))
        servers = {"inline": slipway(served, folder),
                   "workers": slipway(served, folder, "--set", "scheduler.inline_max_us=0", "--set",
                                      "scheduler.inline_alone_max_us=0")}
        paths = [f"/v2/models/fast{i}/infer" for i in range(FAST)]
        results = {}

        def measure(name):
            return wrk(servers[name].url, body, FAST, args.seconds, threads=1, paths=paths)

        def beside(name, model, other_body, connections):
            """While `slipway load` asks the sixteenth, from a second before to a second after."""
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                flood = pool.submit(load, f"{servers[name].url}/v2/models/{model}/infer", other_body, connections,
                                    args.seconds + 2, "--threads", 1, "--timeout", "60s")
                time.sleep(1)
                result = measure(name)
                return dict(result, flood_per_s=flood.result()["throughput_per_s"])

        try:
            for i in range(args.rounds):
                for name in servers:
                    results.setdefault(f"{name}.alone", []).append(measure(name))
                    results.setdefault(f"{name}.slow", []).append(beside(name, "slow", slow_body, 8))
                    results.setdefault(f"{name}.flooded", []).append(beside(name, "mlp_big", big_body, 64))
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
        figure("beside a flooded one of half a millisecond a run, all runs on workers", ratio("workers", "flooded"), 3, "x"),
    ], {"rounds": args.rounds, "seconds": args.seconds, "results": results}, args.output)


if __name__ == "__main__":
    main()
