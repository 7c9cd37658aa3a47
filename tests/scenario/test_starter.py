"""The starter model over HTTP: every sample gets its golden answer, and `make run`'s script shows a right one."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INK = " .:-=+*#%@"


def golden(digits):
    return [json.loads(line) for line in (digits / "golden.jsonl").read_text().splitlines()]


def test_every_sample_gets_its_golden_answer(client, digits):
    for line in golden(digits):
        png = (digits / line["inputs"][0]["file"]).read_bytes()
        answer = client.post("/v1/models/digits:predict", body=png, headers={"Content-Type": "image/png"})
        assert answer.status == 200, answer
        prediction = answer.json()["predictions"][0]
        expected = {output["name"]: output["data"] for output in line["outputs"]}
        assert prediction["label"] == expected["label"][0]
        assert prediction["score"] == pytest.approx(expected["score"][0], abs=line["tolerance"])
        assert prediction["scores"] == pytest.approx(expected["scores"], abs=line["tolerance"])


@pytest.mark.parametrize("digit", range(10))
def test_first_prediction_is_right(binary, digit):
    done = subprocess.run([sys.executable, ROOT / "tools" / "first_prediction.py", "--binary", binary, "--once",
                           "--digit", str(digit)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The model reads {digit}" in done.stdout and "right" in done.stdout
    picture = [row for row in done.stdout.splitlines() if row.startswith("    ") and set(row) <= set(INK)]
    assert len(picture) == 8 and any("@" in row or "%" in row for row in picture)


def test_first_prediction_without_a_server_says_why(tmp_path):
    fake = tmp_path / "slipway"
    fake.write_text("#!/bin/sh\necho 'no runtime here' >&2\nexit 3\n")
    fake.chmod(0o755)
    done = subprocess.run([sys.executable, ROOT / "tools" / "first_prediction.py", "--binary", fake, "--once"],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "did not become ready" in done.stderr and "no runtime here" in done.stderr


@pytest.mark.parametrize("end, number, code", [(os.killpg, signal.SIGINT, 0), (os.kill, signal.SIGTERM, 143)])
def test_script_and_server_end_together(binary, end, number, code):
    """Ctrl-C reaches the whole group; whoever ends the script alone must not leave its server behind."""
    with subprocess.Popen([sys.executable, ROOT / "tools" / "first_prediction.py", "--binary", binary, "--port", "0"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          start_new_session=True) as script:
        try:
            for line in script.stdout:
                if line.startswith("Your own model:") or "The server's log:" in line:
                    break
            end(script.pid, number)
            rest = script.stdout.read()
            assert script.wait(30) == code, rest
            assert code or "stopping" in rest
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.killpg(script.pid, 0)
