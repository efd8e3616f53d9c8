"""Shadows: trained as clients train, on their candidates alone, to the victim's stage; and what nobody holds."""

from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import TrainingSettings
from fedsec.cell.shadows import Shadows, peers
from fedsec.data.corpus import Corpus, Example
from fedsec.data.tokens import Tokenised, collate
from fedsec.maths.stacked import StackedSets
from fedsec.models import tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.local import sample_losses
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

ROWS = 24


def _shadows(optimizer: str = "adamw", rounds: int = 4) -> tuple[Shadows, FlatModel]:
    base = tiny_bert.load(labels=2, generator=torch.Generator().manual_seed(0), layers=1, width=32)
    options: dict[str, Any] = {"train_embeddings": True, "dropout": False, "generator": torch.Generator()}
    model = FlatModel(*prepare(base.module, kind="full", rank=4, **options))
    model.module.eval()
    draw = np.random.default_rng(0)
    ids = [draw.integers(10, 800, size=draw.integers(4, 9)).tolist() for _ in range(ROWS)]
    training = TrainingSettings(
        update="delta", optimizer=optimizer, learning_rate=5e-3, local_steps=6, batch_size=4, cohort=2, rounds=rounds
    )
    rows = Tokenised(ids, draw.integers(2, size=ROWS))
    return Shadows(training, model.snapshot(), rows, 0, False, SeedTree(3)), model


def _halves(count: int) -> torch.Tensor:
    return torch.rand(count, ROWS, generator=torch.Generator().manual_seed(1)).argsort(dim=1) < ROWS // 2


def _sure(shadows: Shadows, model: FlatModel, vector: torch.Tensor) -> torch.Tensor:
    model.load(vector)
    with torch.no_grad():
        return sample_losses(model, collate(shadows.rows, range(ROWS), 0)).neg().exp()


def test_they_know_what_they_were_trained_on_and_stop_at_the_victims_stage() -> None:
    shadows, model = _shadows()
    before, chosen = model.snapshot(), _halves(4)
    found = shadows.train(model, chosen, like=0.7)
    assert torch.equal(model.snapshot(), before)
    assert found.shape == (4, model.layout.size)
    sure = torch.stack([_sure(shadows, model, vector) for vector in found])
    assert float(sure[chosen].mean()) > float(sure[~chosen].mean()) + 0.05
    assert abs(float(sure[:2].mean()) - 0.7) < 0.1
    longer = torch.stack([_sure(shadows, model, vector) for vector in shadows.train(model, chosen, like=2.0)])
    assert float(longer[chosen].mean()) > float(sure[chosen].mean())


def test_the_same_is_not_trained_twice_and_what_was_given_may_be_changed() -> None:
    shadows, model = _shadows()
    first = shadows.train(model, _halves(2), like=0.6)
    kept = first.clone()
    first.zero_()
    shadows.start = torch.full_like(shadows.start, torch.nan)  # would show if it were trained again
    assert torch.equal(shadows.train(model, _halves(2), like=0.6), kept)


def test_a_victim_that_knows_nothing_has_shadows_that_are_the_base_model() -> None:
    shadows, model = _shadows()
    found = shadows.train(model, _halves(2), like=0.0)
    assert torch.equal(found, shadows.start.repeat(2, 1))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_layers_that_cannot_be_stacked_are_trained_one_shadow_after_the_other(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for covers in (True, False):
        shadows, model = _shadows(optimizer, rounds=1)
        make = StackedSets.__init__

        def made(self: Any, *given: Any, covers: bool = covers, make: Any = make) -> None:
            make(self, *given)
            self.covers = covers

        monkeypatch.setattr(StackedSets, "__init__", made)
        found.append(shadows.train(model, _halves(3), like=2.0))
        monkeypatch.undo()
    torch.testing.assert_close(*found, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize(
    "included", [torch.zeros(2, ROWS, dtype=torch.bool), torch.ones(2, ROWS), torch.ones(ROWS) > 0]
)
def test_what_is_included_has_to_fit(included: torch.Tensor) -> None:
    shadows, model = _shadows()
    with pytest.raises(ValueError, match=r"bool \[shadows, 24\]|at least one candidate"):
        shadows.train(model, included, like=0.5)


def test_peers_are_rows_that_nobody_holds_and_that_resemble_no_candidate() -> None:
    rows = tuple(Example(f"record {n} says {n * 7} and {n * 11} of {n * 13}", 0) for n in range(40))
    twin = Example(f"{rows[2].text}!", 0)
    corpus = Corpus((*rows, twin), (), ("a",))
    part = Corpus(rows[:20], (), ("a",))
    found = peers(corpus, part, rows[:10], rows[20:25], 50, SeedTree(0))
    assert sorted(found, key=lambda one: one.text) == sorted(rows[25:], key=lambda one: one.text)
    assert len(peers(corpus, part, rows[:10], (), 4, SeedTree(0))) == 4
