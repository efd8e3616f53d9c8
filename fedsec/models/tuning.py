"""Tuning methods: which parameters of a base model are trained and sent."""

from typing import Any

import torch
from torch import nn

from fedsec.api import ModelSetup, Role
from fedsec.errors import FedsecError
from fedsec.models.base import quiet_transformers
from fedsec.models.roles import describe_parameters
from fedsec.seeds import scoped_torch_rng

EMBEDDINGS = frozenset({Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING})


def prepare(
    model: nn.Module,
    *,
    kind: str,
    rank: int,
    train_embeddings: bool,
    dropout: bool,
    generator: torch.Generator,
) -> tuple[nn.Module, ModelSetup]:
    """The model ready for tuning, and the setup that says what is trained.

    Args:
        model: a transformers model for sequence classification.
        kind: `full` (everything), `head` (the classification head) or `lora` (adapters through peft, and the head).
        rank: LoRA rank; the scale alpha is twice the rank.
        train_embeddings: whether the embedding block is trained.
        dropout: whether the model's own dropout is active in local training.
        generator: source of the adapters' initial values.

    Raises:
        FedsecError: LoRA does not know where to put adapters in this architecture.
    """
    if kind == "lora":
        with quiet_transformers(), scoped_torch_rng(generator):
            model = _with_lora(model, rank)
    parameters = describe_parameters(model)
    if kind == "full":
        trainable = {p.name for p in parameters}
    elif kind == "head":
        trainable = {p.name for p in parameters if p.role == Role.HEAD}
    else:
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    embeddings = {p.name for p in parameters if p.role in EMBEDDINGS}
    trainable = trainable | embeddings if train_embeddings else trainable - embeddings
    return model, ModelSetup(parameters=parameters, trainable=frozenset(trainable), dropout=dropout)


def _with_lora(model: nn.Module, rank: int) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    parameters = describe_parameters(model)
    queries_and_values = [p.name.removesuffix(".weight") for p in parameters if p.role in (Role.QUERY, Role.VALUE)]
    # lora_dropout stays 0: the model's own dropout is the one that `dropout` speaks of.
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=queries_and_values or None,  # None: what peft knows of that architecture
        modules_to_save=sorted({p.name.split(".")[0] for p in parameters if p.role == Role.HEAD}),
    )
    try:
        peft_model: Any = get_peft_model(model, config)  # type: ignore[arg-type, unused-ignore]
    except ValueError as error:
        raise FedsecError(f"lora cannot tune a {type(model).__name__}: {error}") from error
    return peft_model  # type: ignore[no-any-return]
