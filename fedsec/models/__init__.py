"""Base models, tuning methods and the flat vector of trainables."""
