#!/usr/bin/python3
"""Does loading one model disturb another? p99 of model A while model B (50 MB) loads and unloads in a loop, against quiet.

    bench/isolation.py [--rounds 7] [--seconds 4] [--connections 1] [--output FILE]

Quiet and busy rounds are interleaved; the figure is the ratio of the medians.
"""
import argparse
import http.client
import pathlib
import threading

from common import figure, interleaved, median, need, report, slipway, spread, table, temporary, test_models, wrk, SLIPWAY
from serving import mlp_body


class Churn(threading.Thread):
    """Loads and unloads one model until told to stop."""

    def __init__(self, port, model):
        super().__init__()
        self.port, self.model, self.ended, self.cycles, self.failed = port, model, threading.Event(), 0, None

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.ended.is_set():
            for action in ("load", "unload"):
                connection.request("POST", f"/v2/repository/models/{self.model}/{action}")
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.failed = f"{action}: {response.status} {body[:300]}"
                    return
            self.cycles += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--output")
    args = parser.parse_args()
    need("wrk", SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models")
        body = mlp_body(folder)
        server = slipway([models / "mlp_45.onnx", models / "big_50mb.onnx"], folder)
        port = int(server.url.rsplit(":", 1)[1])
        url = server.url + "/v2/models/mlp_45/infer"
        churned = []

        def quiet():
            return wrk(url, body, args.connections, args.seconds)

        def busy():
            churn = Churn(port, "big_50mb")
            churn.start()
            try:
                return wrk(url, body, args.connections, args.seconds)
            finally:
                churn.ended.set()
                churn.join()
                if churn.failed:
                    raise SystemExit(f"bench: {churn.failed}")
                churned.append(churn.cycles)

        try:
            results = interleaved(args.rounds, {"quiet": quiet, "busy": busy})
        finally:
            server.stop()
    table([[n, f"{median(r, 'per_s'):,.0f}", f"{median(r, 'p50_us'):.0f}", f"{median(r, 'p99_us'):.0f}",
            "{:.0f}..{:.0f}".format(*spread(r, "p99_us"))] for n, r in results.items()],
          ["run", "requests/s", "p50 us", "p99 us", "p99 range"])
    print(f"cycles of B in each busy round: {churned}\n")
    report("isolation", [figure("p99 of A while B (50 MB) loads and unloads, against quiet",
                                median(results["busy"], "p99_us") / median(results["quiet"], "p99_us"), 1.5, "x")],
           {"rounds": args.rounds, "seconds": args.seconds, "results": results, "cycles": churned}, args.output)


if __name__ == "__main__":
    main()
