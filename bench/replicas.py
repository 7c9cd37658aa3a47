#!/usr/bin/python3
"""Two replicas on one PostgreSQL: how long until a promotion on one is served by the other?

    bench/replicas.py [--swaps 20] [--output FILE]

Once with LISTEN/NOTIFY, once with polling alone (store.notify=false). From the answer of the promotion on A to the first
answer of B that comes from the new version; the slowest of the swaps counts.
"""
import argparse
import http.client
import json
import pathlib
import statistics
import time

from common import figure, need, port_of, report, slipway, table, temporary, test_models, SLIPWAY
from helpers.registry import Registry
from servers.postgres import PostgresServer


class Caller:
    """Asks one model again and again which version answers."""

    def __init__(self, port, model, body):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.path, self.body = f"/v2/models/{model}/infer", body

    def version(self):
        self.connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        data = answer.read()
        return int(answer.headers["X-Model-Version"]) if answer.status == 200 else data[:200]

    def wait_for(self, version, limit_s=30):
        begin = time.perf_counter()
        while (got := self.version()) != version:
            if time.perf_counter() - begin > limit_s:
                raise SystemExit(f"bench: version {version} was not seen within {limit_s} s, but {got}")
            time.sleep(0.002)
        return time.perf_counter() - begin


def seconds_to_be_seen(folder, model, body, notify, swaps):
    postgres = PostgresServer()
    servers = []
    try:
        options = ["--set", f"store.url={postgres.url}", "--set", f"store.notify={'true' if notify else 'false'}"]
        folder.mkdir()
        servers = [slipway([], folder, *options) for _ in "AB"]
        with Registry(port_of(servers[0])) as registry:
            for _ in range(2):
                registry.push("mlp", {"model.onnx": model})
            registry.promote("mlp", 1)
            b = Caller(port_of(servers[1]), "mlp", body)
            b.wait_for(1)
            took = []
            for i in range(swaps):
                registry.promote("mlp", 2 - i % 2)
                took.append(b.wait_for(2 - i % 2))
            return took
    finally:
        for server in servers:
            server.stop()
        postgres.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--output")
    args = parser.parse_args()
    need(SLIPWAY)
    with temporary() as tmp:
        folder = pathlib.Path(tmp)
        models = test_models(folder / "models")
        model = (models / "mlp_45.onnx").read_bytes()
        line = json.loads((models / "mlp_45.golden.jsonl").read_text().splitlines()[0])
        body = json.dumps({"inputs": line["inputs"]}).encode()
        runs = {"NOTIFY": seconds_to_be_seen(folder / "notify", model, body, True, args.swaps),
                "polling": seconds_to_be_seen(folder / "poll", model, body, False, args.swaps)}
    table([[n, f"{statistics.median(t):.3f}", f"{max(t):.3f}"] for n, t in runs.items()], ["way", "median s", "max s"])
    report("replicas", [figure("change on one replica served by the other, with NOTIFY, slowest", max(runs["NOTIFY"]), 2, "s"),
                        figure("the same without NOTIFY, slowest", max(runs["polling"]), 5, "s")],
           {"swaps": args.swaps, "seconds": runs}, args.output)


if __name__ == "__main__":
    main()
