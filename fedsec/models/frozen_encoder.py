"""A frozen encoder run once per text: under `head` tuning without dropout its output never changes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from fedsec.api import ModelSetup, Role
from fedsec.data.tokens import Tokenised, collate
from fedsec.models.base import SEQUENCE_CLASSIFICATION
from fedsec.models.roles import unwrapped

ROWS_PER_BATCH = 64
LARGEST_BYTES = 1 << 30
"""Outputs of more than this are not kept; the encoder then runs as ever."""

Tokens = tuple[int, ...]
Output = tuple[torch.Tensor, torch.Tensor | None]
"""Last hidden states [length, width] and pooled output [width], if the encoder pools."""


def is_frozen(setup: ModelSetup) -> bool:
    """Return whether only a classification head is trained, without dropout: a text's encoding is then constant."""
    roles = {p.role for p in setup.parameters if p.name in setup.trainable}
    return roles == {Role.HEAD} and not setup.dropout and setup.task == SEQUENCE_CLASSIFICATION


@torch.no_grad()
def encode(module: nn.Module, splits: Sequence[Tokenised], pad_id: int) -> dict[Tokens, Output] | None:
    """The encoder's output for every text, or None if that is more than `LARGEST_BYTES`.

    Texts are batched by length over all splits, in one fixed order, so that the same texts give the same bits
    whichever cell comes first. They are computed in fp32 where the model lies, and kept on the CPU.

    Args:
        module: a transformers model for sequence classification.
        splits: tokenised texts.
        pad_id: padding token.
    """
    model: Any = unwrapped(module)
    texts = sorted({tuple(ids) for split in splits for ids in split.ids}, key=lambda ids: (len(ids), ids))
    if 4 * sum(len(ids) for ids in texts) * model.config.hidden_size > LARGEST_BYTES:
        return None
    model.eval()
    device = next(model.parameters()).device
    known: dict[Tokens, Output] = {}
    for start in range(0, len(texts), ROWS_PER_BATCH):
        part = texts[start : start + ROWS_PER_BATCH]
        unlabelled = Tokenised([list(ids) for ids in part], np.zeros(len(part), dtype=np.int64))
        batch = collate(unlabelled, range(len(part)), pad_id)
        output = model.base_model(input_ids=batch.input_ids.to(device), attention_mask=batch.attention_mask.to(device))
        pooled = getattr(output, "pooler_output", None)
        for row, ids in enumerate(part):
            hidden = output.last_hidden_state[row, : len(ids)].to("cpu", copy=True)
            known[ids] = (hidden, None if pooled is None else pooled[row].to("cpu", copy=True))
    return known


class FrozenEncoder(nn.Module):
    """Stands in for the encoder: looks texts up, and runs the encoder once for each that is new, as poisoned ones are.

    A new text is encoded by itself, so that its bits do not depend on the texts that came before or with it.

    Args:
        encoder: the encoder itself.
        known: outputs by token ids.
    """

    def __init__(self, encoder: nn.Module, known: Mapping[Tokens, Output]) -> None:
        super().__init__()
        self.encoder = encoder
        self._known = known
        self._new: dict[Tokens, Output] = {}
        self._bytes = 0
        """Of the new ones that are kept."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **rest: Any) -> Any:
        """The encoder's output for right-padded ids [rows, length] and their mask."""
        lengths = attention_mask.sum(dim=1).tolist()
        keys = [tuple(line[:length]) for line, length in zip(input_ids.tolist(), lengths, strict=True)]
        if not all(keys):  # a row of padding alone
            return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **rest)
        return _joined([self._of(key, input_ids.device) for key in keys], input_ids.shape[1], input_ids.device)

    def _of(self, key: Tokens, device: torch.device) -> Output:
        """The output for one text, which is kept as long as there is room."""
        found = self._known.get(key) or self._new.get(key)
        if found is None:
            ids = torch.tensor([key], device=device)
            with torch.no_grad():
                output = self.encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
            pooled = getattr(output, "pooler_output", None)
            found = (output.last_hidden_state[0].to("cpu"), None if pooled is None else pooled[0].to("cpu"))
            self._bytes += 4 * found[0].numel()
            if self._bytes <= LARGEST_BYTES:
                self._new[key] = found
        return found

    @classmethod
    def put_into(cls, module: nn.Module, known: Mapping[Tokens, Output]) -> None:
        """Replace the encoder of `module` by a stand-in that returns these outputs."""
        model: Any = unwrapped(module)
        setattr(model, model.base_model_prefix, cls(model.base_model, known))

    @classmethod
    def take_out(cls, module: nn.Module) -> None:
        """Put the encoder back: a stand-in holds the texts, so no attack may be given it with the model."""
        model: Any = unwrapped(module)
        if isinstance(model.base_model, cls):
            setattr(model, model.base_model_prefix, model.base_model.encoder)

    @classmethod
    @contextmanager
    def lent(cls, module: nn.Module, memory: dict[Tokens, Output]) -> Iterator[None]:
        """Let a stand-in answer for the duration of the block; what it encodes is kept in `memory` for the next one."""
        model: Any = unwrapped(module)
        if isinstance(model.base_model, cls):
            yield
            return
        cls.put_into(module, {})
        model.base_model.keep_in(memory)
        try:
            yield
        finally:
            cls.take_out(module)

    def keep_in(self, memory: dict[Tokens, Output]) -> None:
        """Keep new texts' outputs there, beside those that are there already."""
        self._new, self._bytes = memory, sum(4 * hidden.numel() for hidden, _ in memory.values())

    @classmethod
    @contextmanager
    def laid_aside(cls, module: nn.Module) -> Iterator[None]:
        """Restore the encoder itself for the duration of the block."""
        model: Any = unwrapped(module)
        stand_in = model.base_model if isinstance(model.base_model, cls) else None
        cls.take_out(module)
        try:
            yield
        finally:
            if stand_in is not None:
                setattr(model, model.base_model_prefix, stand_in)


def _joined(outputs: Sequence[Output], length: int, device: torch.device) -> Any:
    from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

    first, pooled = outputs[0]
    hidden = first.new_zeros(len(outputs), length, first.shape[-1])
    for row, (states, _) in enumerate(outputs):
        hidden[row, : len(states)] = states
    hidden = hidden.to(device)
    if pooled is None:
        return BaseModelOutput(last_hidden_state=hidden)
    return BaseModelOutputWithPooling(
        last_hidden_state=hidden, pooler_output=torch.stack([p for _, p in outputs if p is not None]).to(device)
    )
