#!/usr/bin/env python3
"""An S3 server of a test's own: OpenStack Swift (Debian's python3-swift) with its S3 interface, in a temporary folder,
on a free port of 127.0.0.1, gone afterwards. It is a real object store: it verifies AWS signatures (version 4), knows
multipart uploads, ranges and listings in pages, and answers with S3's XML.

As a module:

    with S3Server() as server:
        server.endpoint, server.access_key, server.secret_key, server.bucket
        server.create_bucket("other")
        server.request("GET", "/bucket/key")     # signed here, independently of the C code -> Answer
        server.kill()                            # as if it crashed; start() on the same port with the same data
        server.stop(); server.start(); server.restart(); server.freeze(); server.thaw()

As a program it sets SLIPWAY_TEST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY and _BUCKET, runs a command and ends with its
exit code; 77 (a skipped test) when Swift is not installed:

    tests/servers/s3.py -- COMMAND [ARGUMENT...]

The command may write "kill", "stop", "start", "freeze" or "thaw" and a line feed to the descriptor named by
SLIPWAY_TEST_S3_CONTROL, and reads "done" from it when that has happened.

Swift's four servers (proxy, account, container, object) run as threads of one process (eventlet), with one device and
one replica. It keeps object metadata in extended attributes: the folder is made where those work. The process ends when
the one that started it does, and a guard then deletes the folder.
"""
import collections
import functools
import hashlib
import hmac
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

LIMIT_S = 60.0
SKIPPED = 77
BUCKET = "slipway-test"
REGION = "us-east-1"
BACKENDS = ("account", "container", "object")
PR_SET_PDEATHSIG = 1

Answer = collections.namedtuple("Answer", "status headers body")

SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = slipway
[swift-constraints]
max_file_size = 5368709122
"""

BACKEND_CONF = """
[DEFAULT]
devices = {folder}/devices
mount_check = false
swift_dir = {folder}
disable_fallocate = true
log_address = {folder}/no-syslog
[app:main]
use = egg:swift#{kind}
replication_server = false
"""

# SLO carries multipart uploads; copy, versioned_writes and gatekeeper put themselves where they belong.
PROXY_CONF = """
[DEFAULT]
swift_dir = {folder}
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = catch_errors s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = false
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_slipway_tester = {secret_key} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""

# Waits for the end of its input, that is, of the process that started it.
GUARD = 'read -r _; while [ -e "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; do sleep 0.05; done; rm -rf "$1"'


@functools.cache
def find_python():
    """An interpreter that has Swift: this one, or Debian's own, which python3-swift is for; None when neither has."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if subprocess.run([python, "-c", "import swift.common.middleware.s3api.s3api"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False).returncode == 0:
                return python
        except FileNotFoundError:
            pass
    return None


def is_installed():
    return find_python() is not None


# ---- the server's process


def make_ring(folder, kind, port):
    from swift.common.ring import RingBuilder
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


class NoCache:
    """Swift's tempauth wants a memcached, for tokens that S3 clients never have: this one forgets at once."""

    def get(self, *_, **__):
        return None

    def set(self, *_, **__):
        pass

    def delete(self, *_, **__):
        pass


def with_no_cache(app):
    cache = NoCache()

    def call(environ, start_response):
        environ["swift.cache"] = cache
        return app(environ, start_response)
    return call


def serve(folder, port):
    """Never returns. Says "ready" on standard output once connections are accepted."""
    import ctypes
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    import eventlet
    from swift.common import utils
    utils.eventlet_monkey_patch()
    import logging
    import eventlet.wsgi
    from swift.common import wsgi
    utils.set_swift_dir(str(folder))
    logging.disable(logging.INFO)
    logger = utils.get_logger({"log_address": str(folder / "no-syslog")}, "slipway-test")

    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in BACKENDS}
    sockets["proxy"] = eventlet.listen(("127.0.0.1", port), backlog=128, reuse_port=False)
    for kind in BACKENDS:
        make_ring(folder, kind, sockets[kind].getsockname()[1])
    for kind, listener in sockets.items():
        app = wsgi.loadapp(str(folder / f"{kind}.conf"), global_conf={"log_name": kind})
        app = with_no_cache(app) if kind == "proxy" else app
        eventlet.spawn(eventlet.wsgi.server, listener, app, wsgi.NullLogger(), protocol=wsgi.SwiftHttpProtocol,
                       capitalize_response_headers=False, socket_timeout=60, custom_pool=eventlet.GreenPool(256))
    logger.debug("started")
    print("ready", sockets["proxy"].getsockname()[1], flush=True)
    while True:
        eventlet.sleep(3600)


# ---- who starts it


