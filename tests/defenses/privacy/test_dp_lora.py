"""What DP-LoRA leaves to train."""

import pytest
import torch

from fedsec.api import ModelSetup, Role
from fedsec.defenses.privacy.dp_lora import DPLoRA
from fedsec.models import tiny_bert
from fedsec.models.tuning import prepare


def _setup(kind: str) -> ModelSetup:
    base = tiny_bert.load(labels=3, generator=torch.Generator().manual_seed(0), width=16)
    _, setup = prepare(
        base.module,
        kind=kind,
        rank=2,
        train_embeddings=False,
        dropout=False,
        generator=torch.Generator().manual_seed(1),
        task="sequence-classification",
    )
    return setup


def _trained(setup: ModelSetup) -> dict[str, set[str]]:
    """Names of what is trained, by factor; the head's have none."""
    found: dict[str, set[str]] = {"A": set(), "B": set(), "head": set()}
    for info in setup.parameters:
        if info.name in setup.trainable:
            found[info.factor or ("head" if info.role == Role.HEAD else "rest")].add(info.name)
    return found


def test_it_trains_both_factors_and_the_head() -> None:
    setup = _setup("lora")
    assert DPLoRA().setup_model(setup) == setup
    assert all(_trained(setup).values())


def test_frozen_factors_a_are_neither_trained_nor_sent() -> None:
    setup = _setup("lora")
    before, after = _trained(setup), _trained(DPLoRA(freeze_a=True).setup_model(setup))
    assert after["A"] == set()
    assert (after["B"], after["head"]) == (before["B"], before["head"])


@pytest.mark.parametrize("kind", ["full", "head"])
def test_without_adapters_it_says_what_to_set(kind: str) -> None:
    with pytest.raises(ValueError, match=r"set model.tuning to \{kind: lora"):
        DPLoRA().setup_model(_setup(kind))
