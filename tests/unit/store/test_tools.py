#!/usr/bin/env python3
"""tools/spec/migrations.py refuses files that do not fit together; tests/servers/postgres.py leaves nothing behind,
even when it is killed.

Usage: test_tools.py
"""
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GENERATOR = ROOT / "tools" / "spec" / "migrations.py"
SERVER = ROOT / "tests" / "servers" / "postgres.py"


def generate(files):
    """-> (exit code, standard error, generated C, depfile)"""
    with tempfile.TemporaryDirectory() as folder:
        source, output, depfile = Path(folder, "sql"), Path(folder, "out.c"), Path(folder, "out.d")
        source.mkdir()
        for name, text in files.items():
            (source / name).write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, "-B", GENERATOR, source, output, depfile], capture_output=True,
                              text=True, timeout=60)
        read = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (output, depfile)]
        return done.returncode, done.stderr, *read


def test_generator():
    text = 'CREATE TABLE a (x TEXT COLLATE "C");\n'
    code, error, c, depfile = generate({"0000_a.sql": text, "0007_b.sqlite.sql": "-- ??/ \\\n",
                                        "0007_b.postgresql.sql": ""})
    assert code == 0, error
    assert "sw_migration_count = 2" in c
    assert hashlib.sha256(text.encode()).hexdigest() in c
    assert hashlib.sha256(text.replace(' COLLATE "C"', "").encode()).hexdigest() in c
    assert '"CREATE TABLE a (x TEXT);\\n"' in c and '"-- \\?\\?/ \\\\\\n"' in c
    assert "0000_a.sql" in depfile and "0007_b.sqlite.sql" in depfile
    for files, reason in [
        ({"1_a.sql": ""}, "must be called"),
        ({"0001_a.mysql.sql": ""}, "must be called"),
        ({"0001_a.sql": "", "0001_b.sql": ""}, "is also that of a"),
        ({"0001_a.sql": "", "0001_a.sqlite.sql": ""}, "another file for sqlite"),
        ({"0001_a.sqlite.sql": ""}, "no text for postgresql"),
    ]:
        code, error, c, _ = generate(files)
        assert code != 0 and reason in error and not c, (files, error)


def start_server():
    """-> the process, the folder of the cluster, the process id of its server; all three are alive."""
    tell = 'printf "%s\\n" "$SLIPWAY_TEST_POSTGRES"; exec sleep 1000'
    process = subprocess.Popen([sys.executable, SERVER, "--", "sh", "-c", tell], stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    port = process.stdout.readline().rsplit(":", 1)[1].split("/")[0]
    for folder in Path(tempfile.gettempdir()).glob("slipway-postgres-*"):
        try:
            lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:  # of another test that is ending
            continue
        if lines[3:4] == [port]:
            return process, folder, int(lines[0])
    raise AssertionError("no cluster with this port")


def group_exists(group):
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False


def wait_gone(folder, pid, process):
    os.killpg(process.pid, signal.SIGKILL)  # the command of the test, which nobody asked to end
    wait = 'while [ -e "$1" ] || kill -0 "$2" 2>/dev/null; do sleep 0.05; done'
    done = subprocess.run(["timeout", "60", "sh", "-c", wait, "sh", folder, str(pid)], timeout=90)
    assert done.returncode == 0, f"{folder} or process {pid} is still there"


def test_server_is_gone_afterwards():
    for number in (signal.SIGTERM, signal.SIGKILL):
        process, folder, pid = start_server()
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()
        if number == signal.SIGKILL:
            wait_gone(folder, pid, process)
        else:
            assert process.returncode == 128 + number
            assert not group_exists(process.pid), "the command goes on"
        assert not folder.exists() and not Path(f"/proc/{pid}").exists()


def test_exit_codes():
    for command, code in ((["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)):
        done = subprocess.run([sys.executable, SERVER, "--", *command], timeout=120)
        assert done.returncode == code
    assert subprocess.run([sys.executable, SERVER], capture_output=True, timeout=60).returncode == 1


def main():
    test_generator()
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.postgres import programs
    if not programs():
        print("PostgreSQL is not installed: its part is skipped")
        sys.exit(77)
    test_exit_codes()
    test_server_is_gone_afterwards()
    print("passed")


if __name__ == "__main__":
    main()
