#!/usr/bin/python3
"""Requests over HTTP against nginx answering a fixed JSON and against a bare in-process ONNX Runtime loop.

    bench/serving.py [--rounds 5] [--seconds 4] [--output FILE]

Everything runs on this machine, interleaved round by round; the figures are medians over the rounds.
"""
import argparse
import json
import pathlib
import random
import struct

from common import (figure, inproc, interleaved, median, need, nginx, report, slipway, spread, table, temporary,
                    test_models, wrk, INPROC, SLIPWAY)


def mlp_body(folder):
    random.seed(1)
    values = [round(random.uniform(-1, 1), 6) for _ in range(45)]
    path = folder / "mlp.json"
    path.write_text(json.dumps({"inputs": [{"name": "features", "shape": [1, 45], "datatype": "FP32", "data": values}]}))
    return path


def cnn_bodies(folder):
    random.seed(2)
    values = [round(random.random(), 6) for _ in range(3 * 224 * 224)]
    tensor = {"name": "image", "shape": [1, 3, 224, 224], "datatype": "FP32"}
    as_json = folder / "cnn.json"
    as_json.write_text(json.dumps({"inputs": [dict(tensor, data=values)]}))
    header = json.dumps({"inputs": [dict(tensor, parameters={"binary_data_size": 4 * len(values)})],
                         "parameters": {"binary_data_output": True}}).encode()
    binary = folder / "cnn.bin"
    binary.write_bytes(header + struct.pack(f"<{len(values)}f", *values))
    return as_json, binary, len(header)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", "nginx", SLIPWAY, INPROC)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models")
        mlp, cnn = models / "mlp_45.onnx", models / "cnn_224.onnx"
        small = mlp_body(folder)
        as_json, binary, header_length = cnn_bodies(folder)
        answer = ('{"model_name":"mlp_45","model_version":"1","outputs":[{"name":"probability","datatype":"FP32",'
                  '"shape":[1,1],"data":[0.5]}]}')
        peer, server = nginx(answer, folder), slipway([mlp, cnn], folder)
        try:
            infer = server.url + "/v2/models/{}/infer"
            s = args.seconds
            results = interleaved(args.rounds, {
                "mlp.inproc": lambda: inproc(mlp, 200000),
                "mlp.32.nginx": lambda: wrk(peer.url + "/x", small, 32, s),
                "mlp.32.slipway": lambda: wrk(infer.format("mlp_45"), small, 32, s),
                "mlp.1.nginx": lambda: wrk(peer.url + "/x", small, 1, s),
                "mlp.1.slipway": lambda: wrk(infer.format("mlp_45"), small, 1, s),
                "cnn.inproc": lambda: inproc(cnn, 1500),
                "cnn.1.binary": lambda: wrk(infer.format("cnn_224"), binary, 1, s, "application/octet-stream", header_length),
                "cnn.1.json": lambda: wrk(infer.format("cnn_224"), as_json, 1, s),
            })
        finally:
            server.stop()
            peer.stop()
    rows = [[name, f"{median(r, 'per_s'):,.0f}", f"{median(r, 'p50_us'):.1f}", f"{median(r, 'p99_us'):.1f}"]
            for name, r in results.items() if "per_s" in r[0]]
    rows += [[name, "", f"{median(r, 'p50_us'):.2f}", f"{median(r, 'p99_us'):.2f}"]
             for name, r in results.items() if "per_s" not in r[0]]
    table(rows, ["run", "requests/s", "p50 us", "p99 us"])
    print()
    cnn_us = median(results["cnn.inproc"], "p50_us")
    figures = [
        figure("small MLP, JSON, 32 connections: requests/s against nginx",
               median(results["mlp.32.slipway"], "per_s") / median(results["mlp.32.nginx"], "per_s"), 0.65, at_least=True),
        figure("small MLP, 1 connection: p50 - nginx's p50 - in-process",
               median(results["mlp.1.slipway"], "p50_us") - median(results["mlp.1.nginx"], "p50_us")
               - median(results["mlp.inproc"], "p50_us"), 25, "us"),
        figure("CNN 3x224x224, binary, 1 connection: p50 against in-process",
               median(results["cnn.1.binary"], "p50_us") / cnn_us, 1.35, "x"),
        figure("the same as JSON", median(results["cnn.1.json"], "p50_us") / cnn_us, 3, "x"),
    ]
    report("serving", figures, {"rounds": args.rounds, "seconds": s, "results": results,
                                "ranges_per_s": {n: spread(r, "per_s") for n, r in results.items() if "per_s" in r[0]}},
           args.output)


if __name__ == "__main__":
    main()
