"""What attention gave single tokens, against the model's own pass."""

from dataclasses import replace

import pytest
import torch

from fedsec.attacks.reconstruction.dager.block import block_between, noted
from fedsec.attacks.reconstruction.dager.candidates import Scanner
from fedsec.attacks.reconstruction.dager.contexts import told
from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.groups import Groups
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space
from fedsec.maths.activations import layer_input

from ..support import Lab, tiny_lab
from .test_sums import QUERY, model_of

TEXTS = ["the chest is clear", "no fever and no cough today", "pain in the left knee"]


@pytest.fixture(scope="module")
def lab() -> Lab:
    lab = tiny_lab(width=128)
    for info in lab.flat.layout.parameters:
        if info.layer is not None and len(info.shape) == 2:  # a random model's attention hardly counts as it is
            lab.flat.layout.tensor(lab.flat.values, info.name).mul_(4.0)
    return lab


@pytest.mark.parametrize(("kind", "parts"), [("Bert", 5), ("Roberta", 5), ("ModernBert", 0)])
def test_a_block_is_found_by_what_flows_through_it(kind: str, parts: int) -> None:
    block = block_between(model_of(kind), QUERY[kind], QUERY[kind].replace(".0.", ".1."))
    assert (block is not None) == (parts > 0)
    if block is not None:
        assert block.project.endswith("attention.output.dense")
        assert block.shrink.endswith("0.output.dense")


def test_true_tokens_pass_with_what_attention_gave_them_and_name_their_texts(lab: Lab) -> None:
    view = lab.view([TEXTS])
    assert view.rows is not None
    first, second = (layer_space(view, view.rows[0], layer) for layer in (0, 1))
    assert first is not None
    assert second is not None
    candidates = Scanner(view, first, Settings()).scan(6)
    found = told(view, view.rows[0], (first, second), candidates, Settings(), Effort(128))
    assert found is not None
    rows = lab.tokenizer(TEXTS)["input_ids"]
    true = {(token, place) for ids in rows for place, token in enumerate(ids)}
    ids, places = found.ids[found.passed], found.places[found.passed]
    passed = set(zip(ids.tolist(), places.tolist(), strict=True))
    assert passed <= true
    assert len(passed) >= 0.8 * len(true)  # rounding hides the last tokens of a random model
    block = block_between(lab.flat.module, first.query, second.query)
    assert block is not None
    errors = []
    given = [layer_input(lab.flat.module, block.project, input_ids=torch.tensor([ids]))[0] for ids in rows]
    for token, place, attended in zip(ids, places, found.attended, strict=True):
        own = [one[place] for one, row in zip(given, rows, strict=True) if row[place : place + 1] == [int(token)]]
        errors.append(min(float((one - attended).norm() / one.norm()) for one in own))
    assert sorted(errors)[len(errors) // 2] < 1e-2
    texts = list(Groups(view, found, candidates, 1e-2, Effort(128)).texts())
    assert set(texts) <= set(map(tuple, rows))
    assert texts
    lost = torch.tensor([place not in (2, 4) for place in places.tolist()])  # as if some had not passed
    fewer = replace(found, passed=found.passed[lost], attended=found.attended[lost])
    assert list(Groups(view, fewer, candidates, 1e-2, Effort(128)).texts()) == texts
    assert list(Groups(view, found, candidates, 1e-2, Effort(128, 0)).texts()) == []


def test_noting_leaves_no_hooks(lab: Lab) -> None:
    with noted(lab.flat.module) as calls:
        lab.flat.module(input_ids=torch.tensor([[1, 5, 2]]))
    assert calls
    assert not any(part._forward_hooks for part in lab.flat.module.modules())
