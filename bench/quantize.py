#!/usr/bin/python3
"""What INT8 is worth: size and time of one run, in floats, QDQ and dynamic, measured in turn.

    bench/quantize.py [--rounds 9] [--iterations 300] [--output FILE]

Models: an MLP of 784-2048-2048-1000 at batch 1 and 16, and a CNN of six 3x3 convolutions on 3x224x224. Each round measures
every variant once with `slipway bench`, one thread; the figure is the median over rounds of the rounds' medians.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from common import SLIPWAY, figure, interleaved, median, need, report, spread, table, temporary, test_models

MODELS = {"mlp_big": ((64, 784), (1, 16)), "cnn_224": ((16, 3, 224, 224), (1,))}
VARIANTS = {"float": None, "qdq": [], "dynamic": ["--mode", "dynamic"]}


def quantize(model, shape, folder):
    """{variant: path} of the model; calibrated on uniform numbers, which is what the weights were made for."""
    samples = folder / f"{model.stem}.npy"
    write = "import numpy as n, sys; n.save(sys.argv[1], n.random.RandomState(1).random_sample(eval(sys.argv[2])).astype('f4'))"
    subprocess.run(["/usr/bin/python3", "-c", write, samples, str(shape)], check=True)
    paths = {"float": model}
    for variant, options in VARIANTS.items():
        if options is not None:
            paths[variant] = folder / f"{model.stem}.{variant}.onnx"
            subprocess.run([SLIPWAY, "quantize", model, paths[variant], "--calibration", samples, *options], check=True,
                           stdout=subprocess.DEVNULL)
    return paths


def bench(path, batch, iterations):
    out = subprocess.run([SLIPWAY, "bench", path, "--batch", str(batch), "--iterations", str(iterations), "--json"],
                         capture_output=True, text=True, check=True)
    return {"p50_ms": json.loads(out.stdout)["latency_ms"]["p50"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    need(SLIPWAY)
    rows, figures, details = [], [], {}
    with temporary() as folder:
        folder = pathlib.Path(folder)
        models = test_models(folder)
        for name, (shape, batches) in MODELS.items():
            paths = quantize(models / f"{name}.onnx", shape, folder)
            sizes = {variant: path.stat().st_size for variant, path in paths.items()}
            for batch in batches:
                runs = interleaved(arguments.rounds, {
                    v: lambda p=p: bench(p, batch, arguments.iterations) for v, p in paths.items()})
                times = {v: median(r, "p50_ms") for v, r in runs.items()}
                # of each round: a machine that is busier in one round than in another is so for all variants
                ratios = {v: statistics.median(r["p50_ms"] / f["p50_ms"] for r, f in zip(runs[v], runs["float"]))
                          for v in runs}
                for v in paths:
                    low, high = spread(runs[v], "p50_ms")
                    rows.append([name, batch, v, f"{sizes[v]:,}", f"{sizes[v] / sizes['float']:.3f}", f"{times[v]:.3f}",
                                 f"{low:.3f} to {high:.3f}", f"{ratios[v]:.2f}"])
                    details[f"{name} batch {batch} {v}"] = {"bytes": sizes[v], "p50_ms": times[v], "rounds": runs[v],
                                                            "ratio": ratios[v]}
                figures.append(figure(f"{name}, batch {batch}: QDQ against floats", ratios["qdq"], 1, "of the time"))
            figures.append(figure(f"{name}: QDQ against floats", sizes["qdq"] / sizes["float"], 0.27, "of the size"))
    table(rows, ["model", "batch", "form", "bytes", "of it", "ms a run", "rounds", "of the time"])
    print()
    report("quantize", figures, details, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
