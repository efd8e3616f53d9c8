"""The steps of a round that a plug-in can take part in: one small protocol each, one method each.

A plug-in implements those that it needs; the engine calls them in the order of DESIGN section 3 and never asks who
is malicious. Malicious clients are ordinary clients with more hooks. A plug-in is recognised by its methods; one
that has none of them is refused.
"""

from typing import TYPE_CHECKING, Protocol

from fedsec.api.views import ClientView, Mixed, ModelSetup, Reconstruction, RoundContext, ServerView, Update

if TYPE_CHECKING:
    import torch

    from fedsec.maths.rows import Rows


class ModelHook(Protocol):
    """Step 0: change what is trainable or how it trains."""

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """The setup to use instead; must not add parameters that `setup.parameters` does not list."""
        ...


class UpdateHook(Protocol):
    """Step 4: an update leaves a client; an honest protection or a malicious client's forging.

    Every client has an instance of its own.
    """

    def on_update(self, update: Update, view: ClientView) -> Update:
        """The update to send instead; a malicious client's view is a `ColluderView`."""
        ...


class Filter(Protocol):
    """Step 6a: mix, weigh or drop rows before the rule."""

    def mix(self, rows: "Rows", context: RoundContext) -> Mixed:
        """What is left for the next filter, or for the rule."""
        ...


class WeightRule(Protocol):
    """Step 6b: the rule that turns rows into one update, by weights."""

    def weights(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """Weights over the rows [kept], fp64, finite; the update is their weighted sum."""
        ...


class VectorRule(Protocol):
    """Step 6b: the rule that turns rows into one update, coordinate by coordinate."""

    def vector(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """The update itself [parameters], fp32, finite."""
        ...


class Reconstructor(Protocol):
    """A curious server that reads clients' texts out of a round."""

    def reconstruct(self, view: ServerView) -> list[Reconstruction]:
        """Claimed texts, at most as many per client as its batch holds; must not change the view."""
        ...


METHODS = ("setup_model", "on_update", "mix", "weights", "vector", "reconstruct")
"""The hooks' method names, in the order of a round."""


def implements(plugin: object, method: str) -> bool:
    """Whether a plug-in has that hook: a method of its class, not a field of the same name."""
    return callable(getattr(type(plugin), method, None))
