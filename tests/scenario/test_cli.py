"""The command line of the real binary: output, exit codes, signals, configuration."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
import yaml

COMMANDS = ("serve", "validate", "bench", "load", "slo check", "evaluate", "calibrate", "doctor", "config show", "config check", "version", "help")


def log_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


# ---- help and usage


def test_no_command_is_wrong_usage_and_shows_the_commands(run_slipway):
    done = run_slipway()
    assert done.returncode == 2 and done.stdout == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_goes_to_standard_output(run_slipway, words):
    done = run_slipway(*words)
    assert done.returncode == 0 and done.stderr == "" and "usage: slipway COMMAND" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_examples(run_slipway, command):
    by_help, by_option = run_slipway("help", *command.split()), run_slipway(*command.split(), "--help")
    assert by_help.returncode == by_option.returncode == 0
    assert by_help.stdout == by_option.stdout
    assert by_help.stdout.startswith(f"usage: slipway {command}")
    assert "Examples:" in by_help.stdout and f"\n  slipway {command}" in by_help.stdout


@pytest.mark.parametrize("words, message", [
    (["srve"], "unknown command 'srve'; did you mean 'serve'?"),
    (["help", "srve"], "did you mean 'serve'?"),
    (["config"], "needs a second word"),
    (["config", "shwo"], "did you mean 'config show'?"),
    (["serve", "--prot", "1"], "unknown option --prot; did you mean --port?"),
    (["serve", "--port"], "--port needs a value"),
    (["bench", "x.onnx", "--iterations", "0"], "--iterations takes a whole number from 1"),
    (["validate"], "PATH is missing"),
    (["version", "1"], "one argument too many: '1'"),
    (["serve", "--port", "70000"], "server.port is '70000', but must be a whole number from 0 to 65535"),
    (["serve", "--set", "server.prot=1"], "unknown key server.prot; did you mean server.port?"),
    (["serve", "--set", "server.port"], "--set takes KEY=VALUE"),
])
def test_wrong_usage_exits_with_2_and_says_why(run_slipway, words, message):
    done = run_slipway(*words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stdout == ""


def test_version(run_slipway, binary):
    found = json.loads(run_slipway("version", "--json").stdout)
    assert set(found) == {"slipway", "onnxruntime", "libmicrohttpd", "compiler"}
    assert re.fullmatch(r"1\.\d+\.\d+", found["onnxruntime"])
    assert run_slipway("--version").stdout == f"slipway {found['slipway']}\n"
    text = run_slipway("version")
    assert text.returncode == 0 and all(value in text.stdout for value in found.values())


def test_serving_no_model_is_warned_of(start_server):
    start_server().wait_log("no model to serve; name one on the command line, or a folder with --models-dir")


def test_a_full_disk_is_told(binary):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(binary), "help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 3 and "cannot write to standard output" in done.stderr


# ---- configuration


def test_the_strongest_source_wins_and_is_named(run_slipway, tmp_path):
    file = tmp_path / "slipway.yaml"
    file.write_text("server: { port: 2, drain_timeout: 5s, idle_timeout: 9s }\nlog: { level: debug }\n")
    done = run_slipway("config", "show", "--json", "--config", file, "--port", "4",
                       env={"SLIPWAY_SERVER_PORT": "3", "SLIPWAY_SERVER_DRAIN_TIMEOUT": "7s"})
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["server"]["port"] == {"value": 4, "origin": "flag", "where": "--port", "reloadable": False}
    assert shown["server"]["drain_timeout"]["where"] == "SLIPWAY_SERVER_DRAIN_TIMEOUT"
    assert shown["server"]["idle_timeout"] == {"value": "9s", "origin": "file", "where": str(file), "reloadable": False}
    assert shown["server"]["host"]["origin"] == "default"
    assert shown["log"]["level"]["reloadable"] is True


def test_what_config_show_prints_is_a_configuration_file(run_slipway, tmp_path):
    shown = run_slipway("config", "show", "--set", "server.max_body_bytes=3MiB", "--models-dir", "a b: c")
    assert yaml.safe_load(shown.stdout)["models"]["directory"] == "a b: c"
    file = tmp_path / "all.yaml"
    file.write_text(shown.stdout)
    again = run_slipway("config", "show", "--config", file)
    assert yaml.safe_load(again.stdout) == yaml.safe_load(shown.stdout)
    checked = run_slipway("config", "check", file)
    assert checked.returncode == 0 and checked.stdout.startswith(f"{file}: ok")


def test_config_check_lists_every_fault(run_slipway, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("server: { port: x, prot: 1, header_timeout: 10 }\nlgo: { level: info }\n")
    done = run_slipway("config", "check", file)
    assert done.returncode == 1
    assert f"{file}: server.port is 'x', but must be a whole number from 0 to 65535" in done.stdout
    assert "unknown key server.prot; did you mean server.port?" in done.stdout
    assert "such as 10s or 500ms" in done.stdout
    assert "unknown section lgo; did you mean log?" in done.stdout
    assert done.stdout.endswith(f"{file}: 4 errors\n")
    report = json.loads(run_slipway("config", "check", file, "--json").stdout)
    assert report["ok"] is False and len(report["errors"]) == 4


def test_a_file_that_is_not_there_is_told_apart(run_slipway, tmp_path):
    done = run_slipway("config", "check", tmp_path / "none.yaml")
    assert done.returncode == 3 and "none.yaml" in done.stderr
    assert run_slipway("serve", "--config", tmp_path / "none.yaml").returncode == 3


def test_an_unknown_variable_is_a_warning(run_slipway):
    done = run_slipway("config", "show", env={"SLIPWAY_SERVR_PORT": "1"})
    assert done.returncode == 0
    assert "warning: " in done.stderr and "did you mean SLIPWAY_SERVER_PORT?" in done.stderr


def test_the_file_may_come_from_the_environment(run_slipway, tmp_path):
    file = tmp_path / "slipway.yaml"
    file.write_text("server: { port: 1234 }\n")
    done = run_slipway("config", "show", "--json", env={"SLIPWAY_CONFIG": str(file)})
    assert json.loads(done.stdout)["server"]["port"]["value"] == 1234


# ---- validate


def test_validate_tells_every_check(run_slipway, digits):
    done = run_slipway("validate", digits)
    assert done.returncode == 0, done.stdout
    for check in ("bundle", "file", "load", "steps", "warm-up", "golden"):
        assert re.search(rf"^  ok +{check} ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^  input +image +BYTES", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"{digits}: passed\n")


def test_validate_json(run_slipway, digits):
    report = json.loads(run_slipway("validate", digits, "--json").stdout)
    assert report["ok"] is True and report["model"] == "digits"
    assert [check["name"] for check in report["checks"]] == ["bundle", "file", "load", "steps", "warm-up", "golden"]
    assert {"name": "image", "datatype": "BYTES", "shape": [-1], "optional": False} in report["inputs"]


@pytest.mark.parametrize("model, check, part", [
    ("opset_99.onnx", "load", "opset 99"),
    ("unknown_operator.onnx", "load", "Frobnicate"),
    ("truncated.onnx", "load", "truncated.onnx"),
    ("empty.onnx", "load", "empty"),
])
def test_validate_fails_at_the_right_check(run_slipway, test_models, model, check, part):
    done = run_slipway("validate", test_models / model)
    assert done.returncode == 1
    assert re.search(rf"^  FAIL +{check} .*{part}", done.stdout, re.MULTILINE), done.stdout
    report = json.loads(run_slipway("validate", test_models / model, "--json").stdout)
    last = report["checks"][-1]
    assert report["ok"] is False and last["name"] == check and last["result"] == "failed"


def test_validate_finds_a_wrong_golden_answer(run_slipway, digits, tmp_path):
    bundle = tmp_path / "digits"
    shutil.copytree(digits, bundle)
    lines = (bundle / "golden.jsonl").read_text().splitlines()
    line = json.loads(lines[1])
    next(output for output in line["outputs"] if output["name"] == "label")["data"] = ["eleven"]
    lines[1] = json.dumps(line)
    (bundle / "golden.jsonl").write_text("\n".join(lines) + "\n")
    done = run_slipway("validate", bundle)
    assert done.returncode == 1
    assert re.search(r"FAIL +golden .*line 2.*label.*eleven", done.stdout), done.stdout
    assert run_slipway("validate", bundle, "--no-golden").returncode == 0


def test_validate_checks_every_version_of_a_folder(run_slipway, test_models, tmp_path):
    for version, model in ((1, "add_sub.onnx"), (2, "add_sub.onnx"), (10, "truncated.onnx")):
        folder = tmp_path / "m" / str(version)
        folder.mkdir(parents=True)
        shutil.copy(test_models / model, folder / "model.onnx")
    report = json.loads(run_slipway("validate", tmp_path / "m", "--json").stdout)
    assert report["ok"] is False
    versions = [(version["path"].rsplit("/", 1)[1], version["ok"]) for version in report["versions"]]
    assert versions == [("1", True), ("2", True), ("10", False)]


def test_validate_of_nothing_could_not_be_carried_out(run_slipway, tmp_path):
    done = run_slipway("validate", tmp_path / "none.onnx")
    assert done.returncode == 3 and "none.onnx" in done.stdout


def test_without_onnx_runtime_it_says_how_to_get_it(run_slipway, test_models):
    for command in ("validate", "bench", "serve"):
        done = run_slipway(command, test_models / "add_sub.onnx", "--set", "engine.library=/nonexistent/lib.so")
        assert done.returncode == 3, done.stderr
        assert "/nonexistent/lib.so" in done.stderr


# ---- bench


def test_bench_measures_and_writes_json(run_slipway, test_models, tmp_path):
    output = tmp_path / "bench.json"
    done = run_slipway("bench", test_models / "mlp_45.onnx", "--iterations", "200", "--batch", "8", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "200 runs of 8 rows" in done.stdout and "median" in done.stdout and "rows/s" in done.stdout
    result = json.loads(output.read_text())
    assert result["model"] == "mlp_45" and result["iterations"] == 200 and result["batch"] == 8
    assert result["errors"] == 0 and result["input"] == "zeros"
    latency = result["latency_ms"]
    order = [latency[name] for name in ("min", "p50", "p90", "p95", "p99", "max")]
    assert order == sorted(order) and order[0] > 0
    assert latency["min"] <= latency["mean"] <= latency["max"]
    assert result["throughput_per_s"] == pytest.approx(1000 / latency["mean"], rel=1e-6)
    assert result["rows_per_s"] == pytest.approx(8 * result["throughput_per_s"], rel=1e-6)


def test_bench_takes_the_first_golden_request_when_zeros_are_refused(run_slipway, digits):
    result = json.loads(run_slipway("bench", digits, "-n", "5", "--json").stdout)
    assert result["input"] == "golden" and result["iterations"] == 5


def test_bench_takes_a_request_or_an_image_from_a_file(run_slipway, digits, test_models, tmp_path):
    image = next((digits / "samples").glob("*.png"))
    done = run_slipway("bench", digits, "-n", "3", "--input", image, "--json")
    assert json.loads(done.stdout)["input"] == str(image)
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"id": "x", "inputs": [
        {"name": "features", "shape": [2, 45], "datatype": "FP32", "data": [0.5] * 90}]}))
    done = run_slipway("bench", test_models / "mlp_45.onnx", "-n", "3", "--input", body, "--json")
    assert json.loads(done.stdout)["batch"] == 2


@pytest.mark.parametrize("words, code, part", [
    (["scalar.onnx", "--batch", "4"], 2, "no input of model scalar has a free dimension 0"),
    (["mlp_45.onnx", "--input", "/nonexistent"], 3, "/nonexistent"),
    (["mlp_45.onnx", "--batch", "2", "--input", "x"], 2, "--batch does not go with --input"),
    (["mlp_45.onnx", "-n", "2", "--output", "/nonexistent/x.json"], 3, "/nonexistent/x.json"),
    (["log_nan.onnx"], 1, "--input"),
    (["truncated.onnx"], 1, "truncated.onnx"),
])
def test_bench_says_what_is_wrong(run_slipway, test_models, words, code, part):
    done = run_slipway("bench", test_models / words[0], *words[1:])
    assert done.returncode == code, done.stderr
    assert part in done.stderr


def test_a_result_of_bench_can_be_checked(run_slipway, test_models, tmp_path):
    for words in (["-n", "50"], ["--sweep", "--time", "3ms", "--max-batch", "2"]):
        assert run_slipway("bench", test_models / "mlp_45.onnx", *words, "--output", tmp_path / "b.json").returncode == 0
        done = run_slipway("slo", "check", tmp_path / "b.json", "--max-latency-ms", "60000", "--min-throughput", "0.001")
        assert done.returncode == 0 and done.stdout.count("ok ") == 2, done.stdout + done.stderr
        done = run_slipway("slo", "check", tmp_path / "b.json", "--max-latency-ms", "0")
        assert done.returncode == 1


def test_bench_sweep_measures_each_combination_and_recommends_one(run_slipway, test_models):
    done = run_slipway("bench", test_models / "mlp_45.onnx", "--sweep", "--time", "3ms", "--max-batch", "5", "--json",
                       "--set", "engine.threads=2")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["batchable"] is True
    assert [(c["threads"], c["batch"]) for c in result["cells"]] == [(t, b) for t in (1, 2) for b in (1, 2, 4)]
    for cell in result["cells"]:
        assert cell["runs"] >= 9 * cell["callers"] and cell["rows_per_s"] > 0  # three rounds of three or more
    advice = result["recommendation"]
    chosen = next(c for c in result["cells"] if (c["threads"], c["batch"]) == (advice["threads"], advice["max_batch"]))
    assert chosen["rows_per_s"] >= 0.95 * max(c["rows_per_s"] for c in result["cells"]) and advice["limit_met"]
    text = run_slipway("bench", test_models / "mlp_45.onnx", "--sweep", "--time", "3ms", "--max-batch", "1").stdout
    assert "batching: { max_batch: 1 }" in text and "instances: { threads: " in text


def test_bench_sweep_repeats_the_rows_of_a_request(run_slipway, digits):
    result = json.loads(run_slipway("bench", digits, "--sweep", "--time", "3ms", "--max-batch", "4", "--json").stdout)
    assert result["input"] == "golden" and {c["batch"] for c in result["cells"]} == {1, 2, 4}
    assert not any("failed" in c for c in result["cells"])


def test_bench_sweep_without_batching(run_slipway, test_models):
    done = run_slipway("bench", test_models / "scalar.onnx", "--sweep", "--time", "3ms")
    assert done.returncode == 0 and "cannot be batched" in done.stdout and "max_batch" not in done.stdout


def test_bench_sweep_fails_when_nothing_keeps_the_limit(run_slipway, test_models):
    done = run_slipway("bench", test_models / "mlp_45.onnx", "--sweep", "--time", "3ms", "--max-batch", "1",
                       "--max-latency-ms", "0", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["recommendation"]["limit_met"] is False


@pytest.mark.parametrize("words, part", [
    (["--sweep", "--batch", "4"], "--batch does not go with --sweep"),
    (["--sweep", "-n", "4"], "--iterations does not go with --sweep"),
    (["--sweep", "--threads", "4"], "--threads does not go with --sweep"),
    (["--sweep", "--time", "5"], "--time is '5'"),
    (["--sweep", "--max-latency-ms", "x"], "--max-latency-ms is 'x'"),
    (["--time", "5s"], "--time needs --sweep"),
    (["--max-batch", "5"], "--max-batch needs --sweep"),
])
def test_wrong_usage_of_bench_sweep(run_slipway, test_models, words, part):
    done = run_slipway("bench", test_models / "mlp_45.onnx", *words)
    assert done.returncode == 2 and part in done.stderr


# ---- doctor


def test_doctor_finds_a_good_machine_good(run_slipway, tmp_path):
    report = json.loads(run_slipway("doctor", "--json", "--port", "0").stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert report["ok"] is True, report
    assert verdicts["onnxruntime"] == verdicts["telemetry"] == verdicts["port"] == verdicts["data"] == "ok"
    assert not (tmp_path / "slipway-data").exists()


def test_doctor_says_how_to_mend(run_slipway, tmp_path):
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_slipway("doctor", "--json", "--port", taken.getsockname()[1], "--data-dir", tmp_path / "file",
                           "--models-dir", tmp_path / "none", "--set", "engine.library=/nonexistent")
    report = json.loads(done.stdout)
    failed = {check["name"]: check for check in report["checks"] if check["verdict"] == "fail"}
    assert done.returncode == 1 and report["ok"] is False
    assert {"onnxruntime", "port", "data", "models"} <= set(failed)
    assert all(check["mend"] for check in failed.values())


# ---- serve


def test_beyond_loopback_needs_insecure(run_slipway, start_server, digits):
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        done = run_slipway("serve", digits, "--port", "0", "--host", host)
        assert done.returncode == 2 and "--insecure" in done.stderr
    server = start_server(digits, args=["--host", "0.0.0.0", "--insecure"])
    with server.client() as client:
        assert client.get("/health/live").status == 200


def test_a_named_model_that_does_not_load_ends_the_server(run_slipway, test_models, digits):
    done = run_slipway("serve", digits, test_models / "opset_99.onnx", "--port", "0")
    assert done.returncode == 1
    line = next(line for line in log_lines(done.stderr) if line["level"] == "error")
    assert line["msg"] == "cannot serve" and "opset_99" in line["reason"] and "opset 99" in line["reason"]
    quiet = run_slipway("serve", test_models / "opset_99.onnx", "--port", "0", "--set", "log.level=off")
    assert quiet.returncode == 1 and "opset 99" in quiet.stderr  # never silent


def test_a_model_that_is_not_there_ends_the_server(run_slipway, tmp_path):
    done = run_slipway("serve", tmp_path / "none.onnx", "--port", "0")
    assert done.returncode == 3 and "none.onnx" in done.stderr


def test_a_broken_model_of_the_folder_does_not_hold_up_the_others(start_server, run_slipway, test_models, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for model in ("add_sub.onnx", "truncated.onnx"):
        shutil.copy(test_models / model, folder)
    server = start_server(args=["--models-dir", folder])
    server.wait_log("model unavailable", model="truncated")
    ready = server.wait_log("ready")
    assert ready["models"] == 1 and ready["unavailable"] == 1
    with server.client() as client:
        assert client.get("/v2/models/add_sub/ready").status == 200
        rows = client.post("/v2/repository/index", {}).json()
    broken = next(row for row in rows if row["name"] == "truncated")
    assert broken["state"] == "UNAVAILABLE" and "truncated.onnx" in broken["reason"]
    strict = run_slipway("serve", "--models-dir", folder, "--port", "0", "--set", "models.fail_on_load_error=true")
    assert strict.returncode == 1


def test_a_taken_port_is_told(run_slipway, digits):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_slipway("serve", digits, "--port", taken.getsockname()[1])
    assert done.returncode == 3 and "in use" in done.stderr


def test_two_models_of_one_name_are_refused(run_slipway, test_models):
    done = run_slipway("serve", test_models / "add_sub.onnx", test_models / "add_sub.onnx", "--port", "0")
    assert done.returncode == 1 and "add_sub" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(start_server, digits, number):
    server = start_server(digits)
    server.signal(number)
    assert server.wait_exit() == 0
    assert server.wait_log("draining")["signal"] == signal.Signals(number).name


def test_readiness_fails_first_and_a_second_signal_ends_at_once(start_server, digits):
    server = start_server(digits, args=["--set", "server.drain_delay=60s"])
    with server.client() as client:
        server.signal(signal.SIGTERM)
        server.wait_log("draining")
        answer = client.get("/health/ready")
        while answer.status == 200:  # the teardown thread is about to say so
            answer = client.get("/health/ready")
        assert answer.status == 503
        assert client.get("/v2/models/digits").status == 200  # still served during the delay
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 1
    server.wait_log("ended at once by a second signal")


def test_sighup_applies_what_may_change_and_names_the_rest(start_server, digits, tmp_path):
    file = tmp_path / "slipway.yaml"
    file.write_text("log: { level: info }\n")
    server = start_server(digits, args=["--config", file])
    file.write_text("log: { level: debug, access: all }\nserver: { max_connections: 7 }\n")
    server.signal(signal.SIGHUP)
    server.wait_log("configuration reloaded")
    assert {line["key"] for line in server.logs_of("configuration changed")} == {"log.level", "log.access"}
    refused = server.logs_of("configuration changed, but takes a restart")
    assert [line["key"] for line in refused] == ["server.max_connections"]
    with server.client() as client:
        client.get("/v2/models/digits")
    server.wait_log("request")
    file.write_text("log: { level: loud }\n")
    server.signal(signal.SIGHUP)
    kept = server.wait_log("configuration not reloaded, the old one stays")
    assert "log.level is 'loud'" in kept["reason"]


def test_clients_that_leave_while_a_request_runs_do_not_hold_up_the_end(start_server, test_models):
    """A connection that dies while its request is on a worker must not be waited for."""
    server = start_server(test_models / "cnn_224.onnx", args=["--set", "scheduler.inline_max_us=0"])
    with server.client() as client:
        name = client.get("/v2/models/cnn_224").json()["inputs"][0]["name"]
    body = json.dumps({"inputs": [{"name": name, "shape": [1, 3, 224, 224], "datatype": "FP32",
                                   "data": [0.5] * (3 * 224 * 224)}]}).encode()
    head = (f"POST /v2/models/cnn_224/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    for _ in range(4):
        connections = [server.connect() for _ in range(16)]
        for connection in connections:
            connection.sendall(head + body)
        for connection in connections:
            connection.close()
    server.stop()


# ---- what comes from the same table


def test_completion_and_manual_cover_every_option(binary, run_slipway):
    spec = binary.parent / "spec"
    if not (spec / "slipway.1").exists():
        pytest.skip("only in a build folder")
    manual = (spec / "slipway.1").read_text().replace("\\-", "-")
    completion = (spec / "slipway.bash").read_text()
    for command in COMMANDS:
        options = run_slipway("help", *command.split()).stdout.split("Options:")[1].split("Examples:")[0]
        for option in re.findall(r"(--[a-z-]+) ", options):
            assert option in manual and option in completion, option
    script = (f"source {spec / 'slipway.bash'}; COMP_WORDS=(slipway config show --po); COMP_CWORD=3; _slipway; "
              "echo ${COMPREPLY[@]}")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout == "--port\n", done.stderr
