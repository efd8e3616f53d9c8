"""Corpora, tokenisation and partitions of rows among clients."""
