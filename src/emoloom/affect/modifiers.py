"""Words that change what the words after them mean: negators, intensifiers, diminishers, contrast."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATORS = _words(
    """
    no not never none nobody nothing nowhere neither nor without cannot hardly barely scarcely lack lacks lacked lacking
    aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt mustnt shouldnt wasnt werent wont wouldnt
    """
)
NOT_NEGATING = frozenset(
    (
        "not only", "not just", "not to", "no doubt", "no wonder", "no matter", "no problem", "no worries",
        "can't wait", "cant wait", "cannot wait", "nothing but", "never mind", "why not", "why don't", "why dont",
    )
)  # fmt: skip
"""A negator with its next (or previous, for `why`) word that negates nothing."""
INTENSIFIERS = _words(
    """
    absolutely actually amazingly awfully completely damn deeply definitely entirely especially exceptionally extremely
    freaking fricking fucking genuinely greatly highly hugely immensely incredibly insanely intensely most particularly
    perfectly really remarkably ridiculously seriously so strongly such super terribly thoroughly too totally truly
    unbelievably utterly very
    """
)
DIMINISHERS = _words(
    """
    almost fairly kinda less little marginally mildly partly pretty quite rather relatively slightly somewhat sorta
    """
)
CONTRAST = frozenset(("but", "however", "yet", "nevertheless", "nonetheless"))


def is_negator(word: str) -> bool:
    """Whether a plain word (lower case, straight apostrophes) negates what follows."""
    return word in NEGATORS or word.endswith("n't")
