"""Cell files as a run writes them, made by hand."""

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from fedsec.metrics.stats.intervals import wilson
from fedsec.report.scorecard import build

Content = dict[str, Any]

RECORD: dict[str, Any] = {
    "schema": 1,
    "scenario": "tests/report",
    "summary": "What can a curious server read, and does freezing the embeddings help?",
    "cells": [],
    "python": "3.11.9",
    "packages": {"fedsec": "0.1.0", "torch": "2.13.0", "rouge-score": None},
    "git": {"commit": "a" * 40, "dirty": True},
    "machine": "x86_64",
    "cores": 2,
    "threads": 2,
    "device": "cpu",
    "randomness": "seeded",
}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "]]> --> </style></svg></title><!--",
    "\u202egnp.exe\u202c \u200bhidden\u200b \u2066isolated\u2069",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x9b",
    "\ud800 half a character",
    "javascript:alert(1) &lt;b&gt; &#60;i&#62;",
    r"$\frac{1}{$ \textbf{x} $$",
    "W" * 3000,
    "",
)
"""What clients, plug-ins and scenario authors may call things or send."""


CONSTANT = 0.1
"""The accuracy of a constant answer."""


def fraction(
    value: float, n: int, better_for: str = "attacker", baseline: float | None = None, **more: Any
) -> dict[str, Any]:
    """A rate with Wilson's interval, as it stands in a cell."""
    low, high, method = wilson(value * n, n)
    metric = {
        "value": value,
        "unit": "fraction",
        "better_for": better_for,
        "n": n,
        "ci_low": low,
        "ci_high": high,
        "method": method,
    }
    return {**metric, **({} if baseline is None else {"baseline": baseline}), **more}


def nothing(unit: str = "fraction", better_for: str = "attacker") -> dict[str, Any]:
    """A metric for which nothing could count."""
    missing = {"value": None, "n": 0, "ci_low": None, "ci_high": None, "method": "none"}
    return {"unit": unit, "better_for": better_for, **missing}


def accuracy(value: float, n: int) -> dict[str, Any]:
    """The accuracy of a model, with that of a constant answer beside it."""
    return fraction(value, n, "defender", CONSTANT)


def cost(value: float, unit: str) -> dict[str, Any]:
    """A cost, which has no interval."""
    return {
        "value": value,
        "unit": unit,
        "better_for": "neither",
        "n": 3,
        "ci_low": None,
        "ci_high": None,
        "method": "none",
    }


def leakage(exact: float, overlap: float, n: int = 10, guess: float = 0.0) -> dict[str, Any]:
    """What a reading attack got, and what a guess gets."""
    return {
        "leakage/exact-match": fraction(exact, n, baseline=guess, chance=guess, best=1.0),
        "leakage/rouge-l": fraction(overlap, n, baseline=0.05, chance=0.05, best=1.0),
        "cost/attack-seconds": cost(1.5, "seconds"),
    }


