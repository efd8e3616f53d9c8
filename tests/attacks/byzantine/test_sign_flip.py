"""Sign flip: minus scale times the client's own update, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import Behaviour, ClientView, Layout, Position, TrainingSettings, Update, implements
from fedsec.attacks.byzantine.sign_flip import SignFlip


def _view() -> ClientView:
    return ClientView(
        client=1,
        round=1,
        global_parameters=torch.ones(5),
        layout=Layout((), (), 5),
        training=TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1),
        generator=torch.Generator(),
    )


def _update() -> Update:
    return Update(torch.tensor([0.0, 1.5, -2.0, 1e-30, 3e5]), examples=7)


def _crafted(scale: float = 1.0) -> torch.Tensor:
    return SignFlip(scale=scale).on_update(_update(), _view()).vector


def test_at_scale_one_every_sign_is_flipped_and_every_size_kept() -> None:
    assert torch.equal(_crafted(), -_update().vector)


@settings(deadline=None)
@given(st.floats(0, 1e6))
def test_the_forged_update_is_minus_scale_times_the_honest_one(scale: float) -> None:
    crafted = _crafted(scale)
    assert crafted.dtype == torch.float32
    assert crafted.shape == (5,)
    torch.testing.assert_close(crafted.double(), -scale * _update().vector.double(), rtol=1e-6, atol=1e-30)


def test_twice_at_scale_one_is_the_honest_update() -> None:
    attack = SignFlip()
    twice = attack.on_update(attack.on_update(_update(), _view()), _view())
    assert torch.equal(twice.vector, _update().vector)
    assert twice.examples == 7


def test_the_honest_update_and_the_view_stay_as_they_were() -> None:
    update, view = _update(), _view()
    generator = view.generator.get_state()
    SignFlip(scale=3.0).on_update(update, view)
    assert torch.equal(update.vector, _update().vector)
    assert torch.equal(view.global_parameters, torch.ones(5))
    assert torch.equal(view.generator.get_state(), generator)


def test_a_minority_turns_the_mean_around_exactly_when_its_scale_outweighs_the_majority() -> None:
    """2 of 10 clients: the mean is (8 - 2 scale) / 10 of the honest update, whose sign turns at scale 4."""
    honest = _update().vector
    for scale, sign in ((3.9, 1.0), (4.1, -1.0)):
        mean = (8 * honest + 2 * _crafted(scale)) / 10
        assert torch.sign(mean @ honest) == sign


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf"), 2e6, "1", None, True])
def test_a_scale_that_makes_no_sense_is_refused_by_the_card(scale: object) -> None:
    (parameter,) = registry.attacks().get("sign-flip").parameters
    assert parameter.problem(scale) is not None


def test_the_card_says_what_it_is_and_builds_it() -> None:
    card = registry.attacks().get("sign-flip")
    assert (card.threat.position, card.threat.behaviour) == (Position.CLIENT, Behaviour.MALICIOUS)
    made = registry.load_target(card)(**card.resolve({"scale": 10}))
    assert implements(made, "on_update")
    assert made == SignFlip(scale=10.0)
    assert card.label({"scale": 10}) == "sign-flip(scale=10)"
