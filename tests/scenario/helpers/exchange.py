"""Recorded exchanges of an HTTP client with a server: one JSON object a line.

    {"method", "path", "type": content type or null, "body": JSON or {"base64"} or null,
     "status", "answer": JSON or {"base64"} or null}

Times differ from run to run: in answers they are written as the text TIME.
"""
import base64
import json

TIMES = ("creation_timestamp", "last_updated_timestamp")


def without_times(value):
    if isinstance(value, dict):
        return {k: "TIME" if k in TIMES else without_times(v) for k, v in value.items()}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def encode(body, media_type):
    if not body:
        return None
    if (media_type or "").split(";")[0].strip() == "application/json":
        return without_times(json.loads(body))
    return {"base64": base64.b64encode(body).decode()}


def decode(value):
    """The bytes to send."""
    if value is None:
        return None
    if set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    return json.dumps(value).encode()


def line(method, path, media_type, body, status, answer_type, answer):
    return json.dumps({"method": method, "path": path, "type": media_type, "body": encode(body, media_type),
                       "status": status, "answer": encode(answer, answer_type)}, sort_keys=True)
