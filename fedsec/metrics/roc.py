"""ROC curves in counts, with few enough points for a cell's file."""

import numpy as np

_ALL, _STEP = 20, 1.05
"""False positives up to which every point stays, and the factor between points from there on: 2 % of a decade."""


def roc(scores: np.ndarray, members: np.ndarray) -> list[list[int]]:
    """The points [false positives, true positives] of the thresholds that find more members than every higher one.

    Between two points the curve is a step: so many members were found at no more false positives than that. Beyond 20
    false positives points that lie closer than 5 % are left out, never one that would raise the curve.

    Args:
        scores: of each candidate fp64 [candidates], higher for a member.
        members: the truth, bool [candidates].
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # a threshold takes all of a tie or none
    hits = np.cumsum(members[order])[ends]
    false = ends + 1 - hits
    points: list[list[int]] = []
    for wrong, right in zip(false.tolist(), hits.tolist(), strict=True):
        if right <= (points[-1][1] if points else 0):
            continue
        close = _ALL < wrong < points[-1][0] * _STEP if points else False
        if points and points[-1][0] == wrong:
            points[-1][1] = right
        elif not close or right == int(members.sum()):
            points.append([wrong, right])
    return points
