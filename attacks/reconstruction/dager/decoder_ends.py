"""Whether texts that a language model's span ends in are whole, or were cut before their end token."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import RoundView
from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor


def whole_texts(view: RoundView, row: "Tensor", texts: Sequence[tuple[int, ...]], share: float) -> list[bool]:
    """Whether the end token comes after each text, as far as the update of the output layer tells.

    Nothing is predicted from a row's last token, so that it leaves nothing in the spans: the end token, or, of a row
    that was cut to the longest length, a token of the text. But it is a label. The output layer's gradient for the end
    token is the sum of the last hidden states times (p - 1 where it comes next, p elsewhere): with the states known,
    the factors follow by least squares, and their sign tells.

    Args:
        view: what the attacker sees.
        row: the update that the texts were read off.
        texts: all of its texts, without their last tokens.
        share: a text ends if the end token's part at its last position is at least this share of the largest: where a
            trained model expects the end, p - 1 is small; elsewhere the part is not negative, up to rounding.

    Returns:
        One answer per text. Classifiers read whole rows: all are. Where the output layer is not updated, or by more
        than one plain step, only texts as long as the longest can have been cut, and count as not whole.
    """
    module, training = view.model.module, view.training
    head = _output_layer(module)
    if head is None or not texts:
        return [True] * len(texts)
    name = _parameter(view, head)
    plain = training.update == "gradient" or (training.optimizer == "sgd" and training.local_steps == 1)
    if name is None or not plain:
        longest = max(map(len, texts))
        return [len(text) < longest for text in texts]
    sign = 1.0 if training.update == "gradient" else -1.0
    received = sign * view.model.layout.tensor(row, name)[view.model.tokenizer.eos_token_id].double()  # [width]
    states, last = _final_states(module, head, texts)
    factors = torch.linalg.lstsq(states.T, received, driver="gelsd").solution  # [tokens]
    least = min(float(factors.min()), 0.0)
    return [least < 0.0 and value <= share * least for value in factors[last].tolist()]


def _output_layer(module: Any) -> str | None:
    """Name of a language model's output layer; None for a classifier."""
    layer = module.get_output_embeddings()
    return None if layer is None else next(name for name, part in module.named_modules() if part is layer)


def _parameter(view: RoundView, head: str) -> str | None:
    """Name of the output layer's weights (the word embedding's, where they are tied), if they are updated."""
    weight = view.model.module.get_submodule(head).weight
    infos = view.model.layout.parameters
    return next((info.name for info in infos if view.model.module.get_parameter(info.name) is weight), None)


def _final_states(module: Any, head: str, texts: Sequence[tuple[int, ...]]) -> tuple["Tensor", "Tensor"]:
    """What enters the output layer at each text's positions [tokens, width], fp64, and each text's last row [texts]."""
    lengths = torch.tensor([len(text) for text in texts])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    real = torch.arange(ids.shape[1]) < lengths[:, None]  # [texts, length]
    states = layer_input(module, head, input_ids=ids, attention_mask=real.long())  # [texts, length, width]
    return states[real].double(), lengths.cumsum(0) - 1
