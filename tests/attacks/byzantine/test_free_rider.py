"""Free riders: updates without training, from what was seen before."""

from collections.abc import Sequence

import pytest
import torch

from fedsec.api import ClientView, Layout, TrainingSettings, Update
from fedsec.attacks.byzantine.free_rider import FreeRider

RATE = 0.1


def _view(number: int, model: torch.Tensor, update: str = "delta") -> ClientView:
    return ClientView(
        client=1,
        round=number,
        global_parameters=model.clone(),
        layout=Layout((), (), len(model)),
        training=TrainingSettings(update=update, optimizer="sgd", learning_rate=RATE, local_steps=1, batch_size=1),
        generator=torch.Generator().manual_seed(number),
    )


def _honest(number: int, size: int = 3) -> torch.Tensor:
    return torch.full((size,), 10.0 * number)


def _ridden(rider: FreeRider, seen: Sequence[tuple[int, torch.Tensor]], update: str = "delta") -> list[torch.Tensor]:
    """What it sends in rounds in which it sees these models."""
    sent = []
    for number, model in seen:
        crafted = rider.on_update(Update(_honest(number, len(model)), examples=7), _view(number, model, update))
        assert crafted.examples == 7
        sent.append(crafted.vector)
    return sent


MODELS = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 2.0, 2.0]), torch.tensor([4.0, 4.0, 4.0])]


def test_stale_replays_the_difference_of_the_last_two_models() -> None:
    sent = _ridden(FreeRider(), list(enumerate(MODELS, start=1)))
    assert torch.equal(sent[0], torch.zeros(3))
    assert torch.equal(sent[1], MODELS[1] - MODELS[0])
    assert torch.equal(sent[2], MODELS[2] - MODELS[1])


def test_under_gradients_stale_is_the_gradient_that_would_have_made_that_step() -> None:
    sent = _ridden(FreeRider(), list(enumerate(MODELS, start=1)), "gradient")
    torch.testing.assert_close(MODELS[0] - RATE * sent[1], MODELS[1])


def test_a_difference_over_several_rounds_counts_per_round() -> None:
    sent = _ridden(FreeRider(), [(2, MODELS[0]), (6, MODELS[1])])
    assert torch.equal(sent[1], (MODELS[1] - MODELS[0]) / 4)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noised_is_stale_with_noise_relative_to_it(noise: float) -> None:
    models = [(1, torch.zeros(100_000)), (2, torch.full((100_000,), 1e-3))]
    rider = FreeRider(variant="noised", noise=noise)
    first, second = _ridden(rider, models)
    assert torch.equal(first, torch.zeros(100_000))
    assert abs((second - 1e-3).double().std() / (noise * 1e-3) - 1) < 0.01
    assert abs((second - 1e-3).double().mean()) < 4 * noise * 1e-3 / 100_000**0.5


def test_replayed_sends_its_first_honest_update_ever_after() -> None:
    sent = _ridden(FreeRider(variant="replayed"), list(enumerate(MODELS, start=3)))
    assert all(torch.equal(vector, _honest(3)) for vector in sent)


def test_zero_sends_zeros() -> None:
    assert all(not vector.any() for vector in _ridden(FreeRider(variant="zero"), list(enumerate(MODELS))))


@pytest.mark.parametrize("variant", ["stale", "noised", "zero", "replayed"])
def test_a_new_instance_that_is_given_the_state_goes_on_alike(variant: str) -> None:
    whole = _ridden(FreeRider(variant=variant), list(enumerate(MODELS, start=1)))
    first = FreeRider(variant=variant)
    _ridden(first, list(enumerate(MODELS[:2], start=1)))
    second = FreeRider(variant=variant)
    second.load_state(first.state())
    (last,) = _ridden(second, [(3, MODELS[2])])
    assert torch.equal(last, whole[2])


def test_what_it_sent_or_saw_can_be_changed_without_changing_its_memory() -> None:
    rider = FreeRider(variant="replayed")
    _ridden(rider, [(1, MODELS[0])])[0].fill_(7.0)
    assert torch.equal(_ridden(rider, [(2, MODELS[0])])[0], _honest(1))
