"""tools/fetch_onnxruntime.sh and tools/setup.sh with stand-ins for pip, npm, apt-get, dpkg-query and pkg-config: the order of
the sources, checksums, fallbacks, the second run. Nothing is downloaded or installed."""
import hashlib
import io
import os
import platform
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCH = ROOT / "tools" / "fetch_onnxruntime.sh"
SETUP = ROOT / "tools" / "setup.sh"
MACHINE = platform.machine()
CPU = {"x86_64": "x64", "aarch64": "arm64"}[MACHINE]

LIBRARY = """
#include <stdint.h>
static const void *get_api(uint32_t version) { return version <= %(api)d ? "" : 0; }
static const char *get_version_string(void) { return "%(version)s"; }
struct base { const void *(*get_api)(uint32_t); const char *(*get_version_string)(void); };
const struct base *OrtGetApiBase(void);
const struct base *OrtGetApiBase(void) {
    static const struct base base = {get_api, get_version_string};
    return &base;
}
"""


@pytest.fixture(scope="session")
def build_library(tmp_path_factory):
    """build_library("1.30.0", api=20) -> bytes of a shared library that says it is that version."""
    folder = tmp_path_factory.mktemp("libraries")
    made = {}

    def build(version, api=99):
        if (version, api) not in made:
            source, out = folder / "library.c", folder / f"lib{version}-{api}.so"
            source.write_text(LIBRARY % {"version": version, "api": api})
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, source], check=True, timeout=60)
            made[version, api] = out.read_bytes()
        return made[version, api]

    return build


class Machine:
    """A folder of commands that hides the machine's own, a target, and pins that fit what the registries deliver."""

    def __init__(self, folder, library):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.target = folder / "third_party"
        self.calls = folder / "calls"
        self.calls.touch()
        for tool in ("bash", "sh", "cat", "chmod", "cp", "cut", "dirname", "find", "flock", "grep", "head", "ln", "ls",
                     "mkdir", "mv", "rm", "sed", "sha256sum", "sort", "tail", "tar", "gzip", "timeout", "touch", "tr",
                     "uname", "true", "false"):
            self.link(tool)
        self.command("pkg-config", "exit 1")
        self.command("id", "echo 0")
        self.command("dpkg-query", "true")
        self.command("apt-get", "exit 100")
        self.wheel = folder / f"onnxruntime-9.9.9-cp311-cp311-manylinux_2_28_{MACHINE}.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("onnxruntime/capi/libonnxruntime.so.9.9.9", library)
            archive.writestr("onnxruntime/capi/libonnxruntime_providers_shared.so", b"not this one")
        self.archive = folder / "onnxruntime-node-9.9.9.tgz"
        with tarfile.open(self.archive, "w:gz") as archive:
            entry = tarfile.TarInfo(f"package/bin/napi-v6/linux/{CPU}/libonnxruntime.so.1")
            entry.size = len(library)
            archive.addfile(entry, io.BytesIO(library))
        self.pins = folder / "pins"
        self.pin()

    def pin(self, **other):
        values = {"version": "9.9.9", "minimum": "1.20", f"wheel-{MACHINE}": sha256(self.wheel),
                  "npm": sha256(self.archive), **other}
        self.pins.write_text("".join(f"{key} {value}\n" for key, value in values.items()))

    def link(self, tool):
        for folder in ("/usr/bin", "/bin"):
            if os.path.exists(f"{folder}/{tool}"):
                (self.bin / tool).symlink_to(f"{folder}/{tool}")
                return
        raise AssertionError(f"no {tool} on this machine")

    def command(self, name, body):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.calls}"\n{body}\n')
        path.chmod(0o755)

    def pip(self, works=True):
        find = 'while [ "$1" != --dest ]; do shift; done; '
        self.command("pip3", f'{find}cp "{self.wheel}" "$2"' if works else "echo 'no route to index' >&2; exit 1")

    def npm(self, works=True):
        self.command("npm", f'cp "{self.archive}" .' if works else "echo 'E503 npm is down' >&2; exit 1")

    def called(self, name=None):
        lines = self.calls.read_text().splitlines()
        return [line for line in lines if line.split()[0] == name] if name else lines

    def run(self, script=FETCH, *arguments, **env):
        if script == FETCH:
            arguments = ("--target", self.target, "--pins", self.pins, *arguments)
            if "system" not in env:
                arguments = (*arguments, "--no-system")
        env.pop("system", None)
        return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, env={"PATH": str(self.bin), "HOME": str(self.folder), **env})

    @property
    def library(self):
        return self.target / "onnxruntime" / "libonnxruntime.so"

    def stamp(self):
        lines = (self.target / "onnxruntime" / "STAMP").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def machine(tmp_path, build_library):
    return Machine(tmp_path, build_library("9.9.9"))


