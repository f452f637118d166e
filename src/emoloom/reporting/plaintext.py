"""Makes any text safe to look at: what cannot be seen, or would move other text about, is written as its code point."""

from __future__ import annotations

import re

MAX_SHOWN_CHARS = 1500
"""Longer texts, outputs and messages are cut in the report; the files of the run hold them whole."""

# C0 and C1 controls but tab and newline; bidirectional marks, embeddings and isolates; soft hyphen, zero-width space,
# word joiner, invisible operators and byte-order mark; line and paragraph separator; annotation marks; tag characters;
# lone surrogates, which UTF-8 cannot carry. The zero-width joiner and non-joiner stay: emoji and Persian need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with invisible and reordering characters (`_UNSEEN`) written as `⟨U+202E⟩`; tab and newline stay."""
    return _UNSEEN.sub(lambda found: f"\u27e8U+{ord(found[0]):04X}\u27e9", text)


def one_line(text: str) -> str:
    """`shown` text on one line, for names, verdicts and table cells."""
    return shown(" ".join(re.split(r"[ \t\r\n]+", text)).strip())


def shown(text: str) -> str:
    """`visible` text cut to MAX_SHOWN_CHARS, with a note of how much is left off."""
    if len(text) <= MAX_SHOWN_CHARS:
        return visible(text)
    return f"{visible(text[:MAX_SHOWN_CHARS])} \u2026 [{len(text) - MAX_SHOWN_CHARS:,} more characters]"
