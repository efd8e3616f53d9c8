"""Training that failed without an error: honest updates dropped, rounds without a step, a loss that is no number."""

from collections.abc import Mapping, Sequence
from typing import Any

Content = Mapping[str, Any]
"""A cell file."""


def untrained(content: Content) -> str | None:
    """Why a cell's training taught nothing, so that nothing can be held against it; None if it did."""
    found, curve = training_of([content]), content.get("curve") or ()
    if found["rounds"] and found["skipped"] == found["rounds"]:
        return f"the model never moved: {complaint(found)}"
    if curve and curve[-1][2] is None:
        told = complaint(found)
        return f"the model diverged: its loss on the test set is no finite number{f'; {told}' if told else ''}"
    return None


def any_untrained(contents: Sequence[Content]) -> str | None:
    """Why the training of some seeds taught nothing, and in how many of them if not in all; None if all did."""
    reasons = [reason for content in contents if (reason := untrained(content))]
    if not reasons:
        return None
    part = f" (in {len(reasons)} of {len(contents)} seeds)" if len(reasons) < len(contents) else ""
    return f"{reasons[0]}{part}"


def training_of(contents: Sequence[Content]) -> dict[str, Any]:
    """How honest training went over some seeds: updates and rounds, how many came to nothing and why, what was learnt.

    Args:
        contents: cells' files; in those with malicious clients only the messages of the others count.
    """
    rounds = [(one, set(content.get("malicious") or ())) for content in contents for one in content.get("rounds") or ()]
    dropped = [r["reason"] for one, malicious in rounds for r in one["rejected"] if r["client"] not in malicious]
    skipped = [one["skipped"] for one, _ in rounds if one["skipped"]]
    return {
        "updates": sum(len(set(one["clients"]) - malicious) for one, malicious in rounds),
        "dropped": len(dropped),
        "dropped_because": dropped[0] if dropped else None,
        "rounds": len(rounds),
        "skipped": len(skipped),
        "skipped_because": skipped[0] if skipped else None,
        "start": _mean_share(contents, 0),
        "end": _mean_share(contents, -1),
    }


def _mean_share(contents: Sequence[Content], place: int) -> float | None:
    """The mean share of what the models did right at one end of their curves; None where a cell has none."""
    curves = [content.get("curve") or [[0, None, None]] for content in contents]
    shares = [curve[place][1] for curve in curves]
    known = [float(share) for share in shares if share is not None]
    return sum(known) / len(known) if known and len(known) == len(shares) else None


def complaint(training: Mapping[str, Any]) -> str:
    """How much of the honest training came to nothing, in words; empty if nothing did.

    Args:
        training: from `training_of`.
    """
    parts = []
    if training["dropped"]:
        number, of = training["dropped"], training["updates"]
        parts.append(f"{number} of {of} honest updates were dropped (the first: {training['dropped_because']})")
    if training["skipped"]:
        number, of = training["skipped"], training["rounds"]
        # Where nobody's update is left, why that is so has just been said.
        why = "" if training["dropped"] else f" (the first: {training['skipped_because']})"
        parts.append(f"{number} of {of} rounds were skipped{why}")
    return " and ".join(parts)
