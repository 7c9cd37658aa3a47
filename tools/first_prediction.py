#!/usr/bin/python3
"""Serves models/digits, sends it one held-out digit over HTTP, shows picture, answer and truth, and keeps serving.

  tools/first_prediction.py --binary build/slipway [--port 8080] [--digit 7] [--once]

Without --port it takes 8080, or any free port when that is taken. --once stops after the prediction. Needs nothing but
the standard library. Exit code 0 when the answer was right, 1 when it was wrong, 3 when the server could not be started.
"""
import argparse
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 30
INK = " .:-=+*#%@"


def picture(png):
    """Rows of pixels of an 8-bit greyscale PNG whose rows have no filter, as tools/train_digits.py writes them."""
    position, data, width = 8, b"", 0
    while position < len(png):
        size, kind = struct.unpack(">I4s", png[position:position + 8])
        body = png[position + 8:position + 8 + size]
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 0), "not 8-bit greyscale"
        elif kind == b"IDAT":
            data += body
        position += 12 + size
    rows = zlib.decompress(data)
    return [rows[i + 1:i + 1 + width] for i in range(0, len(rows), width + 1)]


def draw(png):
    for row in picture(png):
        print("    " + "".join(INK[value * (len(INK) - 1) // 255] * 2 for value in row))


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """slipway serve as a child in the same process group: Ctrl-C reaches it from the terminal. Its log goes to a file."""

    def __init__(self, binary, port, log_path):
        self.log_path = log_path
        self.port = None
        self.serving = threading.Event()
        self.process = subprocess.Popen([binary, "serve", ROOT / "models" / "digits", "--port", str(port)],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with open(self.log_path, "wb") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                if not self.serving.is_set() and b'"serving"' in line:
                    self.port = json.loads(line)["port"]
                    self.serving.set()

    def wait_ready(self):
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.serving.wait(0.02):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5):
                        return True
                except OSError:
                    time.sleep(0.02)
        return False

    def fail(self, why):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
        tail = self.log_path.read_text(errors="replace").splitlines()[-20:]
        print("\n".join([f"{why}; the last lines of {self.log_path}:", *tail]), file=sys.stderr)
        sys.exit(3)


def predict(port, png):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models/digits:predict", data=png,
                                     headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def find(value, key):
    """The first value under `key` anywhere in the answer, out of lists of one."""
    if isinstance(value, dict):
        if key in value:
            value = value[key]
            while isinstance(value, list) and value:
                value = value[0]
            return value
        value = list(value.values())
    if isinstance(value, list):
        return next((found for found in (find(item, key) for item in value) if found is not None), None)
    return None


def show(port, digit):
    """Sends the sample and tells what came back; True when the answer is right."""
    sample = ROOT / "models" / "digits" / "samples" / f"held-out-{digit}.png"
    png = sample.read_bytes()
    began = time.perf_counter()
    text = predict(port, png)
    took_ms = (time.perf_counter() - began) * 1000
    answer = json.loads(text)
    label, score = find(answer, "label"), find(answer, "score")
    print(f"\nA handwritten digit the model was not trained on ({sample.relative_to(ROOT)}):\n")
    draw(png)
    print(f"\nPOST /v1/models/digits:predict answered in {took_ms:.1f} ms:\n\n    {text.strip()}\n")
    right = label == str(digit)
    certainty = f" with probability {score}" if isinstance(score, float) else ""
    print(f"The model reads {label}{certainty}; it is a {digit}: {'right' if right else 'WRONG'}.")
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "build" / "slipway")
    parser.add_argument("--port", type=int)
    parser.add_argument("--digit", type=int, default=7, choices=range(10))
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    binary = arguments.binary.resolve()
    port = arguments.port
    if port is None:
        port = 8080 if port_is_free(8080) and not arguments.once else 0
    # Ended by another program: the server must not outlive this one.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    server = Server(binary, port, binary.parent / "run.log")
    try:
        if not server.wait_ready():
            server.fail("the server did not become ready")
        try:
            right = show(server.port, arguments.digit)
        except (OSError, ValueError) as error:
            body = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
            server.fail(f"the prediction failed: {error} {body}")
        if not arguments.once:
            print(f"\nServing http://127.0.0.1:{server.port} until Ctrl-C. In another terminal:\n\n"
                  f"    curl -s --data-binary @models/digits/samples/held-out-3.png -H 'Content-Type: image/png' "
                  f"\\\n         http://127.0.0.1:{server.port}/v1/models/digits:predict\n"
                  f"    curl -s http://127.0.0.1:{server.port}/v2/models/digits     what it takes and gives\n"
                  f"    curl -s http://127.0.0.1:{server.port}/metrics\n\n"
                  f"The server's log: {server.log_path}. Your own model: {binary} serve model.onnx", flush=True)
            server.process.wait()
    except KeyboardInterrupt:
        print("\nstopping")  # the terminal sent the server the same signal; a second one would cut its drain short
        if arguments.once:
            server.process.terminate()
        return server.process.wait()
    except SystemExit:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(30)
        raise
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(30)
    if code != 0:
        server.fail(f"the server ended with {code}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
