"""Numbers for people: shares, points of a difference, amounts with their unit, and intervals. None is `no value`."""

import math
from collections.abc import Mapping
from typing import Any

from fedsec.api import Form

NO_VALUE = "no value"
_ROUNDING = 1e-12

Row = Mapping[str, Any]


def percent(fraction: float | None, unit: str = "\u00a0%") -> str:
    """`77.3 %`, for reading; rounding makes nothing of something as little as everything of almost everything."""
    if fraction is None:
        return NO_VALUE
    fraction = 0.0 if abs(fraction) < _ROUNDING else fraction  # the mean of drops that cancel
    text = f"{100 * abs(fraction):.1f}".removesuffix(".0")
    if text == "0" and fraction:
        text = f"{100 * abs(fraction):.1g}"
    elif text == "100" and abs(fraction) < 1:
        text = "over 99.9"
    return f"{'−' if fraction < 0 else ''}{text}{unit}"  # noqa: RUF001


def written(number: float | None, form: Form) -> str:
    """A value in the form that its goal's card asks for."""
    if number is None:
        return NO_VALUE
    if form == Form.NUMBER:
        return f"{number:.3f}"
    return percent(number, "") if form == Form.POINTS else percent(number)


def reach(value: Row, form: Form) -> str:
    """The 95 % interval of a metric in that form, or that there is none."""
    low, high = value["ci_low"], value["ci_high"]
    if form != Form.NUMBER:
        return span(value, "" if form == Form.POINTS else "\u00a0%")
    return "none" if low is None or high is None else f"{written(low, form)} to {written(high, form)}"


def evidence(value: Row, form: Form, guess: str) -> str:
    """A metric's interval, and beside it what its baseline gets."""
    known = value.get("baseline") is not None
    return reach(value, form) + (f"; {guess} {written(value['baseline'], form)}" if known else "")


def span(value: Row, unit: str = "\u00a0%") -> str:
    """The 95 % interval of a fraction, `72 to 100 %`, or that there is none."""
    low, high = value["ci_low"], value["ci_high"]
    return "none" if low is None or high is None else f"{percent(low, '')} to {percent(high, unit)}"


def between(value: Row) -> str:
    """The 95 % interval of a number that is no fraction, `31.2 to 33.9`, or that there is none."""
    low, high = value["ci_low"], value["ci_high"]
    return "none" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def amount(number: float | None, unit: str) -> str:
    """A number with its unit."""
    if number is None:
        return NO_VALUE
    if unit == "fraction":
        return percent(number)
    if unit != "bytes":
        return f"{number:.3g} {unit}"
    power = min(3, int(math.log(max(number, 1), 1000)))
    return f"{number / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB')[power]}"
