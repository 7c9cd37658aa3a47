#!/usr/bin/python3
"""Writes docs/benchmarks.md, and docs/plots/peers.svg, from the JSON that the benchmarks left in build/bench/.

    bench/report.py [--output docs/benchmarks.md]

What the page says already about a benchmark without such JSON stays.
"""
import argparse
import json
import pathlib
import re
import sys

from common import BUILD, ROOT

sys.path.append(str(ROOT / "bench" / "peers"))
import plot  # noqa: E402

COMMANDS = {"serving": "bench/serving.py", "peers": "bench/peers/run.py", "batching": "bench/batching.py",
            "overload": "bench/overload.py", "fairness": "bench/fairness.py", "cache": "bench/cache.py",
            "footprint": "bench/footprint.py", "isolation": "bench/isolation.py", "swap": "bench/swap.py",
            "registry_scale": "bench/registry_scale.py",
            "registry_scale_postgres": "bench/registry_scale.py --postgres", "replicas": "bench/replicas.py",
            "restore": "bench/restore.py", "starlight": "bench/starlight.py", "load_client": "bench/load_client.py"}

HEAD = """# Benchmarks

Written by `bench/report.py` from the last runs of the commands named below; run `make bench` to measure again. Every
figure is a median over interleaved rounds on one machine that also runs the load; absolute times mean little, ratios
travel.
"""


def value(f):
    return f"{f['value']:.3g} {f['unit']}".strip()


def limit(f):
    return f"{'at least' if f['at_least'] else 'at most'} {f['limit']:g} {f['unit']}".strip()


def extra(details):
    """Single calls (registry_scale) as a table."""
    if "ms" not in details:
        return []
    return ["", "| call | p50 ms | p99 ms | slowest ms |", "| --- | --- | --- | --- |",
            *[f"| {n} | {t['p50']:.2f} | {t['p99']:.2f} | {t['max']:.1f} |" for n, t in details["ms"].items()]]


MB = 1024 * 1024
PEERS = """
In each round every server in turn is started, checked (its answers must be those of Slipway within 1e-4), warmed up for
{warmup} s, loaded by wrk for {seconds} s with one model and then the other, and ended: no other server runs beside it. JSON, one row
a request; {mlp} connections for the small MLP, {cnn} for the CNN. All run ONNX Runtime 1.30.0 with one thread a run, and two
workers, but for Slipway, which is one process. [bench/peers](../bench/peers) has their sources and pinned packages. They are
written for speed: no schema walks the numbers of a request. Python is Debian's, {python}; Node comes from npm. Load average of
the machine before: {load}{caveat}.
"""
PEERS_NOTE = """
CPU is the processor time that all processes of the server take for one request. Memory is the proportional set size of them
all, one second after the first answers and after the load. Start-up runs from the start of the process to its first right
answer. The size is that of what goes into a container beside its base image, in which everything essential to Debian, apt,
and what these need, is there already: for Slipway the stripped program, ONNX Runtime and the Debian packages it links; for
Python peers Debian's Python and what pip installed, without pip itself; for Node peers Node and what npm installed, without
ONNX Runtime for other platforms. Documentation is not counted.
"""


def peers_row(server):
    cells = [server["title"]]
    for model in ("mlp_45", "cnn_224"):
        cells += [f"{server[model]['per_s']:,.0f}", *(f"{server[model][p] / 1e3:.2f}" for p in ("p50_us", "p99_us")),
                  f"{server[model]['cpu_ms']:.3f}"]
    size = f"{server['size_bytes'] / MB:.0f}" if server["size_bytes"] else ""
    cells += [f"{server['idle_bytes'] / MB:.0f}", f"{server['loaded_bytes'] / MB:.0f}", f"{server['start_ms']:,.0f}"]
    return f"| {' | '.join([*cells, size])} |"


def peers(details):
    """The servers side by side; the plot is written beside the page."""
    text = PEERS.format(rounds=details["rounds"], warmup=details["warmup"], seconds=details["seconds"],
                        mlp=details["connections"]["mlp_45"], cnn=details["connections"]["cnn_224"],
                        python=details["python"], load=details["load_before"],
                        caveat="" if details["load_before"] < 1 else
                        "; other work ran beside it, so these figures are rough")
    columns = ["server", "MLP requests/s", "p50 ms", "p99 ms", "CPU ms", "CNN requests/s", "p50 ms", "p99 ms", "CPU ms",
               "idle MB", "loaded MB", "start ms", "size MB"]
    return [*text.rstrip().splitlines(), "", "![Slipway beside other model servers](plots/peers.svg)", "",
            f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}",
            *map(peers_row, details["servers"].values()),
            *[f"\nLeft out: {name}: {why}." for name, why in details["left_out"].items()],
            *PEERS_NOTE.rstrip().splitlines()]


def section(name, data):
    details = data["details"]
    rounds = f", {details['rounds']} rounds of {details['seconds']} s" if "rounds" in details else ""
    m = data["machine"]
    machine = f"{m['cores']} cores, {m.get('cpu', m['arch'])}, Linux {m['kernel']}"
    lines = ["", f"## `{COMMANDS[name]}`", "", f"{data['time'][:10]}{rounds}; {machine}.", "", "| figure | measured | wanted |",
             "| --- | --- | --- |"]
    lines += [f"| {f['figure']} | {value(f)}{'' if f['met'] else ' (missed)'} | {limit(f)} |" for f in data["figures"]]
    lines += peers(details) if name == "peers" else extra(details)
    runs = details.get("results", {})
    rows = []
    for run, results in runs.items():
        def middle(key):
            values = sorted(r[key] for r in results)
            return values[len(values) // 2]
        rate = f"{middle('per_s'):,.0f}" if "per_s" in results[0] else ""
        rows.append(f"| {run} | {rate} | {middle('p50_us'):.1f} | {middle('p99_us'):.1f} |")
    if rows:
        lines += ["", "| run | requests/s | p50 us | p99 us |", "| --- | --- | --- | --- |", *rows]
    return lines


def sections_of(page):
    """{command: lines} of a page written before."""
    if not page.exists():
        return {}
    parts = re.split(r"(?m)^## `(.*)`$", page.read_text())
    return {command: ["", f"## `{command}`", "", *text.strip("\n").splitlines()]
            for command, text in zip(parts[1::2], parts[2::2])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=str(ROOT / "docs" / "benchmarks.md"))
    args = parser.parse_args()
    found = {}
    for name in COMMANDS:
        path = BUILD / "bench" / f"{name}.json"
        if path.exists():
            found[name] = json.loads(path.read_text())
    if not found:
        raise SystemExit("bench: no results in build/bench; run `make bench` first")
    lines = HEAD.splitlines()
    before = sections_of(pathlib.Path(args.output))
    for name, command in COMMANDS.items():
        lines += section(name, found[name]) if name in found else before.get(command, [])
    with open(args.output, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    print(f"wrote {args.output}")
    if "peers" in found:
        path = pathlib.Path(args.output).parent / "plots" / "peers.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(plot.svg(found["peers"]["details"]))
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
