"""Goals of adversaries, one per file: what a goal stages, what it asks of an attack, how it scores the answer."""
