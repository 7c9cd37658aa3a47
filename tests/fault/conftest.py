"""Fault tests: the real binary while things go wrong around it. They use the fixtures of tests/scenario/conftest.py."""
import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "scenario"), str(TESTS)]
_spec = importlib.util.spec_from_file_location("scenario_conftest", TESTS / "scenario" / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
binary, test_models, digits, start_server = _module.binary, _module.test_models, _module.digits, _module.start_server
run_slipway = _module.run_slipway