def test_wheel_comes_before_npm(machine):
    machine.pip()
    machine.npm()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.stamp() == {"version": "9.9.9", "source": "wheel", "sha256": sha256(machine.library)}
    assert not machine.called("npm")
    call = machine.called("pip3")[0]
    for part in ("download", "--no-deps", "--only-binary :all:", "onnxruntime==9.9.9",
                 f"--platform manylinux_2_28_{MACHINE}"):
        assert part in call
    assert not (machine.target / ".cache").exists()


@pytest.mark.parametrize("source", ["wheel", "npm"])
def test_second_run_downloads_nothing(machine, source):
    machine.pip(works=source == "wheel")
    machine.npm(works=source == "npm")
    assert machine.run().returncode == 0
    before = machine.called()
    done = machine.run()
    assert done.returncode == 0 and f"9.9.9 is in place (from {source})" in done.stdout
    assert machine.called() == before


def test_npm_when_pip_fails(machine):
    machine.pip(works=False)
    machine.npm()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "no route to index" in done.stdout
    assert machine.stamp()["source"] == "npm"
    assert machine.called("npm")[0].startswith("npm pack onnxruntime-node@9.9.9 ")


def test_missing_pip_is_installed_by_apt_then_npm_is_tried(machine):
    machine.npm()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert any("install --no-install-recommends python3-pip" in call for call in machine.called("apt-get"))
    assert machine.stamp()["source"] == "npm"


def test_missing_npm_is_installed_by_apt(machine):
    machine.pip(works=False)
    # apt-get brings npm.
    machine.command("apt-get", f'case "$*" in *install*npm*) printf "#!/bin/bash\\ncp {machine.archive} .\\n" >'
                               f'"{machine.bin}/npm"; chmod 755 "{machine.bin}/npm";; esac')
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.stamp()["source"] == "npm"


def test_checksum_mismatch_is_loud_and_the_next_source_is_tried(machine):
    machine.pip()
    machine.npm()
    machine.pin(**{f"wheel-{MACHINE}": "0" * 64})
    done = machine.run()
    assert done.returncode == 0
    assert "CHECKSUM MISMATCH" in done.stderr and "0" * 64 in done.stderr and sha256(machine.wheel) in done.stderr
    assert machine.stamp()["source"] == "npm"


def test_nothing_is_taken_when_every_checksum_is_wrong(machine):
    machine.pip()
    machine.npm()
    machine.pin(**{f"wheel-{MACHINE}": "0" * 64, "npm": "1" * 64})
    done = machine.run()
    assert done.returncode == 3
    assert done.stderr.count("CHECKSUM MISMATCH") == 2
    assert not machine.library.exists()


def test_when_nothing_answers_it_says_what_was_tried_and_what_to_do(machine):
    machine.pip(works=False)
    machine.npm(works=False)
    done = machine.run()
    assert done.returncode == 3
    for part in ("wheel: pip download failed: no route to index", "npm: npm pack failed: E503 npm is down",
                 "SLIPWAY_ORT_LIB", "make setup"):
        assert part in done.stderr, part
    assert not machine.library.exists() and not (machine.target / ".cache").exists()


def test_damaged_library_is_fetched_again(machine):
    machine.pip()
    assert machine.run().returncode == 0
    machine.library.write_bytes(machine.library.read_bytes()[:-1])
    done = machine.run()
    assert done.returncode == 0 and len(machine.called("pip3")) == 2
    assert machine.stamp()["sha256"] == sha256(machine.library)


def test_new_pin_is_fetched_over_the_old_library(machine, build_library):
    machine.pip()
    assert machine.run().returncode == 0
    with zipfile.ZipFile(machine.wheel, "w") as archive:
        archive.writestr("onnxruntime/capi/libonnxruntime.so.9.9.10", build_library("9.9.10"))
    machine.pin(version="9.9.10")
    assert machine.run().returncode == 0
    assert machine.stamp()["version"] == "9.9.10"


def test_library_of_another_version_than_pinned_is_refused(machine, build_library):
    machine.pip()
    with zipfile.ZipFile(machine.wheel, "w") as archive:
        archive.writestr("onnxruntime/capi/libonnxruntime.so.9.9.8", build_library("9.9.8"))
    machine.pin()
    machine.npm()
    done = machine.run()
    assert done.returncode == 0 and "the library says version 9.9.8" in done.stdout
    assert machine.stamp()["source"] == "npm"


def test_system_library_comes_first_and_is_linked(machine, build_library, tmp_path):
    machine.pip()
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "libonnxruntime.so").write_bytes(build_library("1.20.1", api=20))
    machine.command("pkg-config", f"echo {folder}")
    done = machine.run(system=True)
    assert done.returncode == 0, done.stderr
    assert os.readlink(machine.library) == str(folder / "libonnxruntime.so")
    assert machine.stamp()["version"] == "1.20.1"
    assert not machine.called("pip3")
    assert "1.20.1 is in place" in machine.run(system=True).stdout


@pytest.mark.parametrize("version,api,reason", [("1.19.2", 20, "at least 1.20 is needed"),
                                                ("1.9.0", 20, "at least 1.20 is needed"),
                                                ("1.21.0", 19, "has no C interface 20")])
