"""What adversaries want, one goal per file: what it stages, what it asks of an attack, how it scores the answer."""
