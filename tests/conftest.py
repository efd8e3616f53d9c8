"""What all tests have in common."""

import gc
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .prepared import Worker

_EXAMPLE = str(Path(sys.prefix) / "example")
"""Where `make test` puts a third party's package, tests/plugin_example: for tests, not for whoever tries fedsec."""
if _EXAMPLE not in sys.path:
    sys.path.append(_EXAMPLE)


def pytest_collection_finish() -> None:
    """Spare the collector what lives as long as the tests: modules and test cases, a million objects of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture
def prepared_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process have workers that need not load torch and transformers first."""
    monkeypatch.setattr("fedsec.runner.workers.subprocess", SimpleNamespace(Popen=Worker, PIPE=subprocess.PIPE))
