"""Updates larger than the blocks that they are handled in."""

import numpy as np
import pytest
import torch

from fedsec.api import Update
from fedsec.defenses.update.gaussian_noise import GaussianNoise
from fedsec.defenses.update.gradient_pruning import GradientPruning
from fedsec.defenses.update.quantization import Quantization
from fedsec.maths.blocks import ENTRIES

from .support import heavy, view

SIZE = 2 * ENTRIES + 5


def sent_as(defense: GaussianNoise | GradientPruning | Quantization, sent: torch.Tensor) -> torch.Tensor:
    return defense.on_update(Update(sent, 1), view((SIZE,))).vector


def test_every_block_gets_noise_of_its_own() -> None:
    sent = heavy(SIZE, seed=0)
    noise = sent_as(GaussianNoise(sigma=0.1), sent) - sent
    first, second = noise[:ENTRIES].double().numpy(), noise[ENTRIES : 2 * ENTRIES].double().numpy()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(first.std() / second.std() - 1) < 0.01
    assert abs(float(noise.norm() / sent.norm()) - 0.1) < 1e-3


def test_pruning_counts_over_all_blocks() -> None:
    sent = torch.arange(1.0, SIZE + 1)  # the largest are all in the last blocks
    got = sent_as(GradientPruning(keep=0.25), sent)
    kept = int(np.ceil(0.25 * SIZE))
    assert torch.equal(got[-kept:], sent[-kept:])
    assert not got[:-kept].any()
    drawn = sent_as(GradientPruning(keep=0.5, kind="random"), sent) != 0.0
    assert not torch.equal(drawn[:ENTRIES], drawn[ENTRIES : 2 * ENTRIES])


def test_quantization_has_one_scale_for_all_blocks() -> None:
    sent = heavy(SIZE, seed=1)
    sent[-1] = 1e3  # alone in the last block's end
    levels = sent_as(Quantization(bits=4), sent) / (1e3 / 7)
    assert float((levels - levels.round()).abs().max()) < 1e-4
    assert levels[-1] == 7.0
    signs = sent_as(Quantization(bits=1), sent)
    assert torch.allclose(signs.abs(), sent.double().abs().mean().float().expand(SIZE), rtol=1e-5)


@pytest.mark.parametrize(
    "defense", [GaussianNoise(), GradientPruning(), GradientPruning(kind="random"), Quantization()]
)
def test_a_tensor_with_a_gradient_is_taken_as_it_is(defense: GaussianNoise | GradientPruning | Quantization) -> None:
    sent = heavy(SIZE, seed=2)
    got = sent_as(defense, sent.clone().requires_grad_())
    assert torch.equal(got, sent_as(defense, sent))
    assert not got.requires_grad
