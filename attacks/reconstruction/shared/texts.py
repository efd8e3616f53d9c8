"""What the reconstruction attacks share: roles to tensors, and tokens to claims."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedsec.api import Layout, ParameterInfo, Role, RoundView

if TYPE_CHECKING:
    import torch


def single_rows(view: RoundView) -> "torch.Tensor":
    """The clients' rows [clients, parameters]; ValueError where they stay hidden."""
    if view.rows is None:
        raise ValueError("this attack reads single clients' updates, which this view does not show")
    return view.rows


def only(layout: Layout, role: Role, layer: int | None = None) -> ParameterInfo:
    """The one trainable tensor of a role (in a layer); ValueError if there is none or more than one."""
    found = layout.find(role, layer)
    if len(found) != 1:
        where = "" if layer is None else f" in layer {layer}"
        raise ValueError(f"the update holds {len(found)} tensors of role '{role}'{where}; this attack needs one")
    return found[0]


def content(ids: Sequence[int], tokenizer: Any) -> tuple[int, ...]:
    """The ids without special tokens and padding; unknown tokens stay, since they stand for text.

    GPT-2's tokenizer names its end token as its unknown one too; it needs none, and there it marks an end.
    """
    marks = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    special = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - marks)
    return tuple(int(i) for i in ids if int(i) not in special)


def texts_per_client(view: RoundView) -> int:
    """The most texts that one client can have trained on."""
    return view.training.batch_size * view.training.local_steps
