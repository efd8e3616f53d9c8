"""The goal `backdoor`: the model answers the adversary's target on triggered texts, and correctly elsewhere."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsec.api import (
    BetterFor,
    Compared,
    Evidence,
    MetricValue,
    Probe,
    Sample,
    Scored,
    Stage,
    Staged,
    Triggered,
    Truth,
    Watched,
)
from fedsec.errors import FedsecError
from fedsec.metrics import backdoor
from fedsec.metrics.stats.intervals import over_seeds, paired_difference, wilson

LIFT = "robustness/asr-lift"
_TRIGGERED, _UNTRIGGERED = "triggered", "untriggered"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The staged probes."""

    rows: tuple[int, ...]
    """Test row of each triggered probe."""
    targets: tuple[int, ...]
    """The class that the trigger is to bring out."""
    of_target: int
    """Number of probes that are left out because the target is their own class."""
    cut: int
    """Number of probes whose trigger is lost to truncation, at least in part; they count."""


class Backdoor:
    """Asks for the trigger on every test text before training, and watches what the model makes of it.

    Source: DESIGN section 4; Chen et al., BadNL, ACSAC 2021, section 5 (attack success rate over texts of other
        classes). Deviations: success is held against the same texts of the same model without the trigger: a model that
        says the target of everything has no backdoor.
    """

    def stage(self, stage: Stage) -> Staged:
        """Stage the probes with their trigger, without those whose own class is the target."""
        probes = tuple(Probe(one.text, one.prompt) for one in stage.test)
        found = stage.attack.triggered(probes, stage.view)
        _check(found, len(probes), len(stage.classes), stage.label)
        kept = [row for row, one in enumerate(found) if one.target != stage.test[row].label]
        if not kept:
            raise FedsecError(f"{stage.label}: every test text is of the class that its trigger is to bring out")
        texts = tuple(Sample(found[row].text, prompt=found[row].prompt) for row in kept)
        plain = [stage.test[row] for row in kept]
        cut = sum(_cut(*ids) for ids in zip(stage.whole(plain), stage.whole(texts), stage.tokenise(texts), strict=True))
        about = _Kept(tuple(kept), tuple(found[row].target for row in kept), len(found) - len(kept), cut)
        return Staged(watched={_TRIGGERED: texts}, kept=about)

    def ask(self, attack: Any, evidence: Evidence) -> Any:
        """Never called: the model answers."""
        raise NotImplementedError

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Any:
        """Return a mark for the model's answers without the trigger, which the truth holds."""
        return _UNTRIGGERED

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return success with the trigger and without, on the same texts of the same model."""
        about: _Kept = truth.kept
        rows, targets = np.array(about.rows), np.array(about.targets)
        labels = np.array([truth.labels[row] for row in about.rows])
        base = [truth.predicted[row] for row in about.rows]
        untriggered = Watched((), tuple(base))
        watched = untriggered if answer == _UNTRIGGERED else truth.watched.get(_TRIGGERED, untriggered)
        metrics = backdoor.rates(watched.final, base, targets, labels)
        notes = {
            "rows": [int(row) for row in rows],
            "targets": [int(target) for target in targets],
            "hits": backdoor.hits(watched.final, targets),
            "base": backdoor.hits(base, targets),
            "left_out": about.of_target,
            "cut": about.cut,
            "curves": _curves(truth, watched, about),
        }
        return Scored(metrics=metrics, notes=notes)


def compare(seeds: Sequence[Compared]) -> dict[str, MetricValue]:
    """`robustness/asr-lift`: success with the trigger less the rate without it, on the same rows of the same model.

    The best that a backdoor can do is to turn every text that the same defense's control does not send to the target
    by itself.

    Args:
        seeds: a cell beside its controls, for each seed.
    """
    known = [(one, notes) for one in seeds if (notes := one.cell.get("notes") or {}).get("hits")]
    if not known:
        return {}
    mean, interval = paired_difference([np.subtract(notes["hits"], notes["base"]) for _, notes in known])
    floors = [_floor(one.control, notes) for one, notes in known]
    scale: dict[str, Any] = {}
    if all(floor is not None for floor in floors):
        rooms = [1.0 - floor for floor in floors if floor is not None]
        within = [
            wilson(round(room * len(notes["hits"])), len(notes["hits"]))
            for room, (_, notes) in zip(rooms, known, strict=True)
        ]
        low = within[0].low if len(within) == 1 else over_seeds(rooms, within).low
        scale = {"chance": 0.0, "best": float(np.mean(rooms)), "best_low": low}
    return {
        LIFT: MetricValue(
            value=mean,
            unit="fraction",
            better_for=BetterFor.ATTACKER,
            n=sum(len(notes["hits"]) for _, notes in known),
            ci_low=interval.low,
            ci_high=interval.high,
            method=interval.method,
            left_out=sum(notes.get("left_out", 0) for _, notes in known),
            **scale,
        )
    }


def _floor(control: Mapping[str, Any] | None, notes: Mapping[str, Any]) -> float | None:
    """Return how often the control answers the target on these rows; None without a control on the same rows."""
    predicted = (control or {}).get("predicted") or []
    if not predicted or max(notes["rows"]) >= len(predicted):
        return None
    sent = [predicted[row] == target for row, target in zip(notes["rows"], notes["targets"], strict=True)]
    return float(np.mean(sent))


def _check(found: Any, count: int, classes: int, label: str) -> None:
    """Raise FedsecError with the plug-in's name unless each probe has a text and a target."""
    if not isinstance(found, tuple) or len(found) != count or not all(type(one) is Triggered for one in found):
        raise FedsecError(f"{label}.triggered() must return a tuple of {count} Triggered, one for each probe")
    for one in found:
        if not isinstance(one.text, str) or not isinstance(one.prompt, str):
            raise FedsecError(f"{label}.triggered() returned a probe whose text is no text")
        if type(one.target) is not int or not 0 <= one.target < classes:
            raise FedsecError(f"{label}.triggered() has the target {one.target!r:.40}; classes are 0 to {classes - 1}")


def _cut(plain: Sequence[int], whole: Sequence[int], seen: Sequence[int]) -> bool:
    """Return whether truncation removes a token of the trigger: one that the text itself has less often."""
    lost, brought = Counter(whole) - Counter(seen), Counter(whole) - Counter(plain)
    return any(Counter(seen)[token] <= Counter(plain)[token] and lost[token] for token in brought)


def _curves(truth: Truth, watched: Watched, about: _Kept) -> dict[str, list[list[float]]]:
    """Return success with and without the trigger at every evaluation."""
    plain = dict(truth.curve)
    found: dict[str, list[list[float]]] = {"with the trigger": [], "without": []}
    for number, classes in watched.curve:
        hit = np.mean([one == target for one, target in zip(classes, about.targets, strict=True)])
        found["with the trigger"].append([number, float(hit)])
        if number in plain:
            pairs = zip(about.rows, about.targets, strict=True)
            found["without"].append([number, float(np.mean([plain[number][row] == target for row, target in pairs]))])
    return found
