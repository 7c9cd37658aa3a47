#!/usr/bin/env python3
"""Checks the OpenAPI document, and every answer that the API's test programs get, against it.

Usage: test_responses.py OPENAPI.json PROGRAM...

The programs write each exchange to the file named by SW_API_RECORD. Every one must belong to a declared route and
status, or be an error of the default shape; at the end every declared route must have been seen answering with success.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:  # another interpreter than the system's, without the system's packages
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3"] + sys.argv)


def check_document(document):
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for ref in re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema)):
            assert ref.removeprefix("#/components/schemas/") in schemas, f"{name}: {ref}"
    ids = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            ids.append(operation["operationId"])
            assert operation["summary"] and operation["tags"], where
            assert any(status.startswith("2") for status in operation["responses"]), where
            assert "default" in operation["responses"], where
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), where
            for status, response in operation["responses"].items():
                assert response["description"] and (response.get("content") or status in ("204", "304")), where
    assert len(set(ids)) == len(ids), "an operationId appears twice"


class Routes:
    def __init__(self, document):
        self.document = document
        self.by_pattern = []
        for path, item in document["paths"].items():
            pattern = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
            if any(p.get("x-slashes") for operation in item.values() for p in operation.get("parameters", [])):
                pattern = re.sub(r"{\w+}$", ".+", pattern)
            pattern = re.sub(r"{\w+}", "[^/:]+", pattern)
            # Fixed segments win over parameters, as in the router.
            self.by_pattern.append((path.count("{"), re.compile(pattern + "$"), path, item))
        self.by_pattern.sort(key=lambda row: row[0])

    def find(self, method, path):
        method = "get" if method == "HEAD" else method.lower()
        for _, pattern, template, item in self.by_pattern:
            if pattern.match(path) and method in item:
                return template, item[method]
        return None, None

    def validate(self, schema, value):
        root = {"$ref": schema["$ref"], "components": self.document["components"]} if "$ref" in schema else schema
        jsonschema.Draft202012Validator(root).validate(value)


def check_exchange(routes, exchange):
    """The route's template when it succeeded."""
    template, operation = routes.find(exchange["method"], exchange["path"].split("?")[0])
    status, media = exchange["status"], exchange["type"].split(";")[0]
    if not operation:
        assert status in (404, 405), "not a declared route"
        return None
    response = operation["responses"].get(str(status), operation["responses"]["default"])
    assert status >= 400 or str(status) in operation["responses"], "status is not declared"
    if "content" not in response:
        assert not exchange["body"], "a body where none is declared"
    elif exchange["method"] != "HEAD":
        assert media in response["content"], f"media type {media} is not declared"
        if media == "application/json" and exchange["body"]:
            routes.validate(response["content"][media]["schema"], json.loads(exchange["body"]))
    return f"{exchange['method']} {template}" if 200 <= status < 300 else None


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        document = json.load(f)
    check_document(document)
    routes, seen, count, faults = Routes(document), set(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "exchanges")
        for program in sys.argv[2:]:
            subprocess.run([program], env={**os.environ, "SW_API_RECORD": path}, check=True, capture_output=True)
        with open(path, encoding="utf-8") as f:
            for line in f:
                exchange = json.loads(line)
                count += 1
                try:
                    seen.add(check_exchange(routes, exchange))
                except (AssertionError, ValueError, jsonschema.ValidationError) as e:
                    faults += 1
                    print(f"{exchange['method']} {exchange['path']} {exchange['status']}: {e}")
                    print(f"  {exchange['body'][:300]}")
    missing = [f"{method.upper()} {template}" for template, item in document["paths"].items() for method in item
               if f"{method.upper()} {template}" not in seen]
    for route in missing:
        print(f"{route}: no test saw it succeed")
    print(f"{count} answers checked, {faults} faults, {len(missing)} routes not seen")
    sys.exit(1 if faults or missing or count < 100 else 0)


if __name__ == "__main__":
    main()
