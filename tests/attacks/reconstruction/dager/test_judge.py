import pytest
import torch

from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.judge import Judge, _neighbours
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import LayerSpace, layer_space
from fedsec.maths.activations import layer_input

from ..support import Lab, tiny_lab

pytestmark = pytest.mark.numeric

TEXTS = ["the chest is clear", "pain in the left knee"]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


@pytest.fixture
def space(lab: Lab) -> LayerSpace:
    view = lab.view([TEXTS])
    assert view.rows is not None
    second = layer_space(view, view.rows[0], 1)
    assert second is not None
    return second


def test_scores_are_distances_to_the_span_over_those_to_the_found_part(lab: Lab, space: LayerSpace) -> None:
    module = lab.flat.module
    effort = Effort(128)
    judge = Judge(module, space, Settings(), effort)
    one, other = (tuple(ids) for ids in lab.tokenizer(TEXTS)["input_ids"])
    copy = (*one[:2], other[2], *one[3:])
    texts = torch.tensor([one, copy])
    before = judge.scores(texts)
    assert before.tolist() == pytest.approx([judge.residual(one), judge.residual(copy)])
    judge.settle(one)
    states = {ids: layer_input(module, space.query, input_ids=torch.tensor([ids]))[0].double() for ids in (one, copy)}
    held = torch.linalg.qr(states[one].T)[0]  # [width, tokens]
    off = (states[copy] - (states[copy] @ held) @ held.T).norm(dim=1)
    rest = space.space.residuals(states[copy]) * states[copy].norm(dim=1)
    assert float(judge.scores(texts)[1]) == pytest.approx(float((rest / off).mean()), rel=1e-2)
    assert float(judge.scores(texts)[1]) > 2 * float(before[1])
    assert judge.residual(copy) == pytest.approx(float(before[1]), rel=1e-3)
    assert effort.spent >= 4 * len(one) / 16  # two texts, before the find and after


def test_only_true_texts_are_verified(lab: Lab, space: LayerSpace) -> None:
    judge = Judge(lab.flat.module, space, Settings(), Effort(128))
    one, other = (tuple(ids) for ids in lab.tokenizer(TEXTS)["input_ids"])
    options = [torch.tensor(sorted({*one, *other})) for _ in one]
    assert judge.verified(one, options)
    assert not judge.verified((*one[:2], other[2], *one[3:]), options)
    assert not judge.verified((one[0], one[2], one[1], *one[3:]), options)
    judge.settle(one)
    assert not judge.explained([one])
    assert judge.verified(other, [torch.tensor([token]) for token in other])
    assert judge.explained([one, other]) or judge.rank > len(one) + len(other)


def test_neighbours_are_changes_of_one_place_and_exchanges_of_two() -> None:
    options = [torch.tensor([1]), torch.tensor([5, 6]), torch.tensor([6, 7]), torch.tensor([2])]
    assert sorted(_neighbours((1, 5, 6, 2), options)) == [(1, 5, 7, 2), (1, 6, 5, 2), (1, 6, 6, 2)]
    assert _neighbours((1, 5, 5, 2), options[:1] + [torch.tensor([5])] * 2 + options[3:]) == []
