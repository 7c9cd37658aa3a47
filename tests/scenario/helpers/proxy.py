"""A TCP proxy in front of a server: counts bytes, and breaks off where a test wants it.

    with Proxy(server.port) as proxy:
        proxy.stop_after("up", 5 << 20)      # bytes from the client; then nothing more passes, either way
        ... start a client on proxy.port ...
        proxy.wait_stopped()
        proxy.release()                      # those connections are cut; new ones pass again
        proxy.port_behind = other.port       # for new connections
        proxy.up, proxy.down                 # bytes that passed since it began, or since forget()
"""
import socket
import threading

PIECE = 65536
LIMIT_S = 60.0


class Proxy:
    def __init__(self, port_behind):
        self.port_behind = port_behind
        self.up = self.down = 0  # bytes from clients, from servers
        self._limits = {"up": None, "down": None}
        self._lock = threading.Lock()
        self._stopped, self._released = threading.Event(), threading.Event()
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._released.set()
        self._cut()
        self._thread.join(LIMIT_S)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def forget(self):
        with self._lock:
            self.up = self.down = 0

    def stop_after(self, direction, count):
        """Lets this many more bytes pass in that direction."""
        with self._lock:
            self._stopped.clear()
            self._released.clear()
            self._limits[direction] = count

    def wait_stopped(self):
        assert self._stopped.wait(LIMIT_S), f"the limit was not reached: {self.up} bytes up, {self.down} down"

    def release(self):
        with self._lock:
            self._limits = {"up": None, "down": None}
        self._cut()
        self._released.set()

    def _cut(self):
        with self._lock:
            sockets, self._open = self._open, set()
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its end has gone

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client):
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.port_behind), timeout=LIMIT_S)
            except OSError:
                return
            with server:
                server.settimeout(None)
                both = {client, server}
                with self._lock:
                    self._open |= both
                up = threading.Thread(target=self._pass, args=(client, server, "up"), daemon=True)
                up.start()
                self._pass(server, client, "down")
                up.join()
                with self._lock:
                    self._open -= both

    def _allowed(self, direction, count):
        """How many of these bytes may pass."""
        with self._lock:
            limit = self._limits[direction]
            allowed = count if limit is None else min(count, limit)
            if limit is not None:
                self._limits[direction] -= allowed
            setattr(self, direction, getattr(self, direction) + allowed)
        return allowed

    def _pass(self, source, target, direction):
        try:
            while data := source.recv(PIECE):
                allowed = self._allowed(direction, len(data))
                target.sendall(data[:allowed])
                if allowed < len(data):
                    self._stopped.set()
                    self._released.wait(LIMIT_S)
                    return  # release() has cut both
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # cut, or an end that went away
