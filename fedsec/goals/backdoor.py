"""The goal `backdoor`: the model answers the adversary's target on triggered texts, and correctly elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
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

LIFT, LIFESPAN = "robustness/asr-lift", "robustness/lifespan-rounds"
WRITTEN = 1
"""What a causal language model's answer is where it writes the whole target."""
_TRIGGERED, _UNTRIGGERED = "triggered", "untriggered"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The staged probes."""

    rows: tuple[int, ...]
    """Test row of each triggered probe."""
    targets: tuple[int, ...]
    """The class that the trigger is to bring out; of a causal language model `WRITTEN`."""
    of_target: int
    """Number of probes that are left out because the target is their own class."""
    cut: int
    """Number of probes whose trigger is lost to truncation, at least in part; they count."""
    writes: bool = False
    """Whether the targets are texts that the model is to write, and the answers whether it does."""


class Backdoor:
    """Asks for the trigger on every test text before training, and watches what the model makes of it.

    A classifier is to give the target's class; a causal language model is to write the target greedily, to its end.

    Source: DESIGN section 4; Chen et al., BadNL, ACSAC 2021, section 5 (attack success rate over texts of other
        classes). Deviations: success is held against the same texts of the same model without the trigger: a model that
        says the target of everything has no backdoor.
    """

    def stage(self, stage: Stage) -> Staged:
        """Stage the probes with their trigger, without those whose own class is the target."""
        probes = tuple(Probe(one.text, one.prompt) for one in stage.test)
        found = stage.attack.triggered(probes, stage.view)
        writes = stage.task == "causal-lm"
        _check(found, len(probes), None if writes else len(stage.classes), stage.label)
        if writes:
            return _stage_texts(stage, found)
        kept = [row for row, one in enumerate(found) if one.target != stage.test[row].label]
        if not kept:
            raise FedsecError(f"{stage.label}: every test text is of the class that its trigger is to bring out")
        texts = tuple(Sample(found[row].text, prompt=found[row].prompt) for row in kept)
        plain = [stage.test[row] for row in kept]
        about = _Kept(
            rows=tuple(kept),
            targets=tuple(found[row].target for row in kept),
            of_target=len(found) - len(kept),
            cut=_lost(stage, plain, texts),
        )
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
        targets = np.array(about.targets)
        labels = None if about.writes else np.array([truth.labels[row] for row in about.rows])
        untriggered = _without(truth, about)
        base = untriggered.final
        watched = untriggered if answer == _UNTRIGGERED else truth.watched.get(_TRIGGERED, untriggered)
        metrics = backdoor.rates(watched.final, base, targets, labels, guarded=truth.guarded)
        curves = {
            "with the trigger": _curve(watched, about.targets),
            "without": _curve(untriggered, about.targets),
        }
        lived = _lifespan(truth, curves)
        notes = {
            "rows": list(about.rows),
            "targets": list(about.targets),
            "hits": backdoor.hits(watched.final, targets),
            "base": backdoor.hits(base, targets),
            "left_out": about.of_target,
            "cut": about.cut,
            "curves": curves,
        }
        if (
            about.writes
        ):  # no control is asked to write it; the model of the first evaluation is, unless it was supplied
            notes["floor"] = curves["without"][0][1] if curves["without"] and not truth.acted(0) else 0.0
        return Scored(metrics=metrics if lived is None else {**metrics, LIFESPAN: lived}, notes=notes)


def _stage_texts(stage: Stage, found: Sequence[Triggered]) -> Staged:
    """Stage what a causal language model is given, with the trigger and without, and the target as what it is to say.

    Rows whose own text is the target are left out.
    """
    kept = [row for row, one in enumerate(found) if one.target != stage.test[row].text]
    if not kept:
        raise FedsecError(f"{stage.label}: every test text is the one that its trigger is to bring out")
    triggered = tuple(Sample(str(found[row].target), prompt=found[row].prompt) for row in kept)
    plain = tuple(Sample(str(found[row].target), prompt=found[row].untriggered) for row in kept)
    about = _Kept(
        rows=tuple(kept),
        targets=(WRITTEN,) * len(kept),
        of_target=len(found) - len(kept),
        cut=_lost(stage, plain, triggered),
        writes=True,
    )
    return Staged(watched={_TRIGGERED: triggered, _UNTRIGGERED: plain}, kept=about)


def compare(seeds: Sequence[Compared]) -> dict[str, MetricValue]:
    """`robustness/asr-lift`: success with the trigger less the rate without it, on the same rows of the same model.

    The best that a backdoor can do is to turn every text that the same defense's control does not send to the target
    by itself.

    Args:
        seeds: a cell beside its controls, for each seed.
    """
    known = [(one, notes) for one in seeds if _counted(notes := one.cell.get("notes") or {})]
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
            left_out=sum(_left_out(notes) for _, notes in known),
            **scale,
        )
    }


def _counted(notes: Any) -> bool:
    """Return whether the notes of a cell's file hold two answers for each probe; a file may be damaged, or forged."""
    if not isinstance(notes, Mapping):
        return False
    hits, base = notes.get("hits"), notes.get("base")
    if not isinstance(hits, list) or not isinstance(base, list) or not hits or len(hits) != len(base):
        return False
    return all(type(one) is int and one in (0, 1) for one in (*hits, *base))


