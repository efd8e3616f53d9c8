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


def layer_between(module: nn.Module, kind: str) -> Exchange | None:
    return Exchange.of(module, QUERY[kind], second(QUERY[kind]), PROBE)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_an_exchanged_token_is_what_the_whole_text_makes_of_it(kind: str, place: int) -> None:
    module = model_of(kind)
    exchange = layer_between(module, kind)
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


@pytest.mark.parametrize("kind", ["DistilBert", "ModernBert", "ConvBert"])
def test_layers_of_another_kind_are_told(kind: str) -> None:
    assert layer_between(model_of(kind), kind) is None


def test_a_layer_that_does_more_than_its_parts_is_told() -> None:
    module = model_of("Bert")
    module.bert.encoder.layer[0].register_forward_hook(lambda _, __, states: states * 1.01)
    assert layer_between(module, "Bert") is None


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


def test_the_true_token_is_among_the_likely_ones_at_a_tokens_cost(lab: Lab) -> None:
    view = lab.view([TEXTS])
    assert view.rows is not None
    first, space = (layer_space(view, view.rows[0], layer) for layer in (0, 1))
    assert first is not None
    assert space is not None
    judge = Judge(lab.flat.module, first.query, space, Settings(), Effort(128))
    text = torch.tensor([lab.tokenizer(TEXTS)["input_ids"][1]])
    others = torch.arange(500, 560)
    for place in range(1, text.shape[1] - 1):
        tokens = torch.cat([others, text[0, place, None]])
        before = judge.evaluated
        likely = judge.likely(text, place, tokens, 3)
        assert likely.shape == (1, 3)
        assert int(likely[0, 0]) == int(text[0, place])
        assert judge.evaluated - before <= len(tokens) / text.shape[1] + 1
    few = torch.tensor([500, 501])
    assert torch.equal(judge.likely(text.repeat(2, 1), 1, few, 3), few.repeat(2, 1))
