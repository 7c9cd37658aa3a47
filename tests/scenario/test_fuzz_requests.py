"""A short run of the request fuzzer; `make fuzz-requests` does a million."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_fuzzed_requests(binary, test_models, digits):
    count = "1500" if os.environ.get("TEST_SANITIZER") else "12000"
    growth = "100000" if os.environ.get("TEST_SANITIZER") else "16"
    done = subprocess.run([sys.executable, ROOT / "tests" / "fuzz" / "fuzz_requests.py", "--requests", count, "--growth",
                           growth, "--binary", binary, test_models / "mlp_45.onnx", digits],
                          capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
