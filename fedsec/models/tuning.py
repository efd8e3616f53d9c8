"""Tuning methods: which parameters of a base model are trained and sent."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fedsec.api import ModelSetup, ParameterInfo, Role
from fedsec.errors import FedsecError
from fedsec.models.base import CAUSAL_LM, SEQUENCE_CLASSIFICATION, quiet_transformers
from fedsec.models.roles import describe_parameters
from fedsec.seeds import scoped_torch_rng

EMBEDDINGS = frozenset({Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING})
QUERY_VALUE, ALL_LINEAR = "query-value", "all-linear"
_ADAPTED = frozenset({Role.QUERY, Role.VALUE, Role.QUERY_KEY_VALUE})
_LINEAR = ("Linear", "Conv1D")
"""Types of the modules that are linear maps; GPT-2's is of transformers' own."""


def prepare(
    model: nn.Module,
    *,
    kind: str,
    rank: int,
    train_embeddings: bool,
    dropout: bool,
    generator: torch.Generator,
    task: str = SEQUENCE_CLASSIFICATION,
    targets: str = QUERY_VALUE,
) -> tuple[nn.Module, ModelSetup]:
    """The model ready for tuning, and the setup that says what is trained.

    Args:
        model: a transformers model for the task.
        kind: `full` (everything), `head` (the classification head, or a causal model's own output layer) or `lora`
            (adapters through peft, and the classification head; a causal model's output layer, which is not new,
            stays as it is).
        rank: LoRA rank; the scale alpha is twice the rank.
        train_embeddings: whether the embedding block is trained; an output layer tied to it goes with it.
        dropout: whether the model's own dropout is active in local training.
        generator: source of the adapters' initial values.
        task: what the model learns.
        targets: which weights LoRA adapts: `query-value` or `all-linear` (every linear map of the layers).

    Raises:
        FedsecError: LoRA does not know where to put adapters in this architecture, or there is no head to train.
    """
    if kind == "lora":
        with quiet_transformers(), scoped_torch_rng(generator):
            model = _with_lora(model, rank, task, targets)
    parameters = describe_parameters(model)
    if kind == "full":
        trainable = {p.name for p in parameters}
    elif kind == "head":
        trainable = {p.name for p in parameters if p.role == Role.HEAD}
    else:
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    embeddings = {p.name for p in parameters if p.role in EMBEDDINGS}
    trainable = trainable | embeddings if train_embeddings else trainable - embeddings
    if not trainable and kind == "head":
        raise FedsecError(
            f"the output layer of this {type(model).__name__} is its word embedding (they are tied), so that there is "
            "no head of its own to train. Use model.tuning.kind: lora or full, or train the embeddings: "
            "model.tuning.embeddings: trainable."
        )
    return model, ModelSetup(parameters=parameters, trainable=frozenset(trainable), dropout=dropout, task=task)


def _with_lora(model: nn.Module, rank: int, task: str, targets: str) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    parameters = describe_parameters(model)
    adapted = _linear(model, parameters) if targets == ALL_LINEAR else [p for p in parameters if p.role in _ADAPTED]
    heads = sorted({p.name.split(".")[0] for p in parameters if p.role == Role.HEAD})
    # lora_dropout stays 0: the model's own dropout is the one that `dropout` speaks of.
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM if task == CAUSAL_LM else TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        # None: what peft knows of that architecture.
        target_modules=[p.name.removesuffix(".weight") for p in adapted] or None,
        fan_in_fan_out=any(p.inputs_first for p in adapted),
        modules_to_save=None if task == CAUSAL_LM else heads,
    )
    try:
        peft_model: Any = get_peft_model(model, config)  # type: ignore[arg-type, unused-ignore]
    except ValueError as error:
        raise FedsecError(f"lora cannot tune a {type(model).__name__}: {error}") from error
    return peft_model  # type: ignore[no-any-return]


def _linear(model: nn.Module, parameters: Sequence[ParameterInfo]) -> list[ParameterInfo]:
    """The weights of the linear maps of all layers; FedsecError if the layers have none."""
    kinds = {f"{name}.weight": type(part).__name__ for name, part in model.named_modules()}
    found = [p for p in parameters if p.layer is not None and kinds.get(p.name) in _LINEAR]
    if not found:
        raise FedsecError(
            f"lora finds no linear map in the layers of a {type(model).__name__}. Use model.tuning.targets: "
            "query-value, or model.tuning.kind: full."
        )
    return found
