"""Corpora, tokenisation and the dealing of rows to clients."""
