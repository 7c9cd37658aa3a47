"""The peers: what each is, where it is installed, how it is started, what it would put into a container.

A peer is a folder here with a small server and the pinned packages it runs on; `setup.py` installs it below build/peers/.
Each serves all models of one folder at POST /v2/models/NAME/infer, as Slipway does.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import BUILD, ORT, SLIPWAY, Process, free_port  # noqa: E402

INSTALLED = BUILD / "peers"
PEERS = {
    "fastapi": "FastAPI, 2 workers of uvicorn",
    "litserve": "LitServe, 2 workers a model",
    "mlserver": "MLServer, 2 parallel workers",
    "fastify": "fastify, cluster of 2",
}
TITLES = {"slipway": "Slipway", **PEERS}


def kind(name):
    """"python" for what pip installs, "node" for what npm does."""
    return "node" if (HERE / name / "package.json").exists() else "python"


def state(name):
    """What setup.py wrote about this peer: {"digest": of what it was made from} or {"failed": why}; None before."""
    path = INSTALLED / name / "state.json"
    return json.loads(path.read_text()) if path.exists() else None


def why_missing(name):
    """None when the peer can be run, else the reason in words."""
    known = state(name)
    if known is None:
        return "not installed; run bench/peers/setup.py"
    return known.get("failed")


def command(name, models, port, folder):
    """(argv, environment on top of ours) of one server."""
    if name == "slipway":
        return [SLIPWAY, "serve", *sorted(models.glob("*.onnx")), "--port", port, "--data-dir", folder / "data"], {}
    here, installed = HERE / name, INSTALLED / name
    if name == "mlserver":
        return [installed / "venv" / "bin" / "mlserver", "start", here], {
            "MODELS": str(models), "PYTHONPATH": str(here), "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(free_port()), "MLSERVER_METRICS_PORT": str(free_port())}
    if kind(name) == "node":
        modules = installed / "node_modules"
        return [modules / "node" / "bin" / "node", "--max-semi-space-size=64", here / "server.js", models, port], {
            "NODE_ENV": "production", "NODE_PATH": str(modules)}
    return [installed / "venv" / "bin" / "python", here / "server.py", models, port], {}


class Server(Process):
    """One server and all processes it starts, which stay in a session of their own."""

    def __init__(self, name, models, folder):
        folder.mkdir(exist_ok=True)
        port = free_port()
        argv, env = command(name, models, port, folder)
        self.name, self.url = name, f"http://127.0.0.1:{port}"
        super().__init__(argv, folder / "server.log", dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **env), cwd=folder,
                         start_new_session=True)

    def pids(self):
        """Those of this session that still run."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()  # the state, then parent, group, session
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    def memory_bytes(self):
        """Proportional set size of all processes: what they share with one another counts once."""
        total = 0
        for pid in self.pids():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024
        return total

    def processor_s(self):
        """Processor time that all processes have taken so far."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])  # user and system
        return ticks / os.sysconf("SC_CLK_TCK")

    def fail(self, message):
        """Ends the benchmark, showing what the server said last."""
        self.log.flush()
        said = pathlib.Path(self.log.name).read_text().splitlines()[-15:]
        sys.exit(f"bench: {TITLES[self.name]}: {message}\n" + "\n".join(f"    {line}" for line in said))

    def check_running(self):
        if self.process.poll() is not None:
            self.fail(f"ended with {self.process.returncode}")

    def stop(self):
        super().stop()
        deadline = time.monotonic() + 5
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in self.pids():
            os.kill(pid, 9)


# --- what a container would need beside its base image ---

def files_bytes(paths):
    """Regular files; a file with several names counts once."""
    seen = {}
    for path in paths:
        if path.is_file() and not path.is_symlink():
            info = path.stat()
            seen[info.st_dev, info.st_ino] = info.st_size
    return sum(seen.values())


class Debian:
    """Installed packages of this machine, and which of them a container's base image has: those that are essential or
    required, apt, and all that these depend on."""

    def __init__(self):
        form = "${Package}\t${Provides}\t${Essential}\t${Priority}\t${Pre-Depends}, ${Depends}\n"
        lines = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
        self.depends, self.provider, base = {}, {}, ["apt"]
        for line in lines.splitlines():
            name, provides, essential, priority, depends = line.split("\t")
            self.depends[name] = depends
            for virtual in provides.split(","):
                self.provider.setdefault(virtual.split("(")[0].strip(), name)
            if essential == "yes" or priority == "required":
                base.append(name)
        self.base = self.closure(base)

    def installed(self, name):
        return name if name in self.depends else self.provider.get(name)

    def needed(self, field):
        """Packages that a list of dependencies means here: of alternatives, the first that is installed."""
        for part in field.split(","):
            names = [self.installed(re.split(r"[\s:(]", choice.strip())[0]) for choice in part.split("|")]
            yield next(filter(None, names), None)

    def closure(self, packages):
        found, left = set(), [self.installed(name) for name in packages]
        while left:
            name = left.pop()
            if name and name not in found:
                found.add(name)
                left += self.needed(self.depends[name])
        return found

    def beside_base(self, packages):
        return sorted(self.closure(packages) - self.base)

    @staticmethod
    def bytes_of(packages):
        """Without documentation, which base images leave out too."""
        listed = subprocess.run(["dpkg", "-L", *packages], capture_output=True, text=True, check=True).stdout
        return files_bytes(pathlib.Path(line) for line in set(listed.splitlines())
                           if line.startswith("/") and not re.match("/usr/share/(doc|man|lintian|locale)/", line))


def linked_packages(binary):
    """Debian packages of the shared libraries that a program links."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    packages = set()
    for library in re.findall(r"=> (/\S+)", listed):
        for path in (library, os.path.realpath(library)):  # dpkg knows one of both names of /lib and /usr/lib
            owner = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
            if owner.returncode == 0:
                packages.add(owner.stdout.split(":")[0])
                break
    return packages


def size(name, scratch):
    """{part: bytes} of what would go into a container beside the base image; None where that cannot be told."""
    if not shutil.which("dpkg-query"):
        return None
    debian = Debian()
    if name == "slipway":
        stripped = scratch / "stripped"
        subprocess.run(["strip", "-o", stripped, SLIPWAY], check=True)
        return {"program, stripped": stripped.stat().st_size, "ONNX Runtime": os.stat(ORT).st_size,
                "Debian packages": debian.bytes_of(debian.beside_base(linked_packages(SLIPWAY)))}
    if kind(name) == "node":
        modules = INSTALLED / name / "node_modules"
        node = modules / "node" / "bin" / "node"
        runtime = modules / "onnxruntime-node" / "bin"
        used = runtime / "napi-v6" / "linux" / {"x86_64": "x64", "aarch64": "arm64"}[os.uname().machine]
        others = {p for p in runtime.rglob("*") if used not in p.parents} | set((modules / "node").rglob("*"))
        parts = {"Node": files_bytes([node]), "npm packages": files_bytes(p for p in modules.rglob("*") if p not in others)}
        linked = debian.beside_base(linked_packages(node))
        return {**parts, "Debian packages": debian.bytes_of(linked)} if linked else parts
    packages = INSTALLED / name / "venv" / "lib"
    tools = re.compile(r"/site-packages/(pip|setuptools|pkg_resources|_distutils_hack)(-[^/]*)?/")
    return {"Python packages": files_bytes(p for p in packages.rglob("*") if not tools.search(str(p))),
            "Debian packages": debian.bytes_of(debian.beside_base(["python3"]))}
