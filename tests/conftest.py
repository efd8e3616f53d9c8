"""What all tests have in common."""

import gc


def pytest_collection_finish() -> None:
    """Spare the collector what lives as long as the tests: modules and test cases, a million objects of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
