"""Cards of the attacks on clients' data, and of backdoors planted by malicious clients' own training."""

from .data_cards import CARDS as DATA
from .training_cards import CARDS as TRAINING

CARDS = (*DATA, *TRAINING)
