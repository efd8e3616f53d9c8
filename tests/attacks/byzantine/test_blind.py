"""Gaussian, zero, non-finite and count inflation: what is sent, and what becomes of it at the server."""

import math
from typing import Any

import pytest
import torch

from fedsec import registry
from fedsec.api import ClientView, Layout, Position, TrainingSettings, Update, implements
from fedsec.attacks.byzantine.count_inflation import CountInflation
from fedsec.attacks.byzantine.gaussian import Gaussian
from fedsec.attacks.byzantine.non_finite import NonFinite
from fedsec.attacks.byzantine.zero import Zero
from fedsec.wire.receive import Message, receive

BLIND = ("gaussian", "zero", "non-finite", "count-inflation", "free-rider", "lora-gauge")
HONEST = torch.tensor([0.0, 1.5, -2.0, 1e-30, 3e5])


def _view(client: int = 1, parameters: int = 5) -> ClientView:
    return ClientView(
        client=client,
        round=1,
        global_parameters=torch.ones(parameters),
        layout=Layout((), (), parameters),
        training=TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1),
        generator=torch.Generator().manual_seed(client),
    )


def _sent(attack: Any, honest: torch.Tensor = HONEST, client: int = 1) -> Update:
    update = Update(honest.clone(), examples=7)
    view = _view(client, len(honest))
    crafted: Update = attack.on_update(update, view)
    assert torch.equal(update.vector, honest)
    assert torch.equal(view.global_parameters, torch.ones(len(honest)))
    assert crafted.vector.dtype == torch.float32
    assert crafted.vector.shape == honest.shape
    return crafted


@pytest.mark.parametrize(
    ("attack", "sigma"),
    [
        (Gaussian(), 200.0),
        (Gaussian(sigma=3.0), 3.0),
        (Gaussian(sigma=2.0, unit="honest"), 2.0 * 5.0),
    ],
    ids=str,
)
def test_noise_has_mean_zero_and_the_stated_deviation(attack: Gaussian, sigma: float) -> None:
    honest = torch.tensor([3.0, 4.0, -5.0, 5.0 * math.sqrt(2)]).repeat(25_000)  # root mean square 5
    noise = _sent(attack, honest).vector.double()
    assert abs(noise.mean() / sigma) < 4 / math.sqrt(len(noise))  # four standard errors
    assert abs(noise.std() / sigma - 1) < 4 / math.sqrt(2 * len(noise))
    assert abs(torch.corrcoef(torch.stack([noise, honest.double()]))[0, 1]) < 4 / math.sqrt(len(noise))


def test_added_noise_is_the_noise_on_top_of_the_honest_update() -> None:
    assert torch.equal(_sent(Gaussian(variant="add")).vector, HONEST + _sent(Gaussian()).vector)


def test_each_client_draws_its_own_noise_from_its_own_generator() -> None:
    assert torch.equal(_sent(Gaussian()).vector, _sent(Gaussian()).vector)
    assert not torch.equal(_sent(Gaussian()).vector, _sent(Gaussian(), client=2).vector)


def test_noise_in_units_of_an_update_of_zeros_is_zero() -> None:
    assert torch.equal(_sent(Gaussian(unit="honest"), torch.zeros(5)).vector, torch.zeros(5))


def test_zero_sends_zeros_and_the_honest_claim() -> None:
    assert torch.equal(_sent(Zero()).vector, torch.zeros(5))
    assert _sent(Zero()).examples == 7


@pytest.mark.parametrize(("kind", "reason"), [("nan", "NaN"), ("inf", "infinite"), ("huge", "1e+30")])
def test_the_server_refuses_what_is_not_finite_or_huge_and_keeps_the_others(kind: str, reason: str) -> None:
    crafted = _sent(NonFinite(kind=kind))
    messages = [Message(1, HONEST, 7), Message(4, crafted.vector, crafted.examples), Message(6, -HONEST, 7)]
    received = receive(messages, 5, [7, 7, 7], torch.empty(3, 5))
    assert received.clients == (1, 6)
    assert torch.equal(received.rows, torch.stack([HONEST, -HONEST]))
    assert [(one.client, reason in one.reason) for one in received.rejected] == [(4, True)]


@pytest.mark.parametrize("kind", ["nan", "inf", "huge"])
def test_unchecked_it_would_ruin_a_mean(kind: str) -> None:
    """Else the test of the door shows nothing."""
    mean = torch.stack([HONEST, _sent(NonFinite(kind=kind)).vector]).mean(dim=0)
    assert not mean.square().sum().isfinite()


def test_inflated_claims_are_clamped_to_what_was_enrolled_and_logged() -> None:
    crafted = _sent(CountInflation(factor=1000))
    assert torch.equal(crafted.vector, -HONEST)
    assert crafted.examples == 7000
    received = receive(
        [Message(2, HONEST, 7), Message(3, crafted.vector, crafted.examples)], 5, [7, 7], torch.empty(2, 5)
    )
    assert received.examples == (7, 7)
    assert [one.client for one in received.clamped] == [3]


def test_believed_claims_would_turn_the_mean_around() -> None:
    """One liar of ten weighs f * factor / (f * factor + n - f) under weights by unchecked claims."""
    crafted = _sent(CountInflation(factor=100))
    claims = torch.tensor([7.0] * 9 + [crafted.examples])
    mean = (claims / claims.sum()) @ torch.stack([HONEST] * 9 + [crafted.vector])
    torch.testing.assert_close(mean, HONEST * (9 - 100) / (100 + 9))


@pytest.mark.parametrize("name", BLIND)
def test_the_card_builds_the_attack(name: str) -> None:
    card = registry.attacks().get(name)
    assert card.threat.position == Position.CLIENT
    assert not card.threat.knowledge
    assert implements(registry.load_target(card)(**card.resolve({})), "on_update")


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("gaussian", "sigma", -1.0),
        ("gaussian", "variant", "subtract"),
        ("gaussian", "unit", "feet"),
        ("non-finite", "kind", "-inf"),
        ("count-inflation", "factor", 0),
        ("count-inflation", "factor", 1.5),
        ("free-rider", "variant", "fresh"),
        ("lora-gauge", "factor", 0.0),
        ("lora-gauge", "aim", "show"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_the_card(name: str, parameter: str, value: object) -> None:
    (found,) = [p for p in registry.attacks().get(name).parameters if p.name == parameter]
    assert found.problem(value) is not None