def test_system_library_too_old_is_passed_over(machine, build_library, tmp_path, version, api, reason):
    machine.pip()
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "libonnxruntime.so").write_bytes(build_library(version, api))
    machine.command("pkg-config", f"echo {folder}")
    done = machine.run(system=True)
    assert done.returncode == 0 and reason in done.stdout
    assert machine.stamp()["version"] != version


def test_named_library_is_used_or_nothing(machine, build_library, tmp_path):
    machine.pip()
    own = tmp_path / "own.so"
    done = machine.run(SLIPWAY_ORT_LIB=str(own))
    assert done.returncode == 3 and "not there" in done.stdout and not machine.called("pip3")
    own.write_bytes(b"\x7fELF but not really")
    assert machine.run(SLIPWAY_ORT_LIB=str(own)).returncode == 3
    own.write_bytes(build_library("1.22.0"))
    assert machine.run(SLIPWAY_ORT_LIB=str(own)).returncode == 0
    assert machine.stamp()["source"] == str(own)


def test_setup_installs_only_what_is_missing(machine):
    machine.command("dpkg-query", 'shift 2; for p in "$@"; do [ "$p" = zlib1g-dev ] || echo "$p installed"; done')
    machine.command("apt-get", "true")
    done = machine.run(SETUP, "--install", "zlib1g-dev", "meson")
    assert done.returncode == 0, done.stderr
    assert "installing 1 of 2 packages: zlib1g-dev" in done.stdout
    update, install = machine.called("apt-get")
    assert update.endswith(" update") and install.endswith("install --no-install-recommends zlib1g-dev")


def test_setup_without_anything_missing_does_not_call_apt(machine):
    machine.command("dpkg-query", 'shift 2; for p in "$@"; do echo "$p installed"; done')
    done = machine.run(SETUP, "--install", "zlib1g-dev", "meson")
    assert done.returncode == 0 and "all 2 packages are installed" in done.stdout
    assert not machine.called("apt-get")


def test_setup_counts_a_removed_package_as_missing(machine):
    machine.command("dpkg-query", 'shift 2; for p in "$@"; do echo "$p config-files"; done')
    machine.command("apt-get", "true")
    assert "installing 1 of 1" in machine.run(SETUP, "--install", "meson").stdout


def test_setup_without_root_and_sudo_says_what_to_run(machine):
    machine.command("id", "echo 1000")
    done = machine.run(SETUP, "--install", "meson")
    assert done.returncode == 3
    assert "apt-get install --no-install-recommends meson" in done.stderr
    assert not machine.called("apt-get")


def test_setup_uses_sudo_without_a_question_when_there_is_no_terminal(machine):
    machine.command("id", "echo 1000")
    machine.command("sudo", "true")
    assert machine.run(SETUP, "--install", "meson").returncode == 0
    assert [call.split(" apt-get")[0] for call in machine.called("sudo")] == \
        ["sudo -n DEBIAN_FRONTEND=noninteractive"] * 2


def test_setup_failure_of_apt_is_reported(machine):
    done = machine.run(SETUP, "--install", "meson")
    assert done.returncode == 3 and "apt-get could not install: meson" in done.stderr


def test_setup_installs_postgresql_without_a_cluster(machine):
    config = machine.folder / "config"
    for tool in ("install", "rm", "apt-get"):
        machine.command(tool, f'[ "{tool}" != install ] || cat >"{config}"')
    done = machine.run(SETUP, "--install", "postgresql", "meson")
    assert done.returncode == 0, done.stderr
    assert config.read_text() == "create_main_cluster = false\n"
    file = "/etc/postgresql-common/createcluster.d/slipway-setup.conf"
    calls = [call for call in machine.called() if call.split()[0] in ("install", "rm", "apt-get")]
    assert [call.split()[0] for call in calls] == ["apt-get", "install", "apt-get", "rm"]
    assert calls[1].endswith(file) and calls[3] == f"rm -f {file}"


def test_setup_takes_the_cluster_setting_back_when_apt_fails(machine):
    machine.command("install", "cat >/dev/null")
    machine.command("rm", "true")
    assert machine.run(SETUP, "--install", "postgresql").returncode == 3
    assert machine.called("rm")


def test_setup_refuses_an_unknown_tier(machine):
    done = machine.run(SETUP, "nonsense")
    assert done.returncode == 2 and "no tier nonsense" in done.stderr


def test_pins_and_packages_are_well_formed():
    pins = dict(line.split() for line in (ROOT / "tools/onnxruntime.pins").read_text().splitlines()
                if line and not line.startswith("#"))
    assert {"version", "minimum", "wheel-x86_64", "wheel-aarch64", "npm"} == set(pins)
    assert all(len(pins[key]) == 64 for key in ("wheel-x86_64", "wheel-aarch64", "npm"))
    lines = [line.split() for line in (ROOT / "tools/packages.txt").read_text().splitlines()
             if line and not line.startswith("#")]
    assert all(len(line) == 2 and line[0] in ("build", "test", "lint", "bench") for line in lines)
    assert len(set(map(tuple, lines))) == len(lines)
