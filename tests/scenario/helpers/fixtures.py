"""Fixtures of the registry's tests: import them by name. One server a test file; each test has a model name of its own."""
import re

import pytest

from .registry import Registry
from .server import Server


@pytest.fixture(scope="module")
def shared(binary, tmp_path_factory):
    """A server without models of its own; its data is in server.cwd / "slipway-data"."""
    with Server(binary, [], args=["--set", "registry.gc_grace=0s"], cwd=tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def registry(shared):
    """A Registry whose answers are compared with /openapi.json."""
    with shared.client() as client:
        yield Registry(shared.port, client=client)


@pytest.fixture
def name(request):
    """A model name that no other test has."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:100]
