"""Mirrored texts: what a text says, turned to its opposite by antonyms, negation and degree."""
