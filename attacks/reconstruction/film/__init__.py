"""FILM and its variant: a bag of words, a beam search over it, and reordering."""
