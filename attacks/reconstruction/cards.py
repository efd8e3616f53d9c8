"""Cards of the reconstruction attacks."""

from .film_cards import CARDS as FILM
from .matching_cards import CARDS as MATCHING
from .span_cards import CARDS as SPAN

CARDS = (*SPAN, *MATCHING, *FILM)
