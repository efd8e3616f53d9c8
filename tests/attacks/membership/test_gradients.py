"""Cosine, difference, FedMIA and loss series: against plain references, and on updates that hold no candidate."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedsec.api import Candidate, Evidence
from fedsec.attacks.membership import updates
from fedsec.attacks.membership.fedmia import FedMia, against_others
from fedsec.attacks.membership.gradient_cosine import GradientCosine, cosines
from fedsec.attacks.membership.gradient_difference import GradientDifference, differences
from fedsec.attacks.membership.local_losses import local_losses
from fedsec.attacks.membership.loss_series import LossSeries
from fedsec.attacks.membership.updates import over_rounds, per_client, updates_of
from fedsec.federation.release import logits_of

from ...bounds import within
from .rounds import auc, evidence, model, protocol, records, seen, sent, slow_gradient, start

RECORDS = records(36)
"""Of which three clients train on 4 each, and nobody on the last 24."""
BATCHES = [RECORDS[0:4], RECORDS[4:8], RECORDS[8:12]]


def _round(
    update: str = "gradient", optimizer: str = "sgd", kind: str = "lora", sums: bool = False
) -> updates.RoundView:
    training, begin = protocol(update, optimizer), start(kind)
    rows = [sent([batch], begin, training, kind) for batch in BATCHES]
    return seen(rows, begin, training, kind, sums=sums)


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("update", ["gradient", "delta"])
def test_cosines_and_differences_are_those_of_gradients_taken_one_by_one(update: str, kind: str) -> None:
    view, begin = _round(update, kind=kind), start(kind)
    found, apart = cosines(view, updates_of(view), RECORDS), differences(view, updates_of(view), RECORDS)
    assert view.rows is not None
    sign, scale = (1.0, 1.0) if update == "gradient" else (-1.0, 1 / 0.1)
    fast = {
        place: own.double()  # [parameters]
        for places, rows in updates.gradients(view, RECORDS)
        for place, own in zip(places, rows, strict=True)
    }
    for place in (0, 5, 20):
        slow, own = slow_gradient(RECORDS[place], begin, kind), fast[place]
        within("gradients of records", (own - slow).norm() / slow.norm(), 2e-6)
        for client, row in enumerate(sign * view.rows.double()):
            cosine = float(slow @ row / slow.norm() / row.norm())
            assert float(found[place, client]) == pytest.approx(cosine, abs=1e-6)
            shorter = (scale * row).norm() ** 2 - (scale * row - own).norm() ** 2
            assert float(apart[place, client]) == pytest.approx(float(shorter), rel=2e-6, abs=1e-6)


def test_gradients_do_not_depend_on_how_many_come_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    view = _round()
    whole = cosines(view, updates_of(view), RECORDS)
    monkeypatch.setattr(updates, "MOST_NUMBERS", 3 * view.model.layout.size)
    torch.testing.assert_close(cosines(view, updates_of(view), RECORDS), whole, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr("fedsec.maths.example_gradients.ExampleGradients.of", lambda *_: None)
    torch.testing.assert_close(cosines(view, updates_of(view), RECORDS), whole, rtol=1e-5, atol=1e-6)


def _own(scores: torch.Tensor, clients: int = 3) -> float:
    """AUC of each client's own four records against those that nobody holds."""
    members = torch.tensor([[place // 4 == client for client in range(clients)] for place in range(36)])
    counted = members | (torch.arange(36) >= 12)[:, None]
    return auc(scores[counted], members[counted])


@pytest.mark.parametrize("attack", [GradientCosine(), GradientCosine(over="mean")])
def test_it_tells_whose_records_an_update_was_made_from_and_nothing_where_it_was_not(attack: GradientCosine) -> None:
    found = attack.score(RECORDS, evidence([_round()]))
    assert found.shape == (36, 3)
    assert found.dtype == torch.float64
    assert _own(found) > 0.75
    training, begin = protocol(), start()
    others = records(60)[36:]
    elsewhere = [sent([others[4 * i : 4 * i + 4]], begin, training) for i in range(3)]
    assert 0.25 < _own(attack.score(RECORDS, evidence([seen(elsewhere, begin, training)]))) < 0.75


@pytest.mark.parametrize("attack", [GradientDifference(), FedMia()])
def test_of_updates_of_single_records_it_tells_whose_they_are(attack: GradientDifference) -> None:
    training, begin = protocol(), start()
    rows = [sent([[RECORDS[place]]], begin, training) for place in range(6)]
    found = attack.score(RECORDS, evidence([seen(rows, begin, training)]))
    members = torch.eye(36, 6, dtype=torch.bool)
    counted = members | (torch.arange(36) >= 12)[:, None]
    assert auc(found[counted], members[counted]) > 0.85
    others = [sent([[records(60)[40 + place]]], begin, training) for place in range(6)]
    found = attack.score(RECORDS, evidence([seen(others, begin, training)]))
    assert 0.2 < auc(found[counted], members[counted]) < 0.8


def test_a_difference_of_weights_points_the_other_way_and_adamws_still_tells() -> None:
    assert _own(GradientCosine().score(RECORDS, evidence([_round("delta")]))) > 0.75
    assert _own(GradientCosine().score(RECORDS, evidence([_round("delta", "adamw")]))) > 0.7


def test_of_a_sum_there_is_one_column_for_all_clients() -> None:
    found = GradientCosine().score(RECORDS, evidence([_round(sums=True)]))
    assert found.shape == (36, 1)
    assert auc(found[:, 0], torch.arange(36) < 12) > 0.6
    with pytest.raises(ValueError, match="clients_per_round"):
        FedMia().score(RECORDS, evidence([_round(sums=True)]))


def test_an_update_of_zeros_says_nothing() -> None:
    training, begin = protocol(), start()
    view = seen([torch.zeros_like(begin)] * 3, begin, training)
    assert not GradientCosine().score(RECORDS, evidence([view])).any()


def test_each_clients_scores_are_put_on_one_scale() -> None:
    draw = torch.randn(101, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = per_client(draw * torch.tensor([1.0, 50.0, 1e-3]) + torch.tensor([0.0, 7.0, -2.0]))
    torch.testing.assert_close(scaled, per_client(draw))
    for column in draw.T.numpy():
        low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
        slow = (column - middle) / ((high - low) / 1.349)
        np.testing.assert_allclose(per_client(torch.tensor(column)[:, None])[:, 0].numpy(), slow, atol=1e-6)
    assert not per_client(torch.full((5, 2), 3.0, dtype=torch.float64)).any()


@pytest.mark.parametrize(("how", "slow"), [("max", np.max), ("mean", np.mean)])
def test_rounds_are_combined_over_those_in_which_a_client_sent_something(how: str, slow: Callable[..., float]) -> None:
    training, begin = protocol(), start()
    row = torch.ones_like(begin)
    views = [seen([row] * 3, begin, training, number=1), seen([row] * 2, begin, training, number=2)]
    draw = torch.randn(2, 36, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = over_rounds(evidence(views), lambda view, own: draw[view.round - 1][:, : len(own.clients)], how, 36)
    for client in range(3):
        each = draw[: 1 if client == 2 else 2, :, client].numpy()
        np.testing.assert_allclose(found[:, client].numpy(), slow(each, axis=0), atol=1e-12)


def test_where_some_rounds_show_sums_alone_those_of_all_rounds_are_read() -> None:
    training, begin = protocol(), start()
    views = [seen([torch.ones_like(begin)] * 3, begin, training, number=number) for number in (1, 2)]
    given = replace(evidence(views), clients=())
    found = over_rounds(given, lambda _, own: torch.full((36, len(own.clients)), float(len(own.rows))), "max", 36)
    assert found.tolist() == [[1.0]] * 36


def test_fedmia_compares_with_the_others_as_a_loop_does() -> None:
    draw = torch.randn(8, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    draw[3, 2] = 40.0  # so far above the others that it does not count among them
    found = against_others(draw)
    for place in range(8):
        for client in range(14):
            others = np.delete(draw[place].numpy(), client)
            others = others[others <= others.mean() + 3 * others.std(ddof=1)]
            slow = (float(draw[place, client]) - others.mean()) / others.std(ddof=1)
            assert float(found[place, client]) == pytest.approx(slow, abs=1e-6, rel=1e-6)
    assert not against_others(torch.ones(4, 5, dtype=torch.float64)).any()


@pytest.mark.parametrize("update", ["gradient", "delta"])
def test_losses_under_a_clients_own_model_are_those_after_its_training(update: str) -> None:
    view, begin = _round(update), start()
    flat, tokenizer = model()

    def ask(vector: torch.Tensor, queries: tuple[tuple[int, ...], ...]) -> list[torch.Tensor]:
        return logits_of(flat, vector, queries, tokenizer.pad_token_id)

    known = evidence([view], ask)
    found = local_losses(view, updates_of(view), RECORDS, known)
    for client, batch in enumerate(BATCHES):
        after = begin + sent([batch], begin, protocol("delta"))
        (logits,) = ask(after, (RECORDS[1].tokens,))
        slow = torch.nn.functional.cross_entropy(logits[None].double(), torch.tensor([RECORDS[1].label]))
        assert float(found[1, client]) == pytest.approx(float(slow), abs=1e-6)
    flat.load(begin)
    shown = LossSeries().score(RECORDS, known)
    torch.testing.assert_close(shown, per_client(-found))
    flat.load(begin)
    assert FedMia(measure="loss").score(RECORDS, known).isfinite().all()


def _first(candidates: tuple[Candidate, ...], shown: Evidence) -> torch.Tensor:
    return GradientCosine().score(candidates, shown)


def test_scores_come_in_the_order_of_the_candidates() -> None:
    view = _round()
    torch.testing.assert_close(_first(RECORDS[::-1], evidence([view])).flip(0), _first(RECORDS, evidence([view])))
