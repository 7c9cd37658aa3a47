"""Memory taken by a burst of large requests goes back to the system once the server is idle."""
import json
import os
import threading
import time

import pytest

from helpers.client import tensor


@pytest.mark.skipif(bool(os.environ.get("TEST_SANITIZER")), reason="sanitizers keep freed memory")
def test_idle_server_gives_memory_back(start_server, test_models):
    server = start_server(test_models / "cnn_224.onnx")
    body = json.dumps({"inputs": [tensor("image", [1, 3, 224, 224], "FP32", [0.123456] * 150528)]}).encode()

    def ask():
        with server.client() as client:
            for _ in range(6):
                answer = client.request("POST", "/v2/models/cnn_224/infer", body, {"Content-Type": "application/json"})
                assert answer.status == 200

    before = server.rss_kib()
    threads = [threading.Thread(target=ask) for _ in range(24)]
    for t in threads:
        t.start()
    peak = before
    while any(t.is_alive() for t in threads):
        peak = max(peak, server.rss_kib())
        time.sleep(0.01)
    for t in threads:
        t.join()
    # What stays: a few exchanges a thread, and what ONNX Runtime keeps for as many runs at once as there were.
    enough = before + max((peak - before) // 2, 24 * 1024)
    assert peak > enough, f"the load was too small to show anything: {before} KiB before, {peak} at the peak"
    deadline = time.monotonic() + 20
    while server.rss_kib() > enough:
        assert time.monotonic() < deadline, f"{before} KiB before, {peak} at the peak, {server.rss_kib()} after 20 s"
        time.sleep(0.1)
