"""What all tests have in common."""

import gc
import sys
from pathlib import Path

_EXAMPLE = str(Path(sys.prefix) / "example")
"""Where `make test` puts a third party's package, tests/plugin_example: for tests, not for whoever tries fedsec."""
if _EXAMPLE not in sys.path:
    sys.path.append(_EXAMPLE)


def pytest_collection_finish() -> None:
    """Spare the collector what lives as long as the tests: modules and test cases, a million objects of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