def _floor(control: Mapping[str, Any] | None, notes: Mapping[str, Any]) -> float | None:
    """Return how often the control answers the target on these rows; None without a control on the same rows.

    Of a causal language model, how often the model of the first evaluation that watches it writes it: the one before
    training, or after the honest rounds that cells share, where `threat.participation.first` is above 1. Where a
    malicious supplier made that one, 0: no clean model is at hand, and hardly any writes a whole continuation unasked.
    """
    if "floor" in notes:
        floor = notes["floor"]
        return float(floor) if type(floor) in (int, float) and 0 <= floor <= 1 else None
    predicted, rows, targets = (control or {}).get("predicted") or [], notes.get("rows"), notes.get("targets")
    if (
        not isinstance(rows, list)
        or not isinstance(targets, list)
        or not len(rows) == len(targets) == len(notes["hits"])
    ):
        return None
    if not all(type(row) is int and 0 <= row < len(predicted) for row in rows):
        return None
    return float(np.mean([predicted[row] == target for row, target in zip(rows, targets, strict=True)]))


def _left_out(notes: Mapping[str, Any]) -> int:
    found = notes.get("left_out", 0)
    return found if type(found) is int and found >= 0 else 0


def _check(found: Any, count: int, classes: int | None, label: str) -> None:
    """Raise FedsecError with the plug-in's name unless each probe has a text and a target.

    Args:
        found: what the plug-in returned.
        count: probes.
        classes: their number; None where targets are texts to write.
        label: the plug-in's.
    """
    if not isinstance(found, tuple) or len(found) != count or not all(type(one) is Triggered for one in found):
        raise FedsecError(f"{label}.triggered() must return a tuple of {count} Triggered, one for each probe")
    for one in found:
        if not all(isinstance(text, str) for text in (one.text, one.prompt, one.untriggered)):
            raise FedsecError(f"{label}.triggered() returned a probe whose text is no text")
        if classes is None:
            if not isinstance(one.target, str) or not one.target.strip():
                raise FedsecError(
                    f"{label}.triggered() has the target {one.target!r:.40}; a causal language model is to write a "
                    "text: give the attack a continuation"
                )
        elif type(one.target) is not int or not 0 <= one.target < classes:
            raise FedsecError(f"{label}.triggered() has the target {one.target!r:.40}; classes are 0 to {classes - 1}")


def _lost(stage: Stage, plain: Sequence[Sample], triggered: Sequence[Sample]) -> int:
    """Return how many triggers truncation takes away, at least in part."""
    ids = zip(stage.whole(plain), stage.whole(triggered), stage.tokenise(triggered), strict=True)
    return sum(_cut(*one) for one in ids)


def _cut(plain: Sequence[int], whole: Sequence[int], seen: Sequence[int]) -> bool:
    """Return whether truncation removes a token of the trigger, from where the trigger stands.

    Args:
        plain: the text without the trigger, whole.
        whole: with it.
        seen: what truncation leaves of that.
    """
    return not _lacking(whole, plain).isdisjoint(_lacking(whole, seen))


def _lacking(whole: Sequence[int], part: Sequence[int]) -> set[int]:
    """Return the places of the tokens that make `whole` of `part`."""
    first = _alike(whole, part)
    last = _alike(whole[first:][::-1], part[first:][::-1])
    middle, rest = whole[first : len(whole) - last], part[first : len(part) - last]
    kept = SequenceMatcher(None, middle, rest, autojunk=False).get_matching_blocks() if rest else []
    found = {place for block in kept for place in range(block.a, block.a + block.size)}
    return {first + place for place in range(len(middle)) if place not in found}


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _without(truth: Truth, about: _Kept) -> Watched:
    """Return what the same model makes of the same texts without the trigger."""
    if about.writes:
        none = Watched((), (0,) * len(about.rows))
        return truth.watched.get(_UNTRIGGERED, none)
    curve = tuple((number, tuple(classes[row] for row in about.rows)) for number, classes in truth.curve)
    return Watched(curve, tuple(truth.predicted[row] for row in about.rows))


def _curve(watched: Watched, targets: Sequence[int]) -> list[list[float]]:
    """Return [round, share of texts that are sent to the target] at every evaluation."""
    return [
        [number, float(np.mean([one == target for one, target in zip(classes, targets, strict=True)]))]
        for number, classes in watched.curve
    ]


def _lifespan(truth: Truth, curves: Mapping[str, list[list[float]]]) -> MetricValue | None:
    """Return how long the backdoor outlives the last hostile round; None if there is none, or nothing after it."""
    supplied = truth.acted(0)  # before the first round, by nobody who takes part in one
    hostile = [one.round for one in truth.rounds if _hostile(truth, one)] if truth.malicious else [0] * supplied
    plain = {int(number): share for number, share in curves["without"]}
    lifts = [(int(n), share - plain[int(n)]) for n, share in curves["with the trigger"] if int(n) in plain]
    return backdoor.lifespan(lifts, max(hostile)) if hostile else None


def _hostile(truth: Truth, summary: Any) -> bool:
    """Return whether a malicious client's message came in a round, of this round or of an earlier, hostile one."""
    made = {summary.round - late for late in (0, *summary.staleness)}
    return not truth.malicious.isdisjoint(summary.clients) and any(map(truth.acted, made))