def membership(auc: float, blind: float = 0.5, found: float = 0.8, n: int = 400) -> dict[str, Any]:
    """What an attack on membership got, and what the blind attack gets."""
    detail = {"realised-fpr": 0.005, "threshold": -1.25, "true-positives": found * n / 2, "members": n / 2}
    return {
        "membership/auc": fraction(auc, n, baseline=blind, chance=max(0.5, blind), best=1.0),
        "membership/blind-auc": fraction(blind, n),
        "membership/tpr@fpr=0.01": fraction(found, n // 2, baseline=0.01, detail=detail),
    }


def free_ride(weight: float | None, fair: float = 0.2, rounds: int = 10) -> dict[str, Any]:
    """The weight that free-riders got; nothing where the rule gives nobody a weight."""
    name = "robustness/free-ride-weight"
    return {name: nothing() if weight is None else fraction(weight, rounds, chance=0.0, best=fair)}


def backdoor(hits: Sequence[int], base: Sequence[int]) -> dict[str, Any]:
    """Success of a trigger on as many test rows, and without it."""
    return {
        "robustness/attack-success-rate": fraction(sum(hits) / len(hits), len(hits)),
        "robustness/untriggered-rate": fraction(sum(base) / len(base), len(base), "neither"),
    }


def planted(hits: Sequence[int], base: Sequence[int], correct: str = "1110", **fields: Any) -> Content:
    """The file of a cell with a backdoor whose target is class 0, and its notes: its rows are the test set's first."""
    content = trained(correct, position="client", goal="backdoor", metrics=backdoor(hits, base), **fields)
    rows = list(range(len(hits)))
    curves = {"with the trigger": [[0, 0.02], [2, 0.4], [4, 0.9]], "without": [[0, 0.02], [2, 0.03], [4, 0.04]]}
    notes = {"rows": rows, "targets": [0] * len(rows), "hits": list(hits), "base": list(base), "curves": curves}
    return {**content, "notes": notes}


def head(attack: str = "none", defense: str = "none", seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A cell as it stands in the scorecard."""
    acts = fields.get("position") == "client"
    goal = None if attack == "none" else "untargeted" if acts else "reconstruction"
    stack = [] if defense == "none" else [{"name": name.partition("(")[0], "params": {}} for name in defense.split("+")]
    return {
        "attack": attack,
        "defense": defense,
        "goal": goal,
        "acts": acts and fields.get("status", "ok") == "ok",
        "seed": seed,
        "settings": {},
        "attack_params": {},
        "defense_stack": stack,
        "position": None if attack == "none" else "server",
        "knowledge": [],
        "adaptive": False,
        "status": "ok",
        "reason": None,
        "guarantee": None,
        "metrics": {},
        **fields,
    }


def trained(
    correct: str = "1110",
    *,
    curve: Sequence[float] | None = None,
    rounds: Sequence[Mapping[str, Any]] | None = None,
    malicious: Sequence[int] = (),
    texts: list[dict[str, Any]] | None = None,
    metrics: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Content:
    """The file of a cell that ran.

    Args:
        correct: one digit per test row; the accuracy follows from it.
        curve: accuracies from the untrained model on.
        rounds: entries to use in place of two uneventful rounds of three clients.
        malicious: clients.
        texts: originals and what was recovered, if they were kept.
        metrics: beyond accuracy and costs.
        fields: of the cell.
    """
    right = correct.count("1") / len(correct)
    own = {
        "utility/accuracy": accuracy(right, len(correct)),
        "cost/upload-bytes": cost(91_000_000, "bytes"),
        "cost/seconds-per-round": cost(0.25, "seconds"),
        **(metrics or {}),
    }
    heights = [0.2, right] if curve is None else curve
    return {
        "cell": head(**{"metrics": dict(sorted(own.items())), **fields}),
        "curve": [[2 * index, height, 1.0] for index, height in enumerate(heights)],
        "rounds": [round_of(1), round_of(2)] if rounds is None else list(rounds),
        "correct": correct,
        "predicted": [1] * len(correct),
        "malicious": list(malicious),
        "texts": texts,
    }


def not_run(status: str, reason: str, **fields: Any) -> Content:
    """The file of a cell that has no metrics."""
    return {"cell": head(**{"status": status, "reason": reason, **fields})}


def round_of(
    number: int,
    weights: Sequence[float] | None = (1 / 3, 1 / 3, 1 / 3),
    *,
    clients: Sequence[int] = (0, 1, 2),
    rejected: Mapping[int, str] | None = None,
    skipped: str | None = None,
    measurements: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """A round as a cell file holds it."""
    return {
        "round": number,
        "clients": list(clients),
        "loss": 1.0,
        "rejected": [{"client": client, "reason": reason} for client, reason in (rejected or {}).items()],
        "weights": None if weights is None else list(weights),
        "skipped": skipped,
        "measurements": dict(measurements or {}),
        "seconds": 0.25,
    }


def text(original: str, recovered: str | None, client: int = 0) -> dict[str, Any]:
    """A text beside what was recovered of it."""
    exact = original == recovered
    return {"client": client, "original": original, "recovered": recovered, "exact": exact, "verified": exact}


def plausible() -> list[Content]:
    """A run with everything in it: every status, two seeds, two settings, texts, rejections, trust."""
    return [cell for setting in (1, 24) for seed in (0, 1) for cell in _one_setting(setting, seed)]


def of_every_goal() -> list[Content]:
    """A run with attacks of many goals, among them such whose harm is undefined."""
    good, fair, lazy = ("1" * right + "0" * (200 - right) for right in (166, 160, 150))
    hits, base = [1] * 90 + [0] * 10, [1] * 5 + [0] * 95
    clip = [round_of(r, measurements={"dp-lora/clip-fraction": 0.9 - r / 10}) for r in (1, 2, 3)]
    own: dict[str, Any] = {"attack": "gradient-cosine", "goal": "membership", "position": "server"}
    rider: dict[str, Any] = {"attack": "lazy", "goal": "free-ride", "position": "client"}
    same: dict[str, Any] = {"attack": "badnets"}
    flat = "1" * 22 + "0" * 178
    return [
        trained(good, start={"rows": 200, "steps": 50}),
        trained(fair, defense="dp-lora", rounds=clip),
        trained(flat, defense="noise"),
        trained(good, metrics=membership(0.985), **own),
        trained(fair, metrics=membership(0.55, found=0.03), defense="dp-lora", rounds=clip, **own),
        trained(flat, metrics={name: nothing() for name in membership(0.5)}, defense="noise", **own),
        planted(hits, base, fair, malicious=[1], **same),
        planted(base, base, lazy, defense="dp-lora", malicious=[1], **same),
        not_run("n/a", "needs a label", defense="noise", goal="backdoor", **same),
        trained(fair, metrics=free_ride(0.2), **rider),
        trained(lazy, metrics=free_ride(None), defense="dp-lora", **rider),
        trained(flat, metrics=free_ride(0.0), defense="noise", **rider),
        trained(good, attack="dager", metrics=leakage(0.4, 0.71), texts=[text("one two", "one three")]),
        trained(fair, attack="dager", defense="dp-lora", metrics=leakage(0.0, 0.04)),
        trained(flat, attack="dager", defense="noise", metrics=leakage(0.0, 0.0, guess=0.97)),
        trained(flat, attack="sign-flip", position="client"),
        trained(flat, attack="sign-flip", defense="dp-lora", position="client"),
        trained(flat, attack="sign-flip", position="client", defense="bulyan"),
    ]


def _one_setting(setting: int, seed: int) -> list[Content]:
    same: dict[str, Any] = {"settings": {"threat.attack_rounds": setting}, "seed": seed}
    good, fair, poor = ("1" * k + "0" * (200 - k) for k in (166 + seed, 150 - seed, 70 + 9 * seed))
    up = [0.17, 0.5 + seed / 20, 0.7, 0.81, 0.83]
    down = [0.17, 0.4, 0.3 - seed / 20, 0.33, 0.35]
    texts = [
        text(f"Patient {i} reports chest pain since Monday, call 555-01{i:02}.", f"Patient {i} reports chest pain", i)
        for i in range(42)
    ]
    frozen = "frozen-embeddings removes the word embeddings' part of an update"
    picks = [round_of(r, [float(i == r % 3) for i in range(3)]) for r in range(1, 8)]
    noisy = [round_of(1, [0.5, 0.5], rejected={1: "not finite"}), round_of(2, None, skipped="Krum needs n >= 5, has 3")]
    flip: dict[str, Any] = {"attack": "sign-flip(scale=10)", "attack_params": {"scale": 10.0}, "position": "client"}
    proof = {"kind": "robustness", "assumes": "n >= 2f+3 rows"}
    read, left = leakage(1.0 - setting / 200, 1.0 - setting / 400), leakage(0.0, 0.05)
    return [
        trained(good, curve=up, **same),
        trained(fair, curve=[y - 0.07 for y in up], defense="frozen-embeddings", **same),
        trained(fair, curve=[y - 0.04 for y in up], defense="krum", rounds=picks, guarantee=proof, **same),
        trained(good, curve=up, attack="embedding-algebra", metrics=read, texts=texts, **same),
        trained(
            fair,
            curve=[y - 0.07 for y in up],
            attack="embedding-algebra",
            defense="frozen-embeddings",
            status="blocked",
            reason=frozen,
            metrics=left,
            texts=[text("a b c", "x y z")],
            **same,
        ),
        trained(
            fair,
            curve=[y - 0.04 for y in up],
            attack="embedding-algebra",
            defense="krum",
            adaptive=True,
            metrics=leakage(0.0, 0.6),
            **same,
        ),
        trained(poor, curve=down, rounds=noisy, malicious=[1], **flip, **same),
        not_run("error", "RuntimeError: out of memory", defense="frozen-embeddings", **flip, **same),
        trained(fair, curve=up, defense="krum", rounds=picks, malicious=[2], guarantee=proof, **flip, **same),
        trained(good, curve=up, attack="dager", metrics=leakage(0.4, 0.71), texts=[text("one two", None)], **same),
        trained(
            fair,
            curve=[y - 0.07 for y in up],
            attack="dager",
            defense="frozen-embeddings",
            metrics=leakage(0.2, 0.4),
            **same,
        ),
        not_run("n/a", "Krum (Blanchard) needs n >= 2f+3 = 13, has 10", attack="dager", defense="krum", **same),
    ]


def scored(contents: Sequence[Content], **record: Any) -> tuple[dict[str, Any], dict[str, Any], Sequence[Content]]:
    """The arguments of `render`."""
    full = {**RECORD, "cells": ["f" * 16] * len(contents), **record}
    return full, build(full["scenario"], "0123456789abcdef", contents), contents


def rows_of(*contents: Content) -> list[dict[str, Any]]:
    """The scorecard's summary of these cells."""
    rows: list[dict[str, Any]] = scored(contents)[1]["summary"]
    return rows


_VOID = {"meta", "line", "use", "path", "br"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All of its text, white space made plain."""
        return " ".join(" ".join(self.words).split())
