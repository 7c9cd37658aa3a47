"""Interop tests: third-party clients against the real binary. They use the fixtures of tests/scenario/conftest.py; a test
whose client is not installed is skipped and says so."""
import importlib.util
import sys
from pathlib import Path

SCENARIO = Path(__file__).resolve().parent.parent / "scenario"
sys.path.insert(0, str(SCENARIO))
_spec = importlib.util.spec_from_file_location("scenario_conftest", SCENARIO / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
binary, test_models, digits, start_server = _module.binary, _module.test_models, _module.digits, _module.start_server
