"""DAGER and what it is made of: spans, candidates, judging, search, decoders."""
