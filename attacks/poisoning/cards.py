"""Cards of the attacks on clients' data, and of backdoors planted by clients' own training, or by a supplier."""

from .data_cards import CARDS as DATA
from .supplier_cards import CARDS as SUPPLIED
from .training_cards import CARDS as TRAINING

CARDS = (*DATA, *TRAINING, *SUPPLIED)
