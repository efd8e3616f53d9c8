"""Evidence: what an attack has that is asked after training, and the records that it may be asked about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.privacy import Unit
from fedsec.api.setup import TrainingSettings
from fedsec.api.threat import Knowledge
from fedsec.api.views import ReleasedView, RoundView, Tokens, Train
from fedsec.api.work import Limited

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record about which membership is asked: drawn by a coin into a client's data, or withheld.

    Candidates come in an order that is independent of membership.
    """

    text: str
    label: int
    """The record's own label: an adversary that asks about a record has all of it."""
    prompt: str
    tokens: Tokens
    """The record as the model gets it, special tokens included, truncated to `data.max_tokens`."""
    learned_from: int | None = None
    """For a causal language model: the index in `tokens` of the first token that is learned."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A record that an audit plants or withholds: it has no text, and its gradient is one direction that never changes.

    A coin decides whether its client trains on it; the canaries' order and places were drawn before.
    """

    client: int
    """The client that trains on it if it is planted."""
    place: int
    """The only trained parameter at which its gradient is not 0, an index in the flat vector. No two of a client share
    one, and no two at all where there are as many parameters as canaries."""
    norm: float
    """The gradient there, before a defense clips it."""
    unit: Unit = Unit.RECORD
    """Whether it is one record of its client, or all of the client: its update is then that direction, or zero."""


class TrainShadows(Protocol):
    """Training of models like the released one, each on candidates of its own."""

    def __call__(self, included: "torch.Tensor", like: float) -> "torch.Tensor":
        """Return the parameters of each model after training [shadows, parameters].

        They start from the base model and are trained in one place by the clients' optimizer, learning rate and batch
        size, on nothing but their candidates, until they know candidates as well as the released model does: what is
        trained less or longer than the victim tells little of it. Asked again for the same, it gives the same at once.

        Args:
            included: which candidates each model trains on, bool [shadows, candidates]; at least one each.
            like: mean probability that the released model gives to candidates' own labels, or to their learned tokens
                (the exponential of minus the mean loss), at which training ends.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Limited):
    """Everything that an attack has when it is asked after training.

    There is one resident model: `at`, `released` and `ask` each load it, so only the module of the latest view is
    valid.
    """

    rounds: tuple[int, ...]
    """Numbers of the rounds that may be seen (`threat.attack_rounds`), in their order."""
    at: Callable[[int], RoundView]
    """Gives what the position sees of one of these rounds; read from disk, so keep no more than one."""
    clients: tuple[int, ...] = ()
    """Clients whose single updates are seen in at least one of these rounds, ascending, whether these rounds are kept
    or were observed; empty where single updates stay hidden. Scores about each client have a column for each."""
    released: Callable[[], ReleasedView] | None
    """Gives the released model when called; None for a position that does not get it."""
    ask: "Callable[[torch.Tensor, tuple[Tokens, ...]], list[torch.Tensor]] | None"
    """Gives what the model would answer with other parameters [parameters] and no defense: those of a global model that
    was seen, or `base-model`. None for a position that sees no model."""
    question: Any
    """What the goal asks about, such as candidates; None where it asks for texts."""
    classes: tuple[str, ...]
    """Names of the labels; empty without labels."""
    tokenizer: Any
    training: TrainingSettings
    simulate: "Train | None" = None
    """Trains on any samples by the clients' protocol, in one place; None for a position that is not granted
    `base-model`."""
    shadows: "TrainShadows | None" = None
    """Trains models like the released one on candidates of the attack's choice; None as for `simulate`, and without
    candidates."""
    granted: Mapping[Knowledge, Any]
    """Side knowledge that belongs to no single round, as a `Granted`. `client-texts-distribution`: a tuple of
    `Candidate`, records of the clients' kind that nobody holds and that resemble no candidate."""
    generator: "torch.Generator"