def folder_with_attributes():
    """A new temporary folder on a file system that has extended attributes."""
    for parent in (tempfile.gettempdir(), "/var/tmp", os.getcwd()):
        folder = Path(tempfile.mkdtemp(prefix="slipway-s3-", dir=parent))
        try:
            os.setxattr(folder, "user.slipway", b"1")
            return folder
        except OSError:
            folder.rmdir()
    raise RuntimeError("no temporary folder has extended attributes, which Swift needs: set TMPDIR to one")


class S3Server:
    def __init__(self):
        if not is_installed():
            raise FileNotFoundError("Swift is not installed; run: tools/setup.sh test")
        self.access_key = "slipway:tester"
        self.secret_key = secrets.token_hex(16)
        self.bucket = BUCKET
        self.port = 0
        self.process = None
        self.folder = folder_with_attributes()
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "sh", str(self.folder)], stdin=subprocess.PIPE,
                                       start_new_session=True)
        try:
            self._configure()
            self.start()
            self.create_bucket(self.bucket)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self):
        return {"SLIPWAY_TEST_S3_ENDPOINT": self.endpoint, "SLIPWAY_TEST_S3_ACCESS_KEY": self.access_key,
                "SLIPWAY_TEST_S3_SECRET_KEY": self.secret_key, "SLIPWAY_TEST_S3_BUCKET": self.bucket}

    def _configure(self):
        (self.folder / "devices" / "disk").mkdir(parents=True)
        (self.folder / "swift.conf").write_text(SWIFT_CONF, encoding="utf-8")
        for kind in BACKENDS:
            (self.folder / f"{kind}.conf").write_text(BACKEND_CONF.format(folder=self.folder, kind=kind),
                                                      encoding="utf-8")
        (self.folder / "proxy.conf").write_text(
            PROXY_CONF.format(folder=self.folder, region=REGION, secret_key=self.secret_key), encoding="utf-8")

    def start(self):
        """Returns when it accepts connections; a second start uses the port of the first."""
        assert not self.process
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([find_python(), __file__, "--serve", str(self.folder), str(self.port)],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                                            start_new_session=True)
        (self.folder / "pid").write_text(str(self.process.pid), encoding="utf-8")
        words = self.process.stdout.readline().split()
        if words[:1] != ["ready"]:
            self.process.kill()
            self._ended()
            raise RuntimeError("Swift does not start:\n" + (self.folder / "log").read_text(encoding="utf-8"))
        self.port = int(words[1])

    def _ended(self):
        self.process.wait(LIMIT_S)
        self.process.stdout.close()
        self.process = None
        (self.folder / "pid").unlink(missing_ok=True)

    def stop(self):
        self.process.terminate()
        self._ended()

    def kill(self):
        self.process.kill()
        self._ended()

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        """It goes on to exist but answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process:
            self.kill()
        self._guard.stdin.close()
        self._guard.wait(LIMIT_S)

    def request(self, method, path, query=None, body=b""):
        """path: not encoded; query: a dictionary."""
        encoded = urllib.parse.quote(path, safe="/-_.~")
        pairs = sorted((query or {}).items())
        text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(str(v), safe='-_.~')}"
                        for k, v in pairs)
        headers = self._sign(method, encoded, text, body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, encoded + ("?" + text if text else ""), body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def _sign(self, method, path, query, body):
        """AWS Signature Version 4, as documented by AWS; not what src/artifact uses."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        payload = hashlib.sha256(body).hexdigest()
        headers = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": payload, "x-amz-date": now}
        names = ";".join(headers)
        canonical = "\n".join([method, path, query, *(f"{k}:{v}" for k, v in headers.items()), "", names, payload])
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self.secret_key.encode()
        for part in (now[:8], REGION, "s3", "aws4_request", text):
            key = hmac.digest(key, part.encode(), "sha256")
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
                                    f"Signature={key.hex()}")
        return headers

    def create_bucket(self, name):
        answer = self.request("PUT", f"/{name}")
        if answer.status != 200:
            raise RuntimeError(f"cannot make the bucket {name}: {answer.status} {answer.body[:500]!r}")


def serve_control(server, control):
    """Does what the command asks for, one word a line, until it has closed its end."""
    for line in control.makefile("r"):
        {"kill": server.kill, "stop": server.stop, "start": server.start, "freeze": server.freeze,
         "thaw": server.thaw}[line.strip()]()
        control.sendall(b"done\n")


def main():
    command = sys.argv[1:]
    if command[:1] == ["--serve"]:
        serve(Path(command[1]), int(command[2]))
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.exit(f"usage: {sys.argv[0]} -- COMMAND [ARGUMENT...]")
    if not is_installed():
        print("skipped: Swift is not installed; run: tools/setup.sh test")
        sys.exit(SKIPPED)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with S3Server() as server:
        ours, theirs = socket.socketpair()
        threading.Thread(target=serve_control, args=(server, ours), daemon=True).start()
        environment = {**os.environ, **server.environment, "SLIPWAY_TEST_S3_CONTROL": str(theirs.fileno())}
        child = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            code = child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(LIMIT_S)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
