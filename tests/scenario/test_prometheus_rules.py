"""deploy/prometheus/rules.yaml: promtool accepts it, each rule fires when it should and not before, and it is about metrics that
there are."""
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
INSTANCE = 'instance="here"'


@pytest.fixture(scope="module")
def promtool():
    path = shutil.which("promtool")
    if not path:  # of Debian's prometheus, which the lint tier installs
        assert not os.environ.get("CI"), "promtool is not installed"
        pytest.skip("promtool is not installed")
    return path


def rules():
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def test_promtool_accepts_the_rules(promtool):
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS: 5 rules found" in done.stdout, done.stdout + done.stderr


def test_the_rules_are_about_metrics_that_there_are():
    families = {m["name"]: m for m in tomllib.loads((ROOT / "spec" / "metrics.toml").read_text())["metric"]}
    for rule in rules():
        for name in re.findall(r"\b(?:http|slipway|process)_[a-z_]+", rule["expr"]):
            family = families.get(name.removesuffix("_bucket") if name.endswith("_bucket") else name)
            assert family, f"{rule['alert']}: {name}"
            assert name.endswith("_bucket") == (family["type"] == "histogram"), f"{rule['alert']}: {name}"
        for label in re.findall(r'([a-z]+)(?:!=|=~|=)"', rule["expr"]):
            assert label in families["http_requests_total"]["labels"], f"{rule['alert']}: {label}"


def latency(le, per_minute):
    return {"series": f'slipway_inference_latency_seconds_bucket{{{INSTANCE},model="m",version="1",le="{le}"}}',
            "values": f"0+{per_minute}x40"}


def requests(status, per_minute, model="m"):
    return {"series": f'http_requests_total{{{INSTANCE},method="POST",route="r",status="{status}",model="{model}",version="1"}}',
            "values": f"0+{per_minute}x40"}


# Series of one minute a step; the minute in which the alert fires first, or None; what it says.
CASES = {
    "latency above": ("HighLatency", 6, [latency("0.2", 90), latency("0.5", 100), latency("+Inf", 100)], "is 350, above 200"),
    "latency below": ("HighLatency", None, [latency("0.1", 90), latency("0.2", 100), latency("+Inf", 100)], None),
    "errors above": ("HighErrorRate", 3, [requests(200, 94), requests(500, 4), requests(503, 2)], "error_rate of model m on here is 0.06"),
    "errors of clients": ("HighErrorRate", None, [requests(200, 50), requests(404, 50)], None),
    "errors without a model": ("HighErrorRate", None, [requests(500, 100, model="")], None),
    "errors below": ("HighErrorRate", None, [requests(200, 96), requests(500, 4)], None),
    "processor above": ("HighCpu", 12, [{"series": f"process_cpu_seconds_total{{{INSTANCE}}}", "values": "0+108x40"},
                                        {"series": f"slipway_cpu_limit_cores{{{INSTANCE}}}", "values": "2x40"}], "is 90, above 80"),
    "processor below": ("HighCpu", None, [{"series": f"process_cpu_seconds_total{{{INSTANCE}}}", "values": "0+90x40"},
                                          {"series": f"slipway_cpu_limit_cores{{{INSTANCE}}}", "values": "2x40"}], None),
    "memory above": ("HighMemory", 10, [{"series": f"process_resident_memory_bytes{{{INSTANCE}}}", "values": "85x40"},
                                        {"series": f"slipway_memory_limit_bytes{{{INSTANCE}}}", "values": "100x40"}], "is 85, above 80"),
    "memory below": ("HighMemory", None, [{"series": f"process_resident_memory_bytes{{{INSTANCE}}}", "values": "79x40"},
                                          {"series": f"slipway_memory_limit_bytes{{{INSTANCE}}}", "values": "100x40"}], None),
    "flat": ("FlatPredictions", 10, [{"series": f'slipway_prediction_stddev{{{INSTANCE},model="flash"}}', "values": "0.04x40"}],
             "prediction_std of model flash on here is 0.04"),
    "not flat": ("FlatPredictions", None, [{"series": f'slipway_prediction_stddev{{{INSTANCE},model="flash"}}', "values": "0.06x40"}], None),
    "interrupted": ("FlatPredictions", 20, [{"series": f'slipway_prediction_stddev{{{INSTANCE},model="flash"}}',
                                             "values": "0.04x8 0.2 0.04x30"}], "is 0.04"),
}


def fires(promtool, folder, name, series, minute):
    """Does the alert fire then? promtool wants the whole alert, so it is asked whether there is none."""
    test = {"rule_files": [str(RULES)], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series,
                       "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": "Slipway" + name, "exp_alerts": []}]}]}
    path = folder / f"{minute}.yaml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == 0 or "exp:[" in text, text
    return text if done.returncode else ""


@pytest.mark.parametrize("case", CASES)
def test_each_rule_fires_in_time(promtool, tmp_path, case):
    name, first, series, says = CASES[case]
    if first is None:
        assert not any(fires(promtool, tmp_path, name, series, minute) for minute in (5, 15, 35))
        return
    assert not fires(promtool, tmp_path, name, series, first - 1)
    text = fires(promtool, tmp_path, name, series, first)
    assert says in text and "service=\"slipway\"" in text, text
