"""A small client of the registry's REST interface, for scenario tests, fault tests and benchmarks.

    registry = Registry(port)
    version = registry.push("digits", {"model.onnx": data})          # -> the version document
    registry.promote("digits", version["version"])

Every method returns the parsed answer and raises Refused (status, code, message, details) for an error answer, so
that a test that expects one says so with pytest.raises.
"""
import hashlib
import http.client
import json
import time
import urllib.parse
from pathlib import Path


class Refused(Exception):
    """An error answer of the server."""

    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        try:
            error = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            error = {}
        self.code, self.details = error.get("code"), error.get("details")
        self.message = error.get("message", body[:300])
        super().__init__(f"{method} {path}: {status} {self.code}: {self.message}")


def quote(text):
    return urllib.parse.quote(str(text), safe="")


def read_files(folder):
    """{path: bytes} of a bundle folder."""
    folder = Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Registry:
    """One keep-alive connection. With `client` (Server.client()) every answer is compared with /openapi.json too."""

    def __init__(self, port, host="127.0.0.1", timeout_s=60.0, actor=None, client=None):
        self.connection = http.client.HTTPConnection(host, port, timeout=timeout_s) if client is None else None
        self.client = client
        self.actor = actor
        self.known = set()  # digests that the server has

    def close(self):
        (self.client or self.connection).close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, method, path, body=None, headers=None):
        """(status, headers, bytes); a connection that broke is not tried again. body: a dict to send as JSON, bytes, or
        an iterator of bytes, which is sent with chunked encoding."""
        headers = dict(headers or {})
        if self.actor:
            headers["X-Slipway-Actor"] = self.actor
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if self.client is not None:
            answer = self.client.request(method, path, body=body, headers=headers)
            return answer.status, answer.headers, answer.body
        try:
            self.connection.request(method, path, body=body, headers=headers)
            answer = self.connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except BaseException:
            self.connection.close()
            raise

    def call(self, method, path, body=None, headers=None):
        status, _, data = self.request(method, path, body, headers)
        if status >= 300:
            raise Refused(method, path, status, data)
        return json.loads(data) if data else None

    # ---- uploads and versions

    def upload(self, data):
        """The digest of a blob that the server now has."""
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.known:
            return digest
        made = self.call("POST", "/api/v1/uploads", {"size": len(data), "sha256": digest})
        if not made["complete"]:
            done = self.call("PUT", f"/api/v1/uploads/{made['id']}?offset={made['offset']}", data[made["offset"]:])
            assert done["complete"] and done["sha256"] == digest, done
        self.known.add(digest)
        return digest

    def push(self, model, files, **fields):
        listed = [{"path": path, "sha256": self.upload(data), "size": len(data)} for path, data in files.items()]
        return self.call("POST", f"/api/v1/models/{quote(model)}/versions", {"files": listed, **fields})

    def push_body(self, model, body, headers=None, **query):
        """A model file or an archive as the body itself."""
        path = f"/api/v1/models/{quote(model)}/push"
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return self.call("POST", path, body, {"Content-Type": "application/octet-stream", **(headers or {})})

    def pull(self, model, version, path, headers=None, method="GET"):
        """(status, headers, bytes) of one file."""
        return self.request(method, f"/api/v1/models/{quote(model)}/versions/{quote(version)}/files/"
                            + urllib.parse.quote(path), headers=headers)

    def create(self, model, **fields):
        return self.call("POST", "/api/v1/models", {"name": model, **fields})

    def patch(self, model, version=None, /, **changes):
        below = f"/versions/{quote(version)}" if version is not None else ""
        return self.call("PATCH", f"/api/v1/models/{quote(model)}{below}", changes)

    def delete(self, model, **query):
        return self.call("DELETE", f"/api/v1/models/{quote(model)}?" + urllib.parse.urlencode(query))

    def models(self, **query):
        return self.call("GET", "/api/v1/models?" + urllib.parse.urlencode(query))

    def model(self, model):
        return self.call("GET", f"/api/v1/models/{quote(model)}")

    def version(self, model, version):
        return self.call("GET", f"/api/v1/models/{quote(model)}/versions/{quote(version)}")

    def versions(self, model, **query):
        return self.call("GET", f"/api/v1/models/{quote(model)}/versions?" + urllib.parse.urlencode(query))

    def files(self, model, version):
        return self.call("GET", f"/api/v1/models/{quote(model)}/versions/{quote(version)}/files")["files"]

    def delete_version(self, model, version):
        return self.call("DELETE", f"/api/v1/models/{quote(model)}/versions/{quote(version)}")

    # ---- pointers

    def promote(self, model, version, **fields):
        return self.call("POST", f"/api/v1/models/{quote(model)}/promote", {"version": str(version), **fields})

    def rollback(self, model, **fields):
        return self.call("POST", f"/api/v1/models/{quote(model)}/rollback", fields)

    def alias(self, model, alias, version, **fields):
        return self.call("PUT", f"/api/v1/models/{quote(model)}/aliases/{quote(alias)}",
                         {"version": str(version), **fields})

    def aliases(self, model):
        return {row["alias"]: row["version"]
                for row in self.call("GET", f"/api/v1/models/{quote(model)}/aliases")["aliases"]}

    def delete_alias(self, model, alias):
        return self.call("DELETE", f"/api/v1/models/{quote(model)}/aliases/{quote(alias)}")

    def stages(self, model):
        """{version: stage}"""
        return {row["version"]: row["stage"] for row in self.versions(model, limit=1000)["versions"]}

    def stage(self, model, stage, version, **fields):
        return self.call("PUT", f"/api/v1/models/{quote(model)}/stages/{quote(stage)}",
                         {"version": str(version), **fields})

    def history(self, model):
        return self.call("GET", f"/api/v1/models/{quote(model)}/history")["history"]

    # ---- the rest

    def gc(self, days=30, dry_run=False):
        return self.call("POST", "/api/v1/gc", {"days": days, "dry_run": dry_run})

    def audit(self, **query):
        return self.call("GET", "/api/v1/audit?" + urllib.parse.urlencode(query))["rows"]

    def audit_verify(self):
        return self.call("GET", "/api/v1/audit/verify")

    def everything(self):
        """All that the registry shows: models, their versions, files, aliases and history, and the audit log."""
        models = self.models(limit=1000)["models"]
        below = {}
        for model in models:
            name = model["name"]
            versions = self.versions(name, limit=1000)["versions"]
            files = {v["version"]: self.files(name, v["version"]) for v in versions}
            below[name] = {"versions": versions, "files": files, "aliases": self.aliases(name),
                           "history": self.history(name)}
        return {"models": models, "below": below, "audit": self.audit(limit=1000)}


def disk(folder):
    """{path: size} of what the registry keeps in its data folder, without database and loaded versions."""
    folder = Path(folder)
    tops = [folder / "blobs", folder / "uploads", *folder.glob("serving/*/work")]
    return {str(p.relative_to(folder)): p.stat().st_size for top in tops for p in sorted(top.rglob("*")) if p.is_file()}


def eventually(condition, what="", limit_s=30.0):
    """What condition() gives once that is true. AssertionErrors of it count as not yet."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            result = condition()
            if result:
                return result
            last = f"{result!r}"
        except AssertionError as error:
            last = str(error)
        assert time.monotonic() < deadline, f"{what or 'condition'}: not within {limit_s} s; last: {last}"
        time.sleep(0.02)
