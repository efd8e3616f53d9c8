"""DP-LoRA: DP-SGD on the factors of a LoRA adapter, the base model being frozen."""

from dataclasses import dataclass, replace

from fedsec.api import ModelSetup, Role

from .dp_sgd import DPSGD


@dataclass(slots=True, kw_only=True)
class DPLoRA(DPSGD):
    """DP-SGD on low-rank factors: noise grows with what is trained, and factors are a small part of a model.

    Args:
        epsilon, delta, clip, noise_multiplier: as of DP-SGD.
        freeze_a: whether each factor A stays as it was drawn, so that the noise on A and that on B are not multiplied.

    Source: Liu et al., "Differentially Private Low-Rank Adaptation of Large Language Model Using Federated Learning",
        2023 (arXiv:2312.17493), algorithm 1; freeze_a: Sun et al., "Improving LoRA in Privacy-preserving Federated
        Learning" (FFA-LoRA), ICLR 2024, section 3.
    Deviations: a classifier's head is trained and clipped together with the factors.
    """

    freeze_a: bool = False

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """Return the setup without the factors A among the trainable tensors, where they are frozen."""
        adapters = {info.name for info in setup.parameters if info.role == Role.ADAPTER} & setup.trainable
        if not adapters:
            raise ValueError("dp-lora needs LoRA factors to train: set model.tuning to {kind: lora, rank: 8}")
        if not self.freeze_a:
            return setup
        frozen = {info.name for info in setup.parameters if info.name in adapters and info.factor == "A"}
        return replace(setup, trainable=setup.trainable - frozen)
