#!/usr/bin/env python3
"""spec/routes.toml and spec/schemas.json -> the route table (C), the OpenAPI document (C), the reference (Markdown).

Usage: routes.py KIND ROUTES SCHEMAS ERRORS OUTPUT [VERSION]

KIND is one of
  header, source            of the API: prototypes of its handlers; sw_api_routes[]
  openapi, json             its OpenAPI document as C, sw_api_openapi_json, and as a file
  app-header, app-source    of applications: prototypes of their handlers; sw_app_routes[], with their OpenAPI paths
  doc                       docs/reference/http.md, of all
  check                     fails when OUTPUT is not what doc would write
"""
import json
import re
import sys
import tomllib

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
STATUS_TEXT = {
    200: "OK", 201: "Created", 204: "Done", 206: "A part of it", 304: "Not modified", 400: "Bad request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not found", 409: "Conflict", 413: "Body too large",
    415: "Unsupported media type", 416: "No such range", 422: "Unprocessable content", 429: "Too many requests",
    500: "Inference failed or internal error", 501: "Not implemented", 503: "Not ready or shutting down",
    504: "Deadline exceeded", 507: "Disk full",
}
NO_BODY = "none"  # instead of a schema
ERROR_SCHEMAS = {"native": "ErrorNative", "oip": "ErrorOip", "mlflow": "ErrorMlflow", "monitoring": "ErrorMonitoring"}


def fail(message):
    sys.exit(f"routes: {message}")


def load(routes_path, schemas_path, errors_path):
    with open(routes_path, "rb") as f:
        table = tomllib.load(f)
    with open(schemas_path, encoding="utf-8") as f:
        schemas = json.load(f)
    with open(errors_path, "rb") as f:
        errors = [row["name"] for row in tomllib.load(f)["error"]]
    parameters = {p["name"]: p for p in table["parameter"]}
    for route in table["route"]:
        check(route, schemas, parameters)
    seen = [(r["method"], mounted_path(r)) for r in table["route"]]
    if len(set(seen)) != len(seen):
        fail("a method and path appear twice")
    schemas = json.loads(json.dumps(schemas).replace('"#/', '"#/components/schemas/'))
    resolve_errors(schemas, errors)
    return Routes(table["route"]), parameters, schemas


