"""Makes untrusted text harmless for terminals and pages: every character is visible. Imports next to nothing."""

import unicodedata

MOST_CHARACTERS = 20_000


def visible(text: str) -> str:
    """The text with every character that hides, reorders or breaks written out, and cut where it is endless."""
    shown = text[:MOST_CHARACTERS]
    # Controls, formats (zero width, bidirectional), surrogates (which UTF-8 refuses), odd line ends; what XML refuses.
    hidden = {c for c in shown if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    hidden |= {"\ufffe", "\uffff"} & set(shown)
    for character in hidden:
        shown = shown.replace(character, f"[U+{ord(character):04X}]")
    return shown if len(text) <= MOST_CHARACTERS else f"{shown} … ({len(text) - MOST_CHARACTERS} more characters)"
