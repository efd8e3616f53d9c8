"""What the models of a run learn to tell apart: how many rows of which classes."""

from collections.abc import Mapping, Sequence
from typing import Any


def about_classes(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about the classes of the first cell that has any, and what looks wrong with them in any cell.

    Args:
        contents: cell files; those of causal language models have no classes.
    """
    known = [data for content in contents if (data := content.get("data"))]
    if not known:
        return []
    words = list(dict.fromkeys(str(data["words"]) for data in known))
    more = "; other seeds or settings have other rows" if len(words) > 1 else ""
    doubts = list(dict.fromkeys(str(data["doubt"]) for data in known if data.get("doubt")))
    return [f"Data: {words[0]}{more}.", *(f"Look at the labels: {doubt}." for doubt in doubts[:1])]
