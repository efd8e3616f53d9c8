"""A malicious supplier: it alters the base model, or the public rows that the start is trained on."""

from collections.abc import Sequence

import torch
from torch import nn

from fedsec.api import Role, Sample, SupplierView, implements
from fedsec.cell.resources import attack_plugin, training_settings
from fedsec.cell.staging import Materials
from fedsec.cell.start import Shelf
from fedsec.errors import FedsecError
from fedsec.federation.holdings import check_samples
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.plugins import checked
from fedsec.models.base import SEQUENCE_CLASSIFICATION
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.plan.cells import Cell
from fedsec.plan.keys import start_key
from fedsec.seeds import SeedTree


def supplied(
    cell: Cell, module: nn.Module, public: Sequence[Sample], materials: Materials, shelf: Shelf
) -> tuple[Sample, ...]:
    """Return the public rows as the cell's supplier publishes them, and put its base model into `module`.

    A head for classification is new, and the federation's own: it stays as it was.

    Args:
        cell: with an attack by a supplier.
        module: the base model, a transformers model.
        public: the rows of `model.start`.
        materials: turn texts into what the model learns.
        shelf: has the base model if another cell made it.

    Raises:
        FedsecError: the attack supplies something that is no model, or no rows.
    """
    scenario, seeds, plugin = cell.scenario, SeedTree(cell.seed), attack_plugin(cell.attack)
    attack, task, samples = checked(plugin), scenario.model.task, tuple(public)
    _, setup = prepare(
        module,
        kind="full",
        rank=1,
        train_embeddings=True,
        dropout=scenario.model.dropout,
        generator=seeds.torch("supplied"),
        task=task,
    )
    model = FlatModel(module, setup, device=torch.device(shelf.resources.device), precision=scenario.model.precision)
    training, classes = training_settings(scenario), materials.part.labels
    own = OwnTraining(model, training, materials.tokenise, materials.tokenizer, classes, dropout=setup.dropout)

    def view(purpose: str) -> SupplierView:
        return SupplierView(
            public=tuple(public),
            layout=model.layout,
            training=training,
            classes=classes,
            tokenizer=materials.tokenizer,
            train=own.train,
            gradient=own.gradient,
            seen=materials.seen,
            generator=seeds.torch(f"supplier {purpose} {plugin.label}"),
        )

    if implements(attack, "on_public_data"):
        samples = attack.on_public_data(samples, view("rows"))
        check_samples(samples, classes, f"{plugin.label}.on_public_data()")
    if implements(attack, "on_base_model"):
        start = model.snapshot()

        def make() -> torch.Tensor:
            return _checked(attack.on_base_model(start.clone(), view("model")), start, plugin.label)

        vector = shelf.take(start_key(cell, ["supplied"]), model.layout.size, make).clone()
        for info in model.layout.find(Role.HEAD) if task == SEQUENCE_CLASSIFICATION else ():
            model.layout.tensor(vector, info.name).copy_(model.layout.tensor(start, info.name))
        model.load(vector)
    for parameter in module.parameters():  # no longer views: what is trained next has a flat vector of its own
        parameter.data, parameter.grad = parameter.data.clone(), None
    return samples


def _checked(found: object, start: torch.Tensor, label: str) -> torch.Tensor:
    """Return the supplied parameters; FedsecError unless they are finite fp32 of the model's length."""
    fits = isinstance(found, torch.Tensor) and found.dtype == torch.float32 and found.shape == start.shape
    if not isinstance(found, torch.Tensor) or not fits or not bool(found.isfinite().all()):
        raise FedsecError(f"{label}.on_base_model() must return finite fp32 parameters of the model's length")
    return found.detach().clone()
