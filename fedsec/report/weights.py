"""Whom the aggregation rule trusted: the weight of each client in each round, as a heat-map."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedsec.comparison.rows import NONE
from fedsec.metrics.robustness import LEAST_SHARE
from fedsec.report.chart import MOST_PANELS
from fedsec.report.numbers import percent
from fedsec.report.scorecard import settings_label

_MOST_ROUNDS, _MOST_CLIENTS = 100, 48
_SHARES = (LEAST_SHARE, 0.75, 1.5, 4.0)
"""Of an equal share of a round's weight: where a shade of trust ends and the next begins."""
_ROUNDING = 1e-6
"""By which a sum of weights may miss 1."""
_LEFT, _ROW, _WIDTH, _TOP, _FOOT = 46, 13, 340, 2, 30

Row = Mapping[str, Any]


class Trust(NamedTuple):
    """The weights of one cell's training."""

    rounds: tuple[int, ...]
    """Those that are drawn."""
    lines: tuple[tuple[int, bool, tuple[int | None, ...]], ...]
    """(client, whether it is malicious, its shade in each round, None where it had no part), malicious ones first."""
    notes: tuple[str, ...]
    """What a reader has to know of them."""
    to_malicious: float | None
    """The share of all weight that malicious clients got."""


class HeatMap(NamedTuple):
    """One figure."""

    title: str
    settings: str
    notes: tuple[str, ...]
    svg: str


class HeatMaps(NamedTuple):
    """Figures, how many are left out, and the defenses that give no client a weight."""

    panels: tuple[HeatMap, ...]
    more: int
    coordinates: tuple[str, ...]


def heat_maps(contents: Sequence[Row]) -> HeatMaps:
    """A figure for each attack, defense and setting whose rule did not weigh all alike: of its first seed.

    Args:
        contents: cell files.
    """
    found: dict[tuple[str, str, str], tuple[Row, Trust]] = {}
    coordinates: dict[str, None] = {}
    for content in contents:
        cell = content["cell"]
        key = (settings_label(cell["settings"]), cell["attack"], cell["defense"])
        if key in found or not content.get("rounds"):
            continue
        if by_coordinate(content):
            coordinates.setdefault(cell["defense"])
        elif (trusted := trust(content)) is not None:
            found[key] = cell, trusted
    under_attack_first = sorted(found, key=lambda key: found[key][1].to_malicious is None)
    panels = [
        HeatMap(_title(cell), settings, _notes(trusted), _drawn(trusted))
        for settings, cell, trusted in ((key[0], *found[key]) for key in under_attack_first[:MOST_PANELS])
    ]
    return HeatMaps(tuple(panels), len(found) - len(panels), tuple(coordinates))


def by_coordinate(content: Row) -> bool:
    """Whether the rule decided coordinate by coordinate in every round that it decided, so that nobody has a weight."""
    rounds = content.get("rounds") or ()
    decided = any(e["weights"] is None and not e["skipped"] for e in rounds)
    return decided and all(e["weights"] is None for e in rounds)


