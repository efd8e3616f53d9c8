"""Single exchanged tokens behind the first layer against the model's own pass over each whole text."""

import pytest
import torch
from torch import nn

from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.exchange import Exchange
from fedsec.attacks.reconstruction.dager.judge import Judge
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space
from fedsec.maths.activations import layer_input

from ....bounds import off_largest, within
from ..support import Lab, tiny_lab
from .test_sums import QUERY, model_of

pytestmark = pytest.mark.numeric

PROBE = torch.arange(10, 18)
TEXTS = ["the chest is clear", "pain in the left knee"]


def second(first: str) -> str:
    return first.replace(".0.", ".1.")


def exchange_of(module: nn.Module, kind: str) -> Exchange | None:
    return Exchange.of(module, second(QUERY[kind]), PROBE)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert", "ModernBert"])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_an_exchanged_token_is_what_the_whole_text_makes_of_it(kind: str, place: int) -> None:
    module = model_of(kind)
    exchange = exchange_of(module, kind)
    assert exchange is not None
    texts = torch.tensor([[5, 9, 30, 31, 9, 7, 6], [5, 44, 30, 2, 80, 44, 6]])
    tokens = torch.tensor([[12, 30, 89, 12], [7, 44, 3, 50]])
    got = exchange.states(texts, place, tokens)
    for line in range(2):
        for column in range(4):
            changed = texts[line].clone()
            changed[place] = tokens[line, column]
            whole = layer_input(module, second(QUERY[kind]), input_ids=changed[None])[0, place]
            within("states of exchanged tokens", off_largest(got[line, column], whole), 1e-5)


def test_a_model_that_looks_beyond_its_mask_is_told() -> None:
    assert exchange_of(model_of("ConvBert"), "ConvBert") is None


def test_a_model_that_takes_no_positions_is_told() -> None:
    class Plain(nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            raise AssertionError("never run")

    assert Exchange.of(Plain(), "none", PROBE) is None


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


def test_the_true_token_is_among_the_likely_ones_at_a_tokens_cost(lab: Lab) -> None:
    view = lab.view([TEXTS])
    assert view.rows is not None
    space = layer_space(view, view.rows[0], 1)
    assert space is not None
    effort = Effort(128)
    judge = Judge(lab.flat.module, space, Settings(), effort)
    text = torch.tensor([lab.tokenizer(TEXTS)["input_ids"][1]])
    others = torch.arange(500, 560)
    for place in range(1, text.shape[1] - 1):
        tokens = torch.cat([others, text[0, place, None]])
        before = effort.spent
        likely = judge.likely(text, place, tokens, 3)
        assert likely.shape == (1, 3)
        assert int(likely[0, 0]) == int(text[0, place])
        assert effort.spent - before <= (len(tokens) + text.shape[1]) / 16
    few = torch.tensor([500, 501])
    assert torch.equal(judge.likely(text.repeat(2, 1), 1, few, 3), few.repeat(2, 1))
