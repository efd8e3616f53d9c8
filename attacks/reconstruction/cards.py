"""Cards of the reconstruction attacks."""

from .dager.cards import CARDS as DAGER
from .embedding_algebra.cards import CARDS as EMBEDDING_ALGEBRA
from .film.cards import CARDS as FILM
from .matching.cards import CARDS as MATCHING

CARDS = (*EMBEDDING_ALGEBRA, *DAGER, *MATCHING, *FILM)