def trust(content: Row) -> Trust | None:
    """The weights in a cell file; None if all weighed the same, or nobody has a weight."""
    malicious, shares = set(content.get("malicious") or ()), {}
    for entry in content.get("rounds") or ():
        rejected = {r["client"] for r in entry["rejected"]}
        received = [c for c in entry["clients"] if c not in rejected]
        if entry["weights"] is not None and len(entry["weights"]) == len(received):
            shares[entry["round"]] = dict(zip(received, entry["weights"], strict=True))
    if all(max(w.values(), default=0) - min(w.values(), default=0) < 1e-9 for w in shares.values()):
        return None
    total = sum(abs(w) for weights in shares.values() for w in weights.values())
    to_malicious = sum(abs(w) for weights in shares.values() for c, w in weights.items() if c in malicious)
    # Malicious clients first: they are what a reader looks for, and they must not fall to the cut.
    clients = sorted({c for weights in shares.values() for c in weights}, key=lambda c: (c not in malicious, c))
    shown = sorted(shares)[:_MOST_ROUNDS]
    equal = {r: sum(map(abs, weights.values())) / max(1, len(weights)) for r, weights in shares.items()}
    lines = tuple(
        (c, c in malicious, tuple(_shade(shares[r].get(c), equal[r]) for r in shown)) for c in clients[:_MOST_CLIENTS]
    )
    sums = [sum(weights.values()) for weights in shares.values()]
    notes = []
    if any(abs(value - 1) > _ROUNDING for value in sums):
        notes.append(f"The weights of a round sum to {min(sums):.3g} to {max(sums):.3g}.")
    if any(w < 0 for weights in shares.values() for w in weights.values()):
        notes.append("Some updates were taken away: a weight below 0.")
    for count, what in ((len(shares) - len(shown), "later rounds"), (len(clients) - len(lines), "clients")):
        notes += [f"{count} {what} are left out."] if count else []
    return Trust(tuple(shown), lines, tuple(notes), to_malicious / total if total and malicious else None)


def _shade(weight: float | None, equal: float) -> int | None:
    """0 for a flagged sender, 1 and 2 below and about an equal share, to 4; None for one without a part."""
    return None if weight is None else sum(weight > 0 and weight >= level * equal for level in _SHARES)


def _title(cell: Row) -> str:
    attack = "no attack" if cell["attack"] == NONE else cell["attack"]
    return f"{attack} against {'no defense' if cell['defense'] == NONE else cell['defense']}, seed {cell['seed']}"


def _notes(trusted: Trust) -> tuple[str, ...]:
    got = trusted.to_malicious
    return trusted.notes if got is None else (f"Malicious clients got {percent(got)} of all weight.", *trusted.notes)


def _drawn(trusted: Trust) -> str:
    """The heat-map as an SVG element; a path for each shade keeps it short."""
    across = (_WIDTH - _LEFT) / len(trusted.rounds)
    tall = _TOP + _ROW * len(trusted.lines)
    paths: dict[int, list[str]] = {}
    parts = []
    for place, (client, malicious, shades) in enumerate(trusted.lines):
        middle = _TOP + _ROW * (place + 0.5)
        for start, length, shade in _runs(shades):
            paths.setdefault(shade, []).append(f"M{_LEFT + across * start:.4g} {middle}h{across * length:.4g}")
        look, mark = (' class="malicious"', "✗ ") if malicious else ("", "")
        parts.append(f'<text{look} x="{_LEFT - 5}" y="{middle + 4:g}" text-anchor="end">{mark}{int(client)}</text>')
    drawn = [f'<path class="l{shade}" d="{"".join(steps)}"/>' for shade, steps in sorted(paths.items())]
    every = max(1, -(-len(trusted.rounds) // 8))
    for place in range(0, len(trusted.rounds), every):
        at = _LEFT + across * (place + 0.5)
        parts.append(f'<text x="{at:.4g}" y="{tall + 12}" text-anchor="middle">{int(trusted.rounds[place])}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{tall + 26}" text-anchor="middle">rounds of training</text>')
    box = f'viewBox="0 0 {_WIDTH} {tall + _FOOT}"'
    return f'<svg class="figure heat" {box} role="presentation">{"".join(drawn)}{"".join(parts)}</svg>'


def _runs(shades: Sequence[int | None]) -> list[tuple[int, int, int]]:
    """(first round, rounds, shade) of neighbours alike, without those that had no part."""
    found: list[tuple[int, int, int]] = []
    for place, shade in enumerate(shades):
        if shade is None:
            continue
        if found and found[-1][2] == shade and sum(found[-1][:2]) == place:
            found[-1] = (found[-1][0], found[-1][1] + 1, shade)
        else:
            found.append((place, 1, shade))
    return found
