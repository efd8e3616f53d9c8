"""A run on a GPU: what it trains there is attacked where its rows lie."""

from pathlib import Path

import pytest
import torch

import fedsec
from fedsec.testing import canned

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_what_was_trained_on_a_gpu_is_attacked_on_the_cpu(tmp_path: Path) -> None:
    with canned.registered():
        result = fedsec.run(canned.reconstruction("embedding-algebra"), tmp_path, device="cuda")
    (cell,) = (one["cell"] for one in result.cells if one["cell"]["attack"] == "embedding-algebra")
    assert cell["status"] == "ok"
    assert cell["metrics"]["leakage/exact-match"]["value"] == 1.0
