"""The steps of a round that a plug-in can take part in: one small protocol each, one method each.

A plug-in implements those that it needs; the engine calls them in the order of DESIGN section 3 and never asks who
is malicious. Malicious clients are ordinary clients with more hooks.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fedsec.api.views import ClientView, ModelSetup, Reconstruction, RoundContext, ServerView

if TYPE_CHECKING:
    import torch

    from fedsec.maths.rows import Rows


@runtime_checkable
class ModelHook(Protocol):
    """Step 0: change what is trainable or how it trains."""

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """The setup to use instead; must not add parameters that `setup.parameters` does not list."""
        ...


@runtime_checkable
class UpdateHook(Protocol):
    """Step 4: an update leaves a client; an honest protection or a malicious client's forging."""

    def on_update(self, update: "torch.Tensor", view: ClientView) -> "torch.Tensor":
        """The update to send instead [parameters], fp32; must not change `update` in place."""
        ...


@runtime_checkable
class Filter(Protocol):
    """Step 6a: mix, weigh or drop rows before the rule."""

    def mixing(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """A mixing matrix [kept, clients], fp64: each kept row as a combination of the rows."""
        ...


@runtime_checkable
class WeightRule(Protocol):
    """Step 6b: the rule that turns rows into one update, by weights."""

    def weights(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """Weights over the rows [kept], fp64; the update is their weighted sum."""
        ...


@runtime_checkable
class Reconstructor(Protocol):
    """A curious server that reads clients' texts out of a round."""

    def reconstruct(self, view: ServerView) -> list[Reconstruction]:
        """Claimed texts, at most as many per client as its batch holds; must not change the view."""
        ...
