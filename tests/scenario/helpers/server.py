"""Starts the real slipway binary, follows its log, and stops it with proof that it ended cleanly."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from .client import Client, Contract

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:"
                     r"|assertion failed|Assertion .* failed", re.IGNORECASE)


class Server:
    """One running process. `with Server(binary, [model, ...]) as server:` or through the start_server fixture."""

    def __init__(self, binary, models, args=(), env=None, cwd=None, wait_ready=True):
        self.models = [str(m) for m in models]
        self.cwd = Path(cwd or ".")
        self.command = [str(binary), "serve", *self.models, "--port", "0", *map(str, args)]
        self.lines = []  # of standard error, as text
        self.logs = []   # those that are JSON objects, parsed
        self._news = threading.Condition()
        self._contract = None
        self._clients = []  # closed with the server when the test did not
        self._stopped = False
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, cwd=cwd, env={**os.environ, **(env or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            start = self.wait_log("serving", limit_s=START_LIMIT_S)
            self.port = int(start["port"])
            if wait_ready:
                self.wait_ready()
        except BaseException:
            self._kill()
            raise

    # ---- talking to it

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, timeout_s=30.0):
        """A keep-alive connection of its own; every answer is checked against the server's /openapi.json."""
        client = Client(self.port, self.contract, timeout_s)
        self._clients.append(client)
        return client

    @property
    def contract(self):
        if self._contract is None:
            with Client(self.port, None, 30.0) as plain:
                answer = plain.get("/openapi.json")
            assert answer.status == 200, f"/openapi.json answered {answer.status}"
            self._contract = Contract(answer.json())
        return self._contract

    def connect(self, timeout_s=30.0):
        """A bare TCP connection, for requests that no HTTP library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def raw(self, data, timeout_s=30.0):
        """Sends bytes, ends the sending side, returns every byte that comes until the server closes."""
        with self.connect(timeout_s) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def wait_ready(self, limit_s=START_LIMIT_S):
        deadline = time.monotonic() + limit_s
        status = None
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                with Client(self.port, None, 5.0) as plain:
                    status = plain.get("/health/ready").status
                if status == 200:
                    return
            except OSError as error:
                status = error
            time.sleep(0.02)
        raise AssertionError(f"not ready after {limit_s} s: /health/ready gives {status}\n{self.tail()}")

    # ---- watching it

    def wait_log(self, message, limit_s=10.0, **fields):
        """The first log line with this msg and these fields, waiting for it when it is still to come."""
        deadline = time.monotonic() + limit_s
        seen = 0
        with self._news:
            while True:
                for line in self.logs[seen:]:
                    if line.get("msg") == message and all(line.get(k) == v for k, v in fields.items()):
                        return line
                seen = len(self.logs)
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and not self._reader.is_alive()
                if left <= 0 or ended:
                    why = f"it exited with {self.process.returncode}" if ended else f"{limit_s} s passed"
                    raise AssertionError(f"no log line {message!r} {fields or ''}: {why}\n{self.tail()}")
                self._news.wait(min(left, 0.1))

    def logs_of(self, message):
        with self._news:
            return [line for line in self.logs if line.get("msg") == message]

    def rss_kib(self):
        return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text(), re.M)[1])

    def tail(self, count=40):
        return "\n".join([" ".join(self.command), *self.lines[-count:]])

    # ---- ending it

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, limit_s=STOP_LIMIT_S):
        """SIGTERM; the process must end with 0 in time, and have reported nothing wrong."""
        if self._stopped:
            return
        self._stopped = True
        self._check_alive()
        self.signal(signal.SIGTERM)
        self.wait_exit(limit_s)
        assert self.process.returncode == 0, f"exit code {self.process.returncode} after SIGTERM\n{self.tail()}"

    def wait_exit(self, limit_s=STOP_LIMIT_S):
        """Waits for an end the test brought about itself (a signal, a fatal configuration); gives the exit code."""
        self._stopped = True
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"still running {limit_s} s after it should have ended\n{self.tail()}") from None
        self._close()
        self.check_reports()
        return self.process.returncode

    def check_reports(self):
        """No sanitizer report and no failed assertion in what it wrote to standard error."""
        bad = [i for i, line in enumerate(self.lines) if not line.startswith("{") and REPORTS.search(line)]
        assert not bad, "the server reported:\n" + "\n".join(self.lines[bad[0]:bad[0] + 60])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self._kill()

    def _check_alive(self):
        if self.process.poll() is not None:
            self._close()
            self.check_reports()
            raise AssertionError(f"the server ended by itself with {self.process.returncode}\n{self.tail()}")

    def _kill(self):
        self._stopped = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10.0)
        self._close()

    def _close(self):
        """After the process ended: the rest of its log."""
        for client in self._clients:
            client.close()
        self._reader.join(5.0)
        if not self._reader.is_alive():
            self.process.stderr.close()

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            parsed = None
            if line.startswith("{"):
                try:
                    parsed = json.loads(line)
                except ValueError:
                    pass
            with self._news:
                self.lines.append(line)
                if isinstance(parsed, dict):
                    self.logs.append(parsed)
                self._news.notify_all()


def read_all(connection):
    """Every byte until the other side closes."""
    pieces = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def quote(name):
    """A model name as one path segment."""
    return urllib.parse.quote(name, safe="")
