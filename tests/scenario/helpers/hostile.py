"""A server that does what a test says with each connection, for clients that must bear it.

    with Hostile(lambda connection: connection.answer(b"HTTP/1.1 200 OK\\r\\n\\r\\n")) as server:
        ... start a client on server.url ...
        server.requests          # heads that came, as bytes

The function runs on a thread of its own for each connection; the connection is cut when it returns. With tls=(cert, key)
it is encrypted. Leaving the block cuts every connection.
"""
import socket
import ssl
import threading

LIMIT_S = 60.0


class Connection:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock

    def read(self):
        """One request: head and body; None when the client is gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(1)
            if not piece:
                return None
            data += piece
        length = next((int(line.split(b":")[1]) for line in data.lower().split(b"\r\n")
                       if line.startswith(b"content-length:")), 0)
        body = b""
        while len(body) < length:
            piece = self.sock.recv(min(65536, length - len(body)))
            if not piece:
                return None
            body += piece
        with self.server.lock:
            self.server.requests.append(data)
        return body

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, data):
        """Reads one request, sends these bytes; False when the client is gone."""
        if self.read() is None:
            return False
        self.send(data)
        return True

    def forever(self, data):
        """The same to every request."""
        while self.answer(data):
            pass

    def wait_gone(self):
        """Says nothing until the client goes."""
        while self.sock.recv(65536):
            pass


class Hostile:
    def __init__(self, serve, tls=None):
        self.serve, self.requests, self.lock = serve, [], threading.Lock()
        self.connections = 0
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        self._listener.close()
        with self.lock:
            waiting = list(self._open)
        for sock, thread in waiting:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            thread.join(LIMIT_S)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            with self.lock:
                self._open.add((sock, thread))
            thread.start()

    def _run(self, sock):
        try:
            used = self._context.wrap_socket(sock, server_side=True) if self._context else sock
            self.serve(Connection(self, used))
            used.close()
        except (OSError, ssl.SSLError):
            pass
        finally:
            sock.close()
