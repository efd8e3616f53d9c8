"""What a plain (unquoted) YAML scalar means: the YAML 1.2 core schema without octal and hexadecimal numbers.

PyYAML's own rules are those of YAML 1.1: `no` is false, `010` is 8, `1:30` is 90 and `1e-3` is text.
"""

import math
import re

from fedsec.config.tree import MAX_DIGITS

Scalar = bool | int | float | str | None

_WORDS: tuple[tuple[Scalar, frozenset[str]], ...] = (
    (None, frozenset({"", "~", "null", "Null", "NULL"})),
    (True, frozenset({"true", "True", "TRUE"})),
    (False, frozenset({"false", "False", "FALSE"})),
)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(text: str) -> Scalar:
    """The value of a plain scalar.

    Raises:
        ValueError: a number that is not finite or absurdly long; the message says so.
    """
    for value, words in _WORDS:
        if text in words:
            return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not finite")
    if _WHOLE.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a whole number of more than {MAX_DIGITS} digits")
        return int(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large to be finite")
        return number
    return text
