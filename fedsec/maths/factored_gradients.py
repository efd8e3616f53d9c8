"""Parameter gradients of many candidate batches as factors, and how far they are from a given gradient.

The gradient of a linear layer's weight is a sum of outer products, g = sum_t D_t X_t^T, of what entered the layer (X)
and of the loss's derivative by what left it (D). Its product with a matrix G and its own norm follow from the factors
alone: <g, G> = sum_t D_t^T G X_t and |g|^2 = <D D^T, X X^T>. So hundreds of candidates are compared with an observed
gradient in one batched pass, where forming their gradients would take a model's memory for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from fedsec.maths.layers import hooked, is_linear, is_norm, normalised

_LOW_RANK = 1e-5
"""Relative residual below which a matrix is replaced by its low-rank factors: fp32 products are no more exact."""


@dataclass(frozen=True, slots=True)
class Outer:
    """Gradients of one weight matrix [outputs, inputs], one for each candidate, as sums of outer products."""

    deltas: torch.Tensor
    """Derivatives by the outputs [candidates, tokens, outputs]."""
    inputs: torch.Tensor
    """[candidates, tokens, inputs]."""

    def squares(self) -> torch.Tensor:
        """Squared norms [candidates]."""
        deltas = self.deltas @ self.deltas.transpose(1, 2)  # [candidates, tokens, tokens]
        inputs = self.inputs @ self.inputs.transpose(1, 2)
        return (deltas * inputs).sum(dim=(1, 2))

    def formed(self) -> torch.Tensor:
        """The gradients themselves [candidates, outputs, inputs]."""
        return self.deltas.transpose(1, 2) @ self.inputs


Gradient = Outer | torch.Tensor
"""Factors of a matrix's gradients, or a vector's or a table's gradients [candidates, ...]."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Batches of texts whose gradients are wanted, as word embeddings.

    Args:
        embeddings: [candidates, texts, tokens, width]; derivatives by them are available where they require them.
        mask: 1 for tokens, 0 for padding [texts, tokens], the same for all candidates.
        labels: classes [texts], the same for all candidates, or [candidates, texts].
    """

    embeddings: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor


class FactoredGradients:
    """Computes the gradients of a classifier's linear layers and normalisations for many candidates at once.

    The model's parameters, mode and hooks are as before after each call, and no parameter gets a gradient.

    Args:
        module: a transformers model with a classification head.
        names: parameters whose gradients are wanted. Of these the weights and biases of linear layers (`nn.Linear`,
            GPT-2's Conv1D, LoRA factors) and of normalisations are given, and tables that are added to the word
            embeddings (positions, token types); see `names` for what is left.
    """

    def __init__(self, module: Any, names: Sequence[str]) -> None:
        self._module = module
        self._parts: dict[str, tuple[nn.Module, dict[str, str]]] = {}
        """By module's name: the module, and which of its parameters are wanted, by their own name."""
        for name in names:
            owner, _, own = name.rpartition(".")
            part = module.get_submodule(owner)
            if own in _parameters(part) or _added(part, module.get_input_embeddings()):
                self._parts.setdefault(owner, (part, {}))[1][own] = name

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters whose gradients it gives."""
        return tuple(name for _, wanted in self._parts.values() for name in wanted.values())

    def of(self, candidates: Candidates, *, differentiable: bool = False) -> dict[str, Gradient]:
        """Gradients of each candidate's mean cross-entropy, by parameter; matrices as [outputs, inputs] factors.

        Tables' are formed [candidates, entries, width].

        Args:
            candidates: the batches.
            differentiable: whether the gradients can be differentiated by the embeddings, which takes the attention
                that torch can differentiate twice, and more memory.

        Raises:
            ValueError: the model gives no logits [texts, classes].
        """
        embeddings = candidates.embeddings
        count, texts = embeddings.shape[:2]
        if not embeddings.requires_grad:
            embeddings = embeddings.detach().requires_grad_()
        rows = embeddings.flatten(0, 1)  # [candidates * texts, tokens, width]
        with torch.enable_grad():
            seen, logits = self._forward(rows, candidates.mask.repeat(count, 1), differentiable)
            if logits.ndim != 2:
                raise ValueError(f"the model gives logits {list(logits.shape)}; matching needs a classifier's")
            labels = candidates.labels.expand(count, texts).flatten()
            loss = functional.cross_entropy(logits, labels, reduction="sum") / texts
            # A table's entries receive what the word embeddings that they are added to do.
            calls = [
                (owner, given, rows if isinstance(self._parts[owner][0], nn.Embedding) else left)
                for owner, found in seen.items()
                for given, left in found
            ]
            deltas = torch.autograd.grad(loss, [left for *_, left in calls], create_graph=differentiable)
            gradients: dict[str, Gradient] = {}
            for owner in self._parts:
                entered = [given for name, given, _ in calls if name == owner]
                derived = [delta for (name, *_), delta in zip(calls, deltas, strict=True) if name == owner]
                gradients.update(self._gradients(owner, entered, derived, count))
        return gradients

    def _forward(
        self, rows: torch.Tensor, mask: torch.Tensor, differentiable: bool
    ) -> tuple[dict[str, list[tuple[torch.Tensor, torch.Tensor]]], torch.Tensor]:
        """What entered and left every wanted module, call by call, and the logits."""
        seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {owner: [] for owner in self._parts}
        words = self._module.get_input_embeddings()
        padding = self._module.config.pad_token_id or 0
        stand_in = 1 if padding == 0 else 0  # any token but padding: its embedding is replaced
        ids = torch.where(mask.bool(), stand_in, padding)

        def note(owner: str) -> Any:
            return lambda _, given, left: seen[owner].append((given[0], left))

        hooks = [(part, note(owner)) for owner, (part, _) in self._parts.items()]
        twice = sdpa_kernel(SDPBackend.MATH) if differentiable else nullcontext()  # the others have one derivative
        with hooked([*hooks, (words, lambda *_: rows)]), twice:
            logits = self._module(input_ids=ids, attention_mask=mask).logits
        return seen, logits

    def _gradients(
        self, owner: str, entered: list[torch.Tensor], derived: list[torch.Tensor], count: int
    ) -> Iterator[tuple[str, Gradient]]:
        part, wanted = self._parts[owner]
        if isinstance(part, nn.Embedding):
            yield from ((name, _entries(part, entered, derived, count)) for name in wanted.values())
            return
        inputs, deltas = _joined(entered, count), _joined(derived, count)  # [candidates, tokens, ..]
        for own, name in wanted.items():
            if own == "bias":
                yield name, deltas.sum(dim=1)
            elif is_linear(part):
                yield name, Outer(deltas, inputs)
            else:
                yield name, (deltas * normalised(part, inputs)).sum(dim=1)


class Observed:
    """A gradient that candidates' gradients are compared with.

    Args:
        gradients: by parameter; matrices as [outputs, inputs].
        rank: that a matrix may have at most, the number of tokens it was made from. Matrices of such a rank are kept
            as factors, which makes products cheaper; others, noisy ones for example, as they are.
        generator: draws the directions that the factors are found with.
    """

    def __init__(self, gradients: Mapping[str, torch.Tensor], rank: int, generator: torch.Generator) -> None:
        self.gradients = dict(gradients)
        self.norms = {name: gradient.norm() for name, gradient in self.gradients.items()}
        self._factors = {
            name: _factors(gradient, rank, generator) for name, gradient in self.gradients.items() if gradient.ndim == 2
        }

    def products(
        self, gradients: Mapping[str, Gradient], *, exact: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """<g, G> and |g|^2 [candidates, parameters], and |G| [parameters].

        Args:
            gradients: of the candidates.
            exact: whether to multiply in fp64.
        """
        inner, squares = [], []
        for name in self.gradients:
            given = _doubled(gradients[name]) if exact else gradients[name]
            if isinstance(given, Outer):
                left, right = self._factors[name]
                turned = given.inputs if right is None else given.inputs @ right.to(given.inputs).T
                inner.append((given.deltas @ left.to(given.deltas) * turned).sum(dim=(1, 2)))
                squares.append(given.squares())
            else:
                inner.append(given.flatten(1) @ self.gradients[name].flatten().to(given))
                squares.append(given.square().flatten(1).sum(dim=1))
        return torch.stack(inner, 1), torch.stack(squares, 1), torch.stack(list(self.norms.values()))

    def cosine(self, gradients: Mapping[str, Gradient]) -> torch.Tensor:
        """Mean over parameters of 1 - cos(g, G) [candidates]."""
        inner, squares, norms = self.products(gradients)
        return (1 - inner / (squares.clamp_min(1e-30).sqrt() * norms)).mean(dim=1)

    def squared(self, gradients: Mapping[str, Gradient]) -> torch.Tensor:
        """Sum over parameters of |g - G|^2 [candidates].

        Computed in fp64 as |g|^2 - 2 <g, G> + |G|^2: in fp32, nothing but rounding would be left near the truth.
        """
        inner, squares, _ = self.products(gradients, exact=True)
        whole = torch.stack([one.double().square().sum() for one in self.gradients.values()])
        return (squares - 2 * inner + whole).sum(dim=1).to(next(iter(self.gradients.values())).dtype)

    def absolute(self, gradients: Mapping[str, Gradient]) -> torch.Tensor:
        """Sum over parameters of the entries' |g - G| [candidates]. It does not factor: every gradient is formed."""
        parts = []
        for name, target in self.gradients.items():
            given = gradients[name]
            formed = given.formed() if isinstance(given, Outer) else given
            parts.append((formed - target).abs().flatten(1).sum(dim=1))
        return torch.stack(parts, 1).sum(dim=1)

    def residual(self, gradients: Mapping[str, Gradient]) -> torch.Tensor:
        """|g - G| / |G| over all parameters together [candidates], from formed gradients: exact to fp32."""
        parts = []
        for name, target in self.gradients.items():
            given = gradients[name]
            formed = given.formed() if isinstance(given, Outer) else given
            parts.append((formed - target).square().flatten(1).sum(dim=1))
        whole = torch.stack(list(self.norms.values())).norm()
        relative: torch.Tensor = torch.stack(parts, 1).sum(dim=1).sqrt() / whole
        return relative


def _factors(matrix: torch.Tensor, rank: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Q and Q^T G where G is of that rank, or G and None.

    Source: Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.1. Deviations: none.
    """
    outputs, inputs = matrix.shape
    if 2 * rank * (outputs + inputs) > outputs * inputs:
        return matrix, None
    directions = torch.randn(inputs, rank + 4, generator=generator, dtype=matrix.dtype)
    basis = torch.linalg.qr(matrix @ directions).Q  # [outputs, rank + 4]
    right = basis.T @ matrix  # [rank + 4, inputs]
    rest = (matrix - basis @ right).norm()
    return (basis, right) if rest <= _LOW_RANK * matrix.norm() else (matrix, None)


def first_linear(module: nn.Module) -> str:
    """Name of the first linear layer: in a transformer, what stands right behind the embeddings and their norm."""
    names: list[str] = [name for name, part in module.named_modules() if is_linear(part)]
    return names[0]


def _doubled(gradient: Gradient) -> Gradient:
    if isinstance(gradient, Outer):
        return Outer(gradient.deltas.double(), gradient.inputs.double())
    return gradient.double()


def _entries(table: nn.Embedding, ids: list[torch.Tensor], derived: list[torch.Tensor], count: int) -> torch.Tensor:
    """A table's gradients [candidates, entries, width], from the ids that were looked up [rows or 1, tokens]."""
    total = derived[0].new_zeros(count, table.num_embeddings, table.embedding_dim)
    for used, delta in zip(ids, derived, strict=True):
        each = delta.reshape(count, -1, delta.shape[-1])  # [candidates, texts * tokens, width]
        texts = used.expand(len(delta), -1)[: len(delta) // count]  # masks, and so positions, are all candidates' own
        total = total.index_add(1, texts.flatten(), each)
    return total


def _joined(calls: list[torch.Tensor], count: int) -> torch.Tensor:
    """One tensor [count, tokens, size] of what a module's calls saw; no copy of a single one."""
    parts = [one.reshape(count, -1, one.shape[-1]) for one in calls]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _added(part: nn.Module, words: nn.Module) -> bool:
    """Whether it looks up what is added to word embeddings."""
    return isinstance(part, nn.Embedding) and part is not words and part.embedding_dim == words.embedding_dim


def _parameters(part: nn.Module) -> tuple[str, ...]:
    """Which of a module's parameters the factors give the gradients of."""
    return ("weight", "bias") if is_linear(part) or is_norm(part) else ()
