"""What one client spends in a round of Flower's SecAgg+, by its own functions for the stages. Needs flwr, not fedsec.

Messages are handed over as the objects that the functions take and return: serialising them, and the state that Flower
keeps between stages, is charged to nobody.
"""

import json
import os
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from importlib.metadata import version

import numpy as np
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
    _unmask,
)
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import Key

FIRST = 0
"""The client whose time is taken."""


def main() -> None:
    """Write the CPU seconds of each of the client's stages."""
    parser = ArgumentParser()
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--shares", type=int, required=True, help="holders of a secret: a client and its neighbours")
    parser.add_argument("--threshold", type=int, required=True)
    parser.add_argument("--columns", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    terms: dict[str, Any] = {
        Key.SAMPLE_NUMBER: given.clients,
        Key.SHARE_NUMBER: given.shares,
        Key.THRESHOLD: given.threshold,
        Key.CLIPPING_RANGE: 8.0,
        Key.TARGET_RANGE: 1 << 22,
        Key.MOD_RANGE: 1 << 32,
        Key.MAX_WEIGHT: 1000.0,
    }
    states = [SecAggPlusState() for _ in range(given.shares)]  # the client and its neighbours
    for place, state in enumerate(states):
        state.nid = place
    seconds: dict[str, float] = {}
    keys = [timed(seconds, "setup", state, lambda state=state: _setup(state, terms)) for state in states]
    listed = {str(place): (one[Key.PUBLIC_KEY_1], one[Key.PUBLIC_KEY_2]) for place, one in enumerate(keys)}
    first, *others = states
    timed(seconds, "share", first, lambda: _share_keys(first, dict(listed)))
    sealed = [_for_first(state, listed) for state in others]
    arrived = {Key.SOURCE_LIST: [state.nid for state in others], Key.CIPHERTEXT_LIST: sealed}
    update = np.random.default_rng(0).normal(0, 1e-3, given.columns).astype(np.float32)
    parameters = ndarrays_to_parameters([update])
    timed(seconds, "mask", first, lambda: _collect_masked_vectors(first, arrived, 1, parameters))
    lists = {Key.ACTIVE_NODE_ID_LIST: list(range(given.shares)), Key.DEAD_NODE_ID_LIST: []}
    timed(seconds, "unmask", first, lambda: _unmask(first, lists))
    given.out.write_text(json.dumps({"seconds": seconds, "version": version("flwr")}), encoding="utf-8")


def _for_first(state: SecAggPlusState, listed: dict[str, Any]) -> bytes:
    """What a neighbour sends the first client, which keeps it as it is: shares of secrets, here for the two alone."""
    state.share_num = state.threshold = 2
    found = _share_keys(state, {str(place): listed[str(place)] for place in (FIRST, state.nid)})
    ciphertext: bytes = found[Key.CIPHERTEXT_LIST][found[Key.DESTINATION_LIST].index(FIRST)]
    return ciphertext


def timed(seconds: dict[str, float], stage: str, state: SecAggPlusState, work: Callable[[], Any]) -> Any:
    """What comes of a stage; its CPU seconds are noted where it is the first client's."""
    began = time.process_time()
    found = work()
    if state.nid == FIRST:
        seconds[stage] = time.process_time() - began
    return found


if __name__ == "__main__":
    main()
