"""An HTTP client that holds every answer against the server's own OpenAPI document."""
import gzip
import http.client
import json as json_module
import re
import zlib

import jsonschema


class Response:
    """status, headers (an email.message.Message: case-insensitive), body (content encoding undone)."""

    def __init__(self, method, path, status, headers, body):
        self.method = method
        self.path = path
        self.status = status
        self.headers = headers
        self.wire_body = body
        encoding = headers.get("Content-Encoding", "identity").lower()
        self.body = {"identity": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[encoding](body)

    @property
    def media_type(self):
        return (self.headers.get("Content-Type") or "").split(";")[0].strip().lower()

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        def refuse(name):
            raise ValueError(f"{name} is not JSON")
        return json_module.loads(self.body, parse_constant=refuse)

    def __repr__(self):
        return f"<{self.method} {self.path}: {self.status} {self.body[:300]!r}>"


class Contract:
    """The paths, statuses and schemas of one OpenAPI document."""

    def __init__(self, document):
        assert str(document.get("openapi", "")).startswith("3."), "not an OpenAPI 3 document"
        self.document = document
        self.resolver = jsonschema.RefResolver.from_schema(document)
        self.routes = [(re.compile(self._pattern(path, item)), path) for path, item in document["paths"].items()]
        # A fixed segment wins over a parameter, as in the server's router.
        self.routes.sort(key=lambda route: route[1].count("{"))
        for schema in document.get("components", {}).get("schemas", {}).values():
            jsonschema.Draft202012Validator.check_schema(schema)

    @staticmethod
    def _pattern(path, item):
        rest = any(parameter.get("x-slashes") for operation in item.values()
                   for parameter in operation.get("parameters", []))  # the last one takes the rest of the path
        pattern = "".join("[^/]+?" if part.startswith("{") else re.escape(part)
                          for part in re.split(r"(\{[^}]*\})", path))
        return (pattern.removesuffix("[^/]+?") + ".+" if rest else pattern) + r"\Z"

    def find(self, path):
        """The path template that serves this path, or None."""
        path = path.split("?")[0]
        return next((template for pattern, template in self.routes if pattern.match(path)), None)

    def check(self, answer):
        """AssertionError unless the document allows this answer to this request."""
        template = self.find(answer.path)
        if template is None:
            assert answer.status >= 400, f"{answer!r}: the route is not in /openapi.json"
            return
        operations = self.document["paths"][template]
        method = answer.method.lower()
        operation = operations.get("get" if method == "head" and "head" not in operations else method)
        if operation is None:
            assert answer.status in (405, 501, 503) or 400 <= answer.status < 500, \
                f"{answer!r}: {template} has no method {answer.method}"
            assert answer.status != 405 or answer.headers.get("Allow"), f"{answer!r}: 405 without Allow"
            return
        responses = operation["responses"]
        # "default" stands for the errors that any route can give; their body has its schema too.
        described = responses.get(str(answer.status)) or (responses.get("default") if answer.status >= 400 else None)
        assert described is not None, \
            f"{answer!r}: status {answer.status} is not among {sorted(responses)} of {answer.method} {template}"
        self._check_body(answer, template, self._resolve(described))

    def _check_body(self, answer, template, described):
        content = described.get("content", {})
        if method_without_body(answer) or (not content and not answer.body):
            return
        assert answer.media_type in content, \
            f"{answer!r}: content type {answer.media_type!r} is not among {sorted(content)} of {template}"
        schema = content[answer.media_type].get("schema")
        if schema is None or not (answer.media_type == "application/json" or answer.media_type.endswith("+json")):
            return
        validator = jsonschema.Draft202012Validator(schema, resolver=self.resolver)
        errors = sorted(validator.iter_errors(answer.json()), key=lambda error: list(map(str, error.path)))
        assert not errors, f"{answer!r} does not fit {template}: " + "; ".join(
            f"{'/'.join(map(str, error.absolute_path)) or '(whole)'}: {error.message[:200]}" for error in errors[:5])

    def _resolve(self, node):
        return self.resolver.resolve(node["$ref"])[1] if "$ref" in node else node


def method_without_body(answer):
    return answer.method == "HEAD" or answer.status in (204, 304)


class Client:
    """One keep-alive connection. Answers are kept in `answers`, the newest last."""

    def __init__(self, port, contract, timeout_s):
        self.contract = contract
        self.answers = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def request(self, method, path, body=None, headers=None, json=None, check=True):
        """json: an object to send; body: bytes. check=False leaves out the comparison with the document (for answers
        that a test expects to lie outside of it; say why there)."""
        headers = dict(headers or {})
        if json is not None:
            assert body is None
            body = json_module.dumps(json).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            self._connection.request(method, path, body=body, headers=headers)
            reply = self._connection.getresponse()
            answer = Response(method, path, reply.status, reply.headers, reply.read())
        except BaseException:
            self._connection.close()  # the next request begins on a fresh connection
            raise
        self.answers.append(answer)
        assert answer.headers.get("X-Request-Id") or self.contract is None, f"{answer!r}: no X-Request-Id"
        # A body of several encodings in one (JSON, then binary tensors) is checked by the test that asked for it.
        if check and self.contract is not None and "Inference-Header-Content-Length" not in answer.headers:
            self.contract.check(answer)
        return answer

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, json=None, **options):
        return self.request("POST", path, json=json, **options)

    def infer(self, model, inputs, version=None, **fields):
        """POST /v2/models/MODEL[/versions/VERSION]/infer with these OIP tensors."""
        versions = f"/versions/{version}" if version is not None else ""
        return self.post(f"/v2/models/{model}{versions}/infer", {"inputs": inputs, **fields})

    def close(self):
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tensor(name, shape, datatype, data):
    """An OIP tensor as it stands in a request."""
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": list(data)}
