#!/usr/bin/python3
"""What does `slipway load` cost, and does it see what wrk sees? Both against nginx answering a fixed JSON, and `slipway serve`.

    bench/load_client.py [--rounds 7] [--seconds 3] [--connections 20] [--output FILE]

Rounds are interleaved. Processor time is that of the client process alone, user and system, by requests.
"""
import argparse
import json
import os
import subprocess
import sys

from common import ROOT, SLIPWAY, figure, interleaved, median, need, nginx, report, slipway, spread, table, temporary

IMAGE = ROOT / "models" / "digits" / "samples" / "held-out-0.png"


def timed(argv, env=None):
    """(standard output, processor seconds) of one command."""
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True, env=env) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench: {argv[0]} ended with {process.returncode}:\n{out}")
    return out, usage.ru_utime + usage.ru_stime


def by_load(url, args):
    out, cpu_s = timed([SLIPWAY, "load", url, "--body", IMAGE, "--duration", f"{args.seconds}s", "--concurrency",
                        args.connections, "--threads", 2, "--json"])
    result = json.loads(out)
    if result["errors"]:
        sys.exit(f"bench: failed requests: {result['failures']}")
    latency = result["latency_ms"]
    return {"per_s": result["throughput_per_s"], "p50_us": latency["p50"] * 1e3, "p99_us": latency["p99"] * 1e3,
            "cpu_us": cpu_s * 1e6 / result["requests"]}


def by_wrk(url, args):
    out, cpu_s = timed(["wrk", "-t", 2, "-c", args.connections, "-d", f"{args.seconds}s", "-s", ROOT / "bench" / "wrk.lua", url],
                       dict(os.environ, BODY_FILE=str(IMAGE), CONTENT_TYPE="image/png"))
    result = json.loads(next(line for line in out.splitlines() if line.startswith("JSON "))[5:])
    if result["errors"]:
        sys.exit(f"bench: {result['errors']} failed requests by wrk")
    return {"per_s": result["requests"] / (result["duration_us"] / 1e6), "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "cpu_us": cpu_s * 1e6 / result["requests"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY)
    with temporary() as tmp:
        servers = {"nginx": nginx('{"ok": true}', tmp), "slipway serve": slipway([ROOT / "models" / "digits"], tmp)}
        urls = {"nginx": servers["nginx"].url + "/", "slipway serve": servers["slipway serve"].url + "/v1/models/digits:predict"}
        try:
            results = interleaved(args.rounds, {
                f"{client} on {name}": (lambda run=run, url=url: run(url, args))
                for name, url in urls.items() for client, run in (("slipway load", by_load), ("wrk", by_wrk))})
        finally:
            for server in servers.values():
                server.stop()
    table([[name, f"{median(r, 'per_s'):,.0f}", f"{median(r, 'p50_us'):.0f}", f"{median(r, 'p99_us'):.0f}",
            f"{median(r, 'cpu_us'):.1f}", "{:,.0f} .. {:,.0f}".format(*spread(r, "per_s"))] for name, r in results.items()],
          ["run", "requests/s", "p50 us", "p99 us", "client us/request", "spread of requests/s"])
    figures = []
    for name in urls:
        ours, theirs = results[f"slipway load on {name}"], results[f"wrk on {name}"]
        figures += [figure(f"requests/s of {name} seen by slipway load, to those by wrk",
                           median(ours, "per_s") / median(theirs, "per_s"), 0.9, at_least=True),
                    figure(f"processor time a request on {name}, to that of wrk",
                           median(ours, "cpu_us") / median(theirs, "cpu_us"), 1.2)]
    figures.append(figure("processor time a request of slipway load on nginx",
                          median(results["slipway load on nginx"], "cpu_us"), 10, "us"))
    report("load_client", figures, {"rounds": args.rounds, "seconds": args.seconds, "connections": args.connections,
                                    "results": results}, args.output)


if __name__ == "__main__":
    main()
