#!/usr/bin/python3
"""Installs the peers that bench/peers/run.py measures, each in an environment of its own below build/peers/.

    bench/peers/setup.py [NAME...]         all: fastapi litserve mlserver fastify

Python peers go into a venv each, by pip and their requirements.txt; Node peers by npm and their package-lock.json. What
is installed already is left alone. A peer that cannot be installed is noted with the reason, and left out of the
benchmark. Exit code 0 when at least one peer is there, 1 when none is.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys

from peers import HERE, INSTALLED, PEERS, kind, state

from common import ROOT

PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
PINS = ("requirements.txt", "package.json", "package-lock.json")


class Failed(Exception):
    pass


def call(what, *argv, **options):
    """Runs a command; its output is shown, and its error kept, only when it fails."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          **options)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        sys.stderr.write(done.stdout)
        errors = [line for line in lines if "error" in line.lower()]
        raise Failed(f"{what}: {(errors or lines or ['no message'])[-1][:200]}")


def need_packages(test, *packages):
    """Installs Debian packages unless `test` says that what they give is there."""
    if not test():
        call("setup.sh", ROOT / "tools" / "setup.sh", "--install", *packages)
        if not test():
            raise Failed(f"{' and '.join(packages)} are missing")


def install_python(name, target):
    need_packages(lambda: subprocess.run([PYTHON, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL,
                                         check=False).returncode == 0, "python3-venv")
    call("venv", PYTHON, "-m", "venv", target / "venv")
    call("pip", target / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement",
         HERE / name / "requirements.txt")


def install_node(name, target):
    need_packages(lambda: shutil.which("npm"), "nodejs", "npm")
    for file in PINS[1:]:
        shutil.copy(HERE / name / file, target / file)
    # Without this onnxruntime-node would fetch its libraries for GPUs from elsewhere; those for the CPU are in the package.
    call("npm", "npm", "ci", "--no-audit", "--no-fund", cwd=target, env=dict(os.environ, ONNXRUNTIME_NODE_INSTALL="skip"))


def digest(name):
    """Of all that decides what gets installed."""
    made_of = [HERE / name / file for file in PINS if (HERE / name / file).exists()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_of)).hexdigest()


def install(name):
    target = INSTALLED / name
    wanted = digest(name)
    if (state(name) or {}).get("digest") == wanted:
        print(f"{name}: installed")
        return True
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    print(f"{name}: installing into {target}", flush=True)
    try:
        (install_node if kind(name) == "node" else install_python)(name, target)
        result = {"digest": wanted}
    except Failed as e:
        print(f"{name}: left out: {e}", file=sys.stderr)
        result = {"failed": str(e)}
    (target / "state.json").write_text(json.dumps(result) + "\n")
    return "failed" not in result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    unknown = set(args.names) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    if not any([install(name) for name in args.names or PEERS]):
        sys.exit("bench: no peer could be installed")


if __name__ == "__main__":
    main()
