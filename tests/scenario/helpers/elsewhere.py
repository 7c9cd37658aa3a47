"""A server of somebody else: what the fetcher of a server under test may meet. It notes what it was asked.

    with Elsewhere({"/a.png": data}) as elsewhere: ...     # elsewhere.url, elsewhere.port, elsewhere.asked

Paths beside the files given: /redirect?to=URL, /status?code=N, /empty, /cut (announces more than it sends), /announced?n=N
(announces N bytes, sends one), /endless (chunks without an end), /silent (never answers), /drip (headers, then nothing),
/gzip (says its bytes are compressed), /headers and /trailers (without an end). Those that wait do so until the server is closed.
"""
import http.server
import threading
import urllib.parse


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        owner = self.server.owner
        with owner.lock:
            owner.asked.append((self.path, dict(self.headers)))
        owner.news.set()
        action = getattr(self, "on_" + url.path.strip("/").replace("/", "_"), None)
        if self.path in owner.files:
            self.reply(200, owner.files[self.path])
        elif action:
            action(query)
        else:
            self.reply(404, b"nothing here")
        self.close_connection = True

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def on_redirect(self, query):
        self.reply(int(query.get("code", 302)), b"elsewhere", Location=query["to"], Set_Cookie="a=b")

    def on_status(self, query):
        self.reply(int(query["code"]), b"x" * 1000)

    def on_empty(self, _):
        self.reply(200, b"")

    def on_cut(self, _):
        self.reply(200, b"x" * 10, Content_Length=1000)

    def on_announced(self, query):
        self.reply(200, b"x", Content_Length=query["n"])
        self.server.owner.closing.wait(60)

    def on_gzip(self, _):
        self.reply(200, b"\x1f\x8b not really", Content_Encoding="gzip")

    def on_endless(self, _):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        piece = b"x" * 65536
        try:
            while not self.server.owner.closing.is_set():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        except OSError:
            self.server.owner.cut.set()  # the other side had enough

    def on_headers(self, _):
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.owner.closing.is_set():
                self.wfile.write(b"X-More: %s\r\n" % (b"x" * 4000))
        except OSError:
            self.server.owner.cut.set()

    def on_trailers(self, _):
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
            while not self.server.owner.closing.is_set():
                self.wfile.write(b"X-More: %s\r\n" % (b"x" * 4000))
        except OSError:
            self.server.owner.cut.set()

    def on_silent(self, _):
        self.server.owner.closing.wait(60)

    def on_drip(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.flush()
        self.server.owner.closing.wait(60)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass  # a client that went away


class Elsewhere:
    def __init__(self, files=None, host="127.0.0.1"):
        self.files = files or {}
        self.asked = []  # (path, headers)
        self.lock = threading.Lock()
        self.news, self.closing, self.cut = threading.Event(), threading.Event(), threading.Event()
        self._server = _Server((host, 0), _Handler)
        self._server.owner = self
        self.host, self.port = host, self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def paths(self):
        with self.lock:
            return [path for path, _ in self.asked]

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
