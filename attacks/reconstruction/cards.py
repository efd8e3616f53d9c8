"""Cards of the reconstruction attacks."""

from .span_cards import CARDS as SPAN

CARDS = (*SPAN,)
