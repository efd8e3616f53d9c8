"""The goal `untargeted`: ruin the model for everybody."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedsec.api import BetterFor, Compared, Evidence, MetricValue, Scored, Stage, Staged, Truth
from fedsec.metrics.stats.intervals import Interval, over_seeds, paired_difference

DROP = "robustness/utility-drop"
_RIGHT = ("utility/accuracy", "utility/next-token-accuracy")


class Untargeted:
    """Asks nothing: what an attack does to the model shows beside the same training without it.

    Source: none. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Stage nothing."""
        return Staged()

    def ask(self, attack: Any, evidence: Evidence) -> Any:
        """Never called."""
        raise NotImplementedError

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Any:
        """Return None: an adversary that does nothing does no harm."""
        return None

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return nothing, since one training shows no drop; `compare` computes it."""
        return Scored(metrics={})


def compare(seeds: Sequence[Compared]) -> dict[str, MetricValue]:
    """`robustness/utility-drop`: what the model does right less often than under the same defense without the attack.

    Paired by test row. No harm is done where the model is as good as the undefended one that nobody attacks, so that a
    defense which ruins the model by itself is not called safe: the drop at which that is so is `chance`. All harm is
    done where it is no better than a constant answer: that drop is `best`.

    Args:
        seeds: a cell beside its controls, for each seed; those without a control are passed over.
    """
    pairs = [one for one in seeds if one.control is not None and _length(one.control) == _length(one.cell) > 0]
    if not pairs:
        return {}
    mean, interval = paired_difference([_right(one.control) - _right(one.cell) for one in pairs])
    return {
        DROP: MetricValue(
            value=mean,
            unit="fraction",
            better_for=BetterFor.ATTACKER,
            n=sum(_length(one.cell) for one in pairs),
            ci_low=interval.low,
            ci_high=interval.high,
            method=interval.method,
            **_scale(pairs, mean),
        )
    }


def _scale(pairs: Sequence[Compared], drop: float) -> dict[str, Any]:
    """Return chance, best, the lower end of best, and the interval of the drop less chance.

    The drop less chance is what the model does right less often than the undefended one that nobody attacks, which
    has test rows and seeds of its own to differ by. Nothing where that one is missing.
    """
    controls = [(_utility(one.plain), _utility(one.control)) for one in pairs]
    known = [(plain, same) for plain, same in controls if plain is not None and same is not None]
    if len(known) < len(pairs):
        return {}
    good, constant = [plain["value"] for plain, _ in known], float(np.mean([plain["baseline"] for plain, _ in known]))
    own = float(np.mean([same["value"] for _, same in known]))
    within = [Interval(plain["ci_low"], plain["ci_high"], "") for plain, _ in known]
    low = within[0].low if len(within) == 1 else over_seeds(good, within).low
    chance = own - float(np.mean(good))
    scale = {"chance": chance, "best": own - constant, "best_low": chance + low - constant}
    if any(_length(one.plain) != _length(one.cell) for one in pairs):
        return scale
    mean, interval = paired_difference([_right(one.plain) - _right(one.cell) for one in pairs])
    moved = drop - chance - mean  # by rounding, or where rows count by their tokens
    return {**scale, "gain_low": interval.low + moved, "gain_high": interval.high + moved}


def _utility(content: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the share of right answers, if the cell has it beside that of a constant answer."""
    metrics = {} if content is None else content["cell"]["metrics"]
    found = next((metrics[name] for name in _RIGHT if name in metrics), None)
    usable = found is not None and found["value"] is not None and "baseline" in found and found["ci_low"] is not None
    return found if usable else None


def _right(content: Mapping[str, Any] | None) -> np.ndarray:
    """Return how right the model was on each test row: 0 or 1, or the share of a text's tokens."""
    content = content or {}
    if content.get("correct"):
        return np.array([character == "1" for character in content["correct"]], dtype=float)
    return np.array(content.get("right") or (), dtype=float)


def _length(content: Mapping[str, Any] | None) -> int:
    return 0 if content is None else len(content.get("correct") or content.get("right") or ())
