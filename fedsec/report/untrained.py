"""Training that failed without an error: honest updates dropped, rounds without a step, a model that diverged."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.report.numbers import percent

Content = Mapping[str, Any]
"""A cell file."""


def untrained(content: Content) -> str | None:
    """Why a cell's training taught nothing; None if it did."""
    found = training_of([content])
    curve: Sequence[Sequence[Any]] = content.get("curve") or ()
    if never_moved(content):
        return f"the model never moved: {complaint(found)}"
    if len(curve) < 2:
        return None
    told = f"; {complaint(found)}" if complaint(found) else ""
    (_, right, loss), (_, right_after, loss_after) = curve[0], curve[-1]
    if loss_after is None:
        return f"the model diverged: its loss on the test set is no finite number{told}"
    if None in (right, right_after, loss) or right_after > right or loss_after <= loss:
        return None
    losses = f"{loss:.4g} to {loss_after:.4g}"
    return f"the model diverged: from {losses} in loss and from {percent(right)} to {percent(right_after)} right{told}"


def never_moved(content: Content) -> bool:
    """Whether every round of a cell left the model as it was."""
    found = training_of([content])
    return bool(found["rounds"]) and found["skipped"] == found["rounds"]


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
