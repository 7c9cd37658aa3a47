#!/usr/bin/python3
"""How fast is the question "is something hidden in this image?" over HTTP, client included, on this machine's cores?

    bench/starlight.py [--rounds 5] [--seconds 4] [--bundle apps/starlight/detector]... [--output FILE]

256x256 PNG photographs (made here: plasma and noise, which compress as badly as photographs do), sent to POST /inference
as raw bodies by `slipway load`, at 2 and at 20 connections, rounds interleaved; one 20-megapixel image of each format, one
after the other, with the server's peak resident memory after all of them. Several bundles (--bundle twice) are measured
side by side.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

import numpy as np
from PIL import Image

from common import ROOT, SLIPWAY, figure, interleaved, median, need, report, slipway, spread, table, temporary

LARGE = {"png": {"compress_level": 1}, "jpeg": {"quality": 92}, "webp": {"quality": 80, "method": 0}, "gif": {},
         "bmp": {}, "webp-lossless": {"lossless": True, "method": 0, "quality": 0}}
MEGAPIXELS_20 = (5472, 3648)


def photograph(width, height, rng):
    """Smooth at large, noisy at small scale, as photographs are."""
    small = rng.integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8))


def small_images(folder, count=64):
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(count):
        photograph(256, 256, rng).save(folder / f"{i}.png")
    return folder


def large_images(folder):
    folder.mkdir()
    image = photograph(*MEGAPIXELS_20, np.random.default_rng(2))
    files = {}
    for name, options in LARGE.items():
        files[name] = folder / f"{name}.{name.split('-')[0]}"
        (image.quantize(256) if name == "gif" else image).save(files[name], **options)
    return files


def load(url, bodies, connections, seconds):
    """One closed loop of `slipway load`; what it reports, in the words of the tables here."""
    done = subprocess.run([SLIPWAY, "load", url + "/inference", "--duration", f"{seconds}s", "--warmup", "1s", "--concurrency",
                           str(connections), "--body", bodies, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: slipway load: {done.stderr}")
    result = json.loads(done.stdout)
    if result["errors"]:
        sys.exit(f"bench: {url}: {result['failures']}")
    latency = result["latency_ms"]
    return {"per_s": result["throughput_per_s"], "p50_us": latency["p50"] * 1e3, "p95_us": latency["p95"] * 1e3,
            "p99_us": latency["p99"] * 1e3}


def peak_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def ask_large(server, files):
    """Seconds of each answer, and the verdict."""
    seconds = {}
    for name, path in files.items():
        request = urllib.request.Request(server.url + "/inference", path.read_bytes(), {"Content-Type": "image/any"})
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = json.load(answer)
        seconds[name] = time.monotonic() - started
        if (body["image"]["width"], body["image"]["height"]) != MEGAPIXELS_20:
            sys.exit(f"bench: {name}: answered {body}")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--bundle", action="append", type=pathlib.Path)
    parser.add_argument("--output")
    args = parser.parse_args()
    bundles = args.bundle or [ROOT / "apps/starlight/detector"]
    need(SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        small, large = small_images(folder / "small"), large_images(folder / "large")
        servers = {}
        try:
            for bundle in bundles:
                place = folder / bundle.name
                place.mkdir()
                servers[bundle.name] = slipway([bundle], place, "--app", "starlight", "--set", "starlight.max_image_bytes=128MiB",
                                               "--set", "server.max_body_bytes=128MiB")
            runs = {f"{name}, {n} connections": lambda s=server, n=n: load(s.url, small, n, args.seconds)
                    for name, server in servers.items() for n in (2, 20)}
            results = interleaved(args.rounds, runs)
            seconds = {name: ask_large(server, large) for name, server in servers.items()}
            peaks = {name: peak_bytes(server.process.pid) for name, server in servers.items()}
        finally:
            for server in servers.values():
                server.stop()
    first = bundles[0].name
    two, twenty = results[f"{first}, 2 connections"], results[f"{first}, 20 connections"]
    table([[run, f"{median(r, 'per_s'):,.0f}", *(f"{median(r, k) / 1e3:.2f}" for k in ("p50_us", "p95_us", "p99_us")),
            "{:,.0f} to {:,.0f}".format(*spread(r, "per_s"))] for run, r in results.items()],
          ["run", "images/s", "p50 ms", "p95 ms", "p99 ms", "range of images/s"])
    table([[bundle, *(f"{s:.2f}" for s in times.values()), f"{peaks[bundle] / 1e6:.0f}"] for bundle, times in seconds.items()],
          ["20 megapixels, s", *LARGE, "peak MB"])
    report("starlight", [
        figure("256x256 PNG, 20 connections", median(twenty, "per_s"), 250, "images/s", at_least=True),
        figure("p95 at 2 connections", median(two, "p95_us") / 1e3, 20, "ms"),
        figure("p95 at 20 connections", median(twenty, "p95_us") / 1e3, 100, "ms"),
        figure("20-megapixel image, slowest format", max(seconds[first].values()), 2, "s"),
        figure("peak resident memory after these", peaks[first] / 1e6, 400, "MB"),
    ], {"rounds": args.rounds, "seconds": args.seconds, "results": results, "large_seconds": seconds,
        "peak_bytes": peaks}, args.output)


if __name__ == "__main__":
    main()
