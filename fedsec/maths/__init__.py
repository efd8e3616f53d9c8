"""Linear algebra that several methods share; works on flat rows, knows no attack and no defense."""
