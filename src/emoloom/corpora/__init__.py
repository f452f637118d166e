"""Corpora: one reader each, the built-in one, and what was found in them. Start at `registry.read_corpus`."""