def resolve_errors(node, errors):
    """"enum": "@errors" stands for the names of errors.toml."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "enum" and value == "@errors":
                node[key] = errors
            else:
                resolve_errors(value, errors)
    elif isinstance(node, list):
        for value in node:
            resolve_errors(value, errors)


def check(route, schemas, parameters):
    where = f"{route.get('method')} {route.get('path')}"
    for key in ("method", "path", "handler", "group", "summary", "responses"):
        if not route.get(key):
            fail(f"{where}: {key} is missing")
    unknown = set(route) - {"app", "apps", "method", "path", "handler", "group", "summary", "description", "query", "request",
                            "responses", "errors", "error_shape", "large_body", "stream"}
    if unknown:
        fail(f"{where}: unknown keys {sorted(unknown)}")
    if route["method"] not in METHODS:
        fail(f"{where}: unknown method")
    for name in path_parameters(route):
        if name not in parameters:
            fail(f"{where}: parameter {name} is not described")
    names = [s for r in route["responses"].values() for s in as_list(r)]
    if "app" in route and "apps" in route:
        fail(f"{where}: app and apps")
    if "request" in route:
        names += [route["request"][key] for key in ("schema", "form") if key in route["request"]]
    for name in names:
        if name not in schemas and name not in ("binary", NO_BODY) and not name.startswith("text:"):
            fail(f"{where}: unknown schema {name}")
    if route.get("error_shape", "native") not in ERROR_SCHEMAS:
        fail(f"{where}: unknown error_shape")


def mounted_path(route):
    return f"/{route['app']}{route['path']}" if "app" in route else route["path"]


class Routes:
    """The table as the server sees it: rows with their full path. Indices of metrics count through api, mounted, root."""

    def __init__(self, table):
        self.api = [r for r in table if "app" not in r]
        own = {(r["method"], r["path"]) for r in self.api}
        self.apps = sorted({r["app"] for r in table if "app" in r})
        of_apps = [{**r, "app": app, "own": r.get("app") == app} for app in self.apps for r in table
                   if r.get("app") == app or app in r.get("apps", [])]
        self.mounted = [{**r, "path": mounted_path(r)} for r in of_apps]
        self.root = [dict(r) for r in of_apps if (r["method"], r["path"]) not in own]
        self.rows = self.api + self.mounted + self.root
        for index, route in enumerate(self.rows):
            route["index"] = index

    def of(self, rows, app):
        return [r for r in rows if r["app"] == app]


def as_list(value):
    return value if isinstance(value, list) else [value]


def path_parameters(route):
    return re.findall(r"{(\w+)\*?}", route["path"])


def template(route):
    """The path as OpenAPI writes it, which knows no {rest*}."""
    return route["path"].replace("*}", "}")


def error_schema(route):
    return ERROR_SCHEMAS[route.get("error_shape", "native")]


# ---- the C route table

GENERATED = "/* Generated from spec/routes.toml; do not edit. */"


def prototypes(routes):
    lines = [f"sw_http_handler {handler};" for handler in sorted({r["handler"] for r in routes})]
    return lines + [f"sw_http_stream {stream};" for stream in sorted({r["stream"] for r in routes if "stream" in r})]


def header(routes, *_):
    lines = [GENERATED, "#ifndef SW_SPEC_ROUTES_H", "#define SW_SPEC_ROUTES_H", "", '#include "http/http.h"', ""]
    lines += prototypes(routes.api)
    lines += ["", "/* SW_ROUTE_INDEX_COUNT: with those of applications, wherever they are mounted. */",
              f"enum {{ SW_API_ROUTE_COUNT = {len(routes.api)}, SW_ROUTE_INDEX_COUNT = {len(routes.rows)} }};", "",
              "#endif", ""]
    return "\n".join(lines)


def table_rows(routes):
    for route in routes:
        shape = "SW_ERROR_" + route.get("error_shape", "native").upper()
        large = "true" if route.get("large_body") else "false"
        fields = [f"SW_HTTP_{route['method']}", f"\"{route['path']}\"", route["handler"], shape, str(route["index"]),
                  large, route.get("stream", "NULL"), "NULL"]
        yield "    {" + ", ".join(fields) + "},"


def source(routes, *_):
    lines = [GENERATED, '#include "api/api.h"', '#include "spec/routes.h"', "",
             "const struct sw_route sw_api_routes[] = {", *table_rows(routes.api)]
    lines += ["};", "", "const size_t sw_api_route_count = SW_API_ROUTE_COUNT;", ""]
    return "\n".join(lines)


def app_header(routes, *_):
    own = {r["handler"] for r in routes.api} | {r["stream"] for r in routes.api if "stream" in r}
    lines = [GENERATED, "#ifndef SW_SPEC_APP_ROUTES_H", "#define SW_SPEC_APP_ROUTES_H", "", '#include "http/http.h"', ""]
    lines += [line for line in prototypes(routes.mounted) if line.split()[1].rstrip(";") not in own]
    lines += ["", "/* Routes of an application; `mount` of each row is for whoever mounts them. */",
              "struct sw_app_routes {",
              "    const char *app;",
              "    const struct sw_route *mounted; /* at /APP/... */",
              "    size_t mounted_count;",
              "    const struct sw_route *root; /* at /..., with --app; NULL: none */",
              "    size_t root_count;",
              "    const char *mounted_paths; /* for the OpenAPI document: members of its paths, a comma before each */",
              "    const char *root_paths;",
              "};",
              f"enum {{ SW_APP_COUNT = {len(routes.apps)} }};",
              "extern const struct sw_app_routes sw_app_routes[SW_APP_COUNT];", "", "#endif", ""]
    return "\n".join(lines)


def app_source(routes, parameters, *_):
    lines = [GENERATED, '#include "spec/app_routes.h"', '#include "spec/routes.h"', ""]
    for app in routes.apps:
        for kind, rows in (("mounted", routes.mounted), ("root", routes.root)):
            own = routes.of(rows, app)
            if own:
                lines += [f"static const struct sw_route {app}_{kind}[] = {{", *table_rows(own), "};"]
            lines += [f"static const char {app}_{kind}_paths[] ="]
            lines += c_string("".join(f",{compact(p)}:{compact(item)}" for p, item in paths(own, parameters).items()))
            lines += [""]
    lines.append("const struct sw_app_routes sw_app_routes[SW_APP_COUNT] = {")
    for app in routes.apps:
        mounted, root = len(routes.of(routes.mounted, app)), len(routes.of(routes.root, app))
        lines.append(f'    {{"{app}", {app}_mounted, {mounted}, {f"{app}_root" if root else "NULL"}, {root}, '
                     f"{app}_mounted_paths, {app}_root_paths}},")
    lines += ["};", ""]
    return "\n".join(lines)


# ---- OpenAPI

def content(schema):
    if schema.startswith("text:"):
        return schema[5:], {"schema": {"type": "string"}}
    if schema == "binary":
        return "application/octet-stream", {"schema": {"type": "string", "contentEncoding": "binary"}}
    return "application/json", {"schema": {"$ref": f"#/components/schemas/{schema}"}}


def operation_id(route):
    words = re.findall(r"\w+", template(route).replace("{", "by_")) or ["root"]
    return "_".join([route["method"].lower()] + words)


def request_body(request):
    body = {"required": bool(request.get("required")), "content": {}}
    for media in request.get("media", ["application/json"]):
        name = {"application/json": request["schema"], "multipart/form-data": request.get("form")}.get(media)
        if name:
            body["content"][media] = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        else:
            body["content"][media] = {"schema": {"type": "string", "contentEncoding": "binary"}}
    return body


def operation(route, parameters):
    op = {"operationId": operation_id(route), "tags": [route["group"]], "summary": route["summary"]}
    if route.get("description"):
        op["description"] = route["description"]
    params = [{"name": n, "in": "path", "required": True, "description": parameters[n]["description"],
               "schema": parameters[n]["schema"]} for n in path_parameters(route)]
    if route["path"].endswith("*}"):
        params[-1]["x-slashes"] = True  # takes the rest of the path; OpenAPI has no word for it
    params += [{"name": q["name"], "in": "query", "description": q["description"], "schema": {"type": "string"}}
               for q in route.get("query", [])]
    if params:
        op["parameters"] = params
    if "request" in route:
        op["requestBody"] = request_body(route["request"])
    op["responses"] = {}
    for status, schemas in route["responses"].items():
        op["responses"][str(status)] = {"description": STATUS_TEXT[int(status)]}
        if schemas != NO_BODY:
            op["responses"][str(status)]["content"] = dict(content(s) for s in as_list(schemas))
    error = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error_schema(route)}"}}}
    for status in route.get("errors", []):
        op["responses"].setdefault(str(status), {"description": STATUS_TEXT[status], "content": error})
    op["responses"]["default"] = {"description": "Any other error", "content": error}
    return op


def paths(rows, parameters):
    found = {}
    for route in rows:
        found.setdefault(template(route), {})[route["method"].lower()] = operation(route, parameters)
    return found


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def c_string(text):
    """Lines of a C string, the last with a semicolon."""
    lines = []
    for i in range(0, max(len(text), 1), 100):
        piece = text[i:i + 100].replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
        lines.append(f'    "{piece}"')
    lines[-1] += ";"
    return lines


def document(routes, parameters, schemas, version):
    """That of the API; a server puts the paths of what else it has mounted behind the last one."""
    groups = list(dict.fromkeys(r["group"] for r in routes.rows))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Slipway", "version": version,
                 "description": "Serves ONNX models over HTTP.",
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": g} for g in groups],
        "paths": paths(routes.api, parameters),
        "components": {"schemas": schemas},
    }


def openapi(routes, parameters, schemas, version):
    full = document(routes, parameters, schemas, version)
    text, own = compact(full), '"paths":' + compact(full["paths"])
    lines = ["/* Generated from spec/routes.toml and spec/schemas.json; do not edit. */", '#include "api/api.h"', "",
             "const char sw_api_openapi_json[] =", *c_string(text), "",
             f"const size_t sw_api_openapi_paths_end = {text.index(own) + len(own) - 1};"]
    return "\n".join(lines) + "\n"


def as_json(routes, parameters, schemas, version):
    return json.dumps(document(routes, parameters, schemas, version), indent=2) + "\n"


# ---- reference

def doc_route(route, parameters, at_root):
    lines = [f"### `{route['method']} {route['path']}`", "", route["summary"] + "."]
    if route.get("description"):
        lines += ["", route["description"].strip()]
    if route.get("apps"):
        lines += ["", "Also at " + ", ".join(f"`/{app}{route['path']}`" for app in route["apps"]) +
                  ", there for the application's model."]
    if at_root:
        lines += ["", f"With `--app {route['app']}` also at `{route['path'].removeprefix('/' + route['app'])}`."]
    rows = [(n, "path", parameters[n]["description"]) for n in path_parameters(route)]
    rows += [(q["name"], "query", q["description"]) for q in route.get("query", [])]
    if rows:
        lines += ["", "| parameter | in | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {where} | {text} |" for name, where, text in rows]
    if "request" in route:
        request = route["request"]
        media = ", ".join(f"`{m}`" for m in request.get("media", ["application/json"]))
        need = "" if request.get("required") else ", may be left out"
        form = f", [`{request['form']}`](#{request['form'].lower()})" if "form" in request else ""
        lines += ["", f"Body: [`{request['schema']}`](#{request['schema'].lower()}){form}{need} ({media})."]
    lines += ["", "| status | body |", "| --- | --- |"]
    for status, schemas in route["responses"].items():
        bodies = []
        for s in as_list(schemas):
            known = not (s.startswith("text:") or s in ("binary", NO_BODY))
            other = "none" if s == NO_BODY else f"`{content(s)[0]}`"
            bodies.append(f"[`{s}`](#{s.lower()})" if known else other)
        lines.append(f"| {status} | {' or '.join(bodies)} |")
    name = error_schema(route)
    for status in route.get("errors", []):
        lines.append(f"| {status} {STATUS_TEXT[status].lower()} | [`{name}`](#{name.lower()}) |")
    return lines + [""]


def doc(routes, parameters, schemas, *_):
    lines = ["# HTTP interface", "",
             "Generated from `spec/routes.toml` and `spec/schemas.json`; the same as `/openapi.json`.", "",
             "Every answer carries `X-Request-Id`; answers of inference routes carry `X-Model-Version`. GET routes "
             "also answer HEAD. Errors that any route may answer: 400, 408, 413, 415, 429, 431, 500 and 503; what the "
             "codes mean stands in the error reference.", ""]
    rows = routes.api + [r for r in routes.mounted if r["own"]]
    at_root = {(r["method"], mounted_path(r)) for r in routes.root}
    for group in dict.fromkeys(r["group"] for r in rows):
        lines += [f"## {group}", ""]
        for route in (r for r in rows if r["group"] == group):
            lines += doc_route(route, parameters, (route["method"], route["path"]) in at_root)
    lines += ["## Schemas", ""]
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=2).replace("#/components/schemas/", "#/")
        lines += [f"### {name}", "", "```json", text, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def main():
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    kind, routes_path, schemas_path, errors_path, output = sys.argv[1:6]
    version = sys.argv[6] if len(sys.argv) > 6 else "0"
    routes, parameters, schemas = load(routes_path, schemas_path, errors_path)
    if kind == "check":
        with open(output, encoding="utf-8") as f:
            if f.read() != doc(routes, parameters, schemas):
                fail(f"{output} is stale: write it anew with `doc`")
        return
    make = {"header": header, "source": source, "openapi": openapi, "json": as_json, "app-header": app_header,
            "app-source": app_source, "doc": doc}.get(kind)
    if not make:
        sys.exit(__doc__)
    with open(output, "w", encoding="utf-8") as f:
        f.write(make(routes, parameters, schemas, version))


if __name__ == "__main__":
    main()
