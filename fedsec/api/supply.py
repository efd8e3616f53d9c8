"""What a supplier of the base model or of public rows knows before a federation starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsec.api.setup import Layout, TrainingSettings
from fedsec.api.views import Sample, Train

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierView:
    """What a malicious supplier knows; it sees nothing of the federation."""

    public: tuple[Sample, ...]
    """The public rows that the start is trained on (`model.start`), as they were published."""
    layout: Layout
    """Of the whole base model, whatever the federation trains of it."""
    training: TrainingSettings
    """The clients' protocol, which is public as well."""
    classes: tuple[str, ...]
    """Names of the labels; empty without labels."""
    tokenizer: Any
    train: Train
    """Trains the whole base model on any samples by any schedule, and returns the parameters."""
    gradient: "Callable[[Sequence[Sample], torch.Tensor], torch.Tensor]"
    """Gives the gradient of the mean loss on samples at any parameters of the whole base model [parameters]."""
    seen: "Callable[[Sequence[Sample]], tuple[Sample, ...]]" = tuple
    """Gives samples as the model sees them: what truncation leaves of their prompts' ends and texts' beginnings."""
    generator: "torch.Generator"
