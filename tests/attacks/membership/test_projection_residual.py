"""Projection residual: against a plain reference, and where the rank of the batch lets it work and where not."""

import numpy as np
import pytest
import torch

from fedsec.api import RoundView
from fedsec.attacks.membership.projection_residual import ProjectionResidual, matrix_of, residuals, row_basis
from fedsec.attacks.membership.updates import updates_of
from fedsec.attacks.membership.words_touched import WordsTouched
from fedsec.maths.activations import layer_input

from .rounds import RANK, WIDTH, auc, evidence, model, protocol, records, seen, sent, start

RECORDS = records(40)


def _round(
    size: int, *, kind: str = "lora", fresh: bool = False, steps: int = 1, update: str = "gradient", adam: bool = False
) -> RoundView:
    """One client that trains on the first records, `size` in each of `steps` batches."""
    training = protocol(update, "adamw" if adam else "sgd", steps, size)
    begin = start(kind, fresh=fresh)
    batches = [RECORDS[size * step : size * (step + 1)] for step in range(steps)]
    return seen([sent(batches, begin, training, kind)], begin, training, kind)


def _auc(view: RoundView, members: int, **settings: str) -> float:
    scores = ProjectionResidual(**settings).score(RECORDS, evidence([view]))  # type: ignore[arg-type]
    return auc(scores[:, 0], torch.arange(len(RECORDS)) < members)


@pytest.mark.parametrize(("layer", "number"), [("first", 0), ("last", 1)])
def test_residuals_are_those_of_least_squares_on_what_enters_the_layer(layer: str, number: int) -> None:
    view = _round(3, kind="full")
    found = residuals(view, updates_of(view), RECORDS, layer, "A", 1e-7)
    flat, _ = model("full")
    name = f"bert.encoder.layer.{number}.attention.self.query"
    assert view.rows is not None
    gradient = flat.layout.tensor(view.rows[0], f"{name}.weight").double().numpy()
    _, singular, right = np.linalg.svd(gradient)
    basis = right[: int((singular > 1e-7 * singular[0]).sum())].T  # [width, rank]
    for place in (0, 2, 7, 30):
        own = layer_input(flat.module, name, input_ids=torch.tensor([RECORDS[place].tokens]))[0].double().numpy()
        own = own[:1] if layer == "last" else own  # what is classified is the first state
        fitted, *_ = np.linalg.lstsq(basis, own.T, rcond=None)
        slow = np.linalg.norm(own.T - basis @ fitted) / np.linalg.norm(own)
        assert float(found[place, 0]) == pytest.approx(float(slow), abs=1e-6)


def test_under_full_tuning_the_last_layer_has_as_many_directions_as_the_batch_has_records() -> None:
    view = _round(6, kind="full")
    info = matrix_of(view.model.layout, "last", "A")
    basis = row_basis(view.model.layout.tensor(updates_of(view).rows[0], info.name), 1e-7)
    assert basis.shape == (WIDTH, 6)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6, dtype=torch.float64))
    assert _auc(view, 6) == 1.0


@pytest.mark.parametrize(("size", "low", "high"), [(RANK - 1, 1.0, 1.0), (RANK, 1.0, 1.0), (4 * RANK, 0.4, 0.99)])
def test_a_tells_batches_up_to_the_rank_and_less_of_larger_ones(size: int, low: float, high: float) -> None:
    assert low <= _auc(_round(size), size) <= high


def test_a_says_nothing_while_b_is_zero() -> None:
    view = _round(3, fresh=True)
    found = residuals(view, updates_of(view), RECORDS, "last", "A", 1e-7)
    assert torch.equal(found, torch.ones_like(found))
    assert not ProjectionResidual().score(RECORDS, evidence([view])).any()


@pytest.mark.parametrize("fresh", [True, False])
def test_b_tells_batches_below_the_rank_from_the_first_round_on_and_nothing_at_the_rank(fresh: bool) -> None:
    assert _auc(_round(RANK - 1, fresh=fresh), RANK - 1, factor="B") > 0.98
    assert _auc(_round(RANK, fresh=fresh), RANK, factor="B") == 0.5


def test_the_best_of_several_rounds_counts() -> None:
    blind, telling = _round(3, fresh=True), _round(3)
    scores = ProjectionResidual().score(RECORDS, evidence([telling, blind]))
    assert torch.equal(scores, ProjectionResidual().score(RECORDS, evidence([telling])))


def test_several_steps_of_adamw_leave_little_in_the_last_layer() -> None:
    assert 0.25 < _auc(_round(4, steps=3, update="delta", adam=True), 12) < 0.85


def test_a_factor_that_is_not_trained_is_replaced_by_the_other_and_without_either_it_says_so() -> None:
    layout, whole = model("lora")[0].layout, model("full")[0].layout
    assert matrix_of(layout, "last", "A").factor == "A"
    assert matrix_of(layout, "first", "B").layer == 0
    assert matrix_of(whole, "last", "B").factor is None
    bare = type(layout)(tuple(p for p in layout.parameters if p.factor != "A"), layout.offsets, layout.size)
    assert matrix_of(bare, "last", "A").factor == "B"
    empty = type(layout)((), (), 0)
    with pytest.raises(ValueError, match="tune with full or lora"):
        matrix_of(empty, "last", "A")


def test_words_touched_are_those_of_the_batch() -> None:
    view = _round(4, kind="full")
    scores = WordsTouched().score(RECORDS, evidence([view]))[:, 0]
    special = set(view.model.tokenizer.all_special_ids)
    words = {token for one in RECORDS[:4] for token in one.tokens} - special
    for one, found in zip(RECORDS, scores.tolist(), strict=True):
        own = set(one.tokens) - special
        assert found == pytest.approx(len(own & words) / len(own), abs=1e-6)
    assert auc(scores, torch.arange(40) < 4) == 1.0
    assert view.rows is not None
    noisy = seen([view.rows[0] + 1e-6], start("full"), view.training, "full")
    assert set(WordsTouched().score(RECORDS, evidence([noisy]))[:, 0].tolist()) == {1.0}
