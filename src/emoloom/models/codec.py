"""Text to token ids and back, for one candidate's tokenizer, under the contract's tokenisation rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from emoloom.contract.prompt import LABELS, Piece, PieceKind, clean_text, line_of, render_prompt, render_target
from emoloom.errors import CandidateError, InputError
from emoloom.models.candidates import CONFIG, TOKENIZER, Candidate
from emoloom.models.sources import read_json, tokenizer_failures
from emoloom.records import Target, Vad

UNSAFE = "unsafe-tokenizer"
_SHOWN_CHARS = 40


class EncodedTarget(NamedTuple):
    """Target ids and, for each id, the kind of piece it belongs to (`end` for the end-of-sequence id)."""

    ids: list[int]
    kinds: list[PieceKind | str]


def _usable(tokenizer_file: Path) -> AbstractContextManager[None]:
    """Turn whatever a bad file raises into one line."""
    return tokenizer_failures(
        lambda reason: InputError(
            f"is no usable tokenizer ({reason})", where=str(tokenizer_file), next_step="fetch the candidate again"
        )
    )


def _encoding(text: str) -> AbstractContextManager[None]:
    """Turn whatever a tokenizer raises over a text into a failure of the candidate that shows the text."""
    return tokenizer_failures(
        lambda reason: CandidateError(f"its tokenizer cannot encode {_shown(text)} ({reason})", code=UNSAFE)
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}...")


class Codec:
    """Encodes pieces so that no text can become a control token and number characters are one token each.

    The candidate's tokenizer is taken without its added tokens: what is left (BPE or Unigram over plain text)
    splits `<|im_start|>` like any other characters. Ids that the tokenizer declares as added are checked for all the
    same. The blank that some tokenizers put in front of every string is switched off: pieces are parts of one line.
    """

    def __init__(self, tokenizer_file: Path, *, bos_id: int | None, eos_id: int) -> None:
        """Read `tokenizer.json`.

        Args:
            tokenizer_file: a Hugging Face `tokenizer.json`; untrusted.
            bos_id: id put in front of every prompt, or None.
            eos_id: the one id that ends an answer.

        Raises:
            InputError: the file is damaged, or its tokenizer cannot carry the contract's bytes.
        """
        from tokenizers import Tokenizer

        with _usable(tokenizer_file):
            tree = json.loads(tokenizer_file.read_text(encoding="utf-8"))
            self._control = control_ids(tree, bos_id, eos_id)
            self._full = Tokenizer.from_str(json.dumps(_piecewise(tree)))
            self._plain = Tokenizer.from_str(json.dumps({**_piecewise(tree), "added_tokens": []}))
        self.bos_id = bos_id
        self.eos_id = eos_id
        self._cache: dict[tuple[str, str], list[int]] = {}
        try:
            with _usable(tokenizer_file):
                fault = self._fault()
        except CandidateError as error:
            fault = error.what
        if fault:
            raise InputError(fault, where=str(tokenizer_file), next_step="use another candidate", code=UNSAFE)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of the prompt of a text, the beginning-of-sequence id first where the candidate has one."""
        ids = [] if self.bos_id is None else [self.bos_id]
        for piece in render_prompt(text):
            ids += self.encode_piece(piece)
        return ids

    def encode_target(self, target: Target) -> EncodedTarget:
        """Ids of the answer line and the end-of-sequence id, with the kind of each."""
        ids: list[int] = []
        kinds: list[PieceKind | str] = []
        for piece in render_target(target):
            piece_ids = self.encode_piece(piece)
            ids += piece_ids
            kinds += [piece.kind] * len(piece_ids)
        return EncodedTarget([*ids, self.eos_id], [*kinds, "end"])

    def encode_piece(self, piece: Piece) -> list[int]:
        """Ids of one piece. Frames, labels and numbers are remembered; texts are not."""
        if piece.kind in ("text", "rationale"):
            return self.encode_text(piece.text)
        if piece not in self._cache:
            parts = piece.text if piece.kind == "number" else (piece.text,)
            self._cache[piece] = [token for part in parts for token in self.encode_text(part)]
        return list(self._cache[piece])

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text. Never contains a control, beginning- or end-of-sequence id.

        Raises:
            CandidateError: the tokenizer maps plain text to a control token whatever is done, or cannot encode it.
        """
        with _encoding(text):
            encoding = self._plain.encode(text, add_special_tokens=False)
            ids: list[int] = encoding.ids
            if not self._control.isdisjoint(ids):
                ids = self._respelt(text, ids, encoding.offsets)
        if not self._control.isdisjoint(ids) or (text and not ids):
            raise CandidateError(f"its tokenizer cannot encode {_shown(text)} without control tokens", code=UNSAFE)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids, control tokens spelt out, U+FFFD for an id that the tokenizer does not have.

        Raises:
            CandidateError: the tokenizer cannot spell them.
        """
        runs: list[list[int]] = [[]]
        for token in ids:
            if self._full.id_to_token(token) is None:
                runs.append([])
            else:
                runs[-1].append(token)
        with tokenizer_failures(
            lambda reason: CandidateError(f"its tokenizer cannot spell its answer ({reason})", code=UNSAFE)
        ):
            return "\ufffd".join(self._full.decode(run, skip_special_tokens=False) for run in runs)

    def _respelt(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[int]:
        """The ids with the stretches of text that became control tokens encoded character by character."""
        respelt: list[int] = []
        for token, (start, end) in zip(ids, offsets, strict=True):
            respelt += self._by_character(text[start:end]) if token in self._control else [token]
        if self._plain.decode(respelt, skip_special_tokens=False) != self._plain.decode(ids, skip_special_tokens=False):
            return self._by_character(text)  # the stretch began or ended inside a character
        return respelt

    def _by_character(self, text: str) -> list[int]:
        return [token for character in text for token in self._plain.encode(character, add_special_tokens=False).ids]

    def _fault(self) -> str:
        """Why this tokenizer cannot carry the contract; empty where it can."""
        for token in (self.bos_id, self.eos_id):
            if token is not None and self._full.id_to_token(token) is None:
                return f"has no token for the boundary id {token}"
        if any(len(self.encode_text(character)) != 1 for character in "0123456789."):
            return "does not spell a number character with one token"
        lines = [render_target(Target(labels=(label,), vad=_ANY_VAD, rationale=_ALPHABET)) for label in LABELS]
        for pieces in (*lines, render_prompt(_ALPHABET)):
            if self.decode([token for piece in pieces for token in self.encode_piece(piece)]) != line_of(pieces):
                return "alters or drops characters of a line"
        return ""


_ANY_VAD = Vad(v=0.12, a=0.34, d=1.0)
_ALPHABET = "".join(map(chr, range(33, 127))) + " \u00e9 \U0001f642."


def control_ids(tree: dict[str, Any], bos_id: int | None, eos_id: int) -> frozenset[int]:
    """Ids that no text may become: added tokens but for runs of white space, and the boundary ids.

    Some tokenizers declare line breaks and runs of blanks as added tokens (Gemma, GPT-NeoX): those are text.
    """
    added = [
        int(token["id"]) for token in tree["added_tokens"]
        if token.get("special") or token["content"].replace("\u2581", " ").strip()
    ]  # fmt: skip
    return frozenset({*added, eos_id} | ({bos_id} if bos_id is not None else set()))


def _piecewise(tree: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer fit for pieces: no template, no cutting, no chance, no blank put in front."""
    parts = {name: _without_prefix(tree.get(name)) for name in ("normalizer", "pre_tokenizer", "decoder")}
    model = {**tree["model"], "dropout": None} if tree["model"].get("dropout") else tree["model"]
    return {**tree, **parts, "model": model, "post_processor": None, "truncation": None, "padding": None}


def _without_prefix(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """A normalizer, pre-tokenizer or decoder that neither adds nor strips white space at the ends of a string."""
    if part is None or part["type"] in ("Prepend", "Strip"):
        return None
    if part["type"] == "Sequence":
        name = next(key for key in part if key != "type")
        return {**part, name: [kept for child in part[name] if (kept := _without_prefix(child)) is not None]}
    if part["type"] == "Metaspace":
        return {**{key: part[key] for key in part if key != "add_prefix_space"}, "prepend_scheme": "never"}
    return {**part, "add_prefix_space": False} if part["type"] == "ByteLevel" else part


class TextCodec:
    """A text as an encoder reads it: its own token ids between two boundary ids. No text can become a control token.

    The tokenizer is taken without its added tokens, so that `[SEP]` in a text is split like any other characters.
    """

    def __init__(self, tokenizer_file: Path, *, first_id: int, last_id: int, longest: int) -> None:
        """Read `tokenizer.json`.

        Args:
            tokenizer_file: a Hugging Face `tokenizer.json`; untrusted.
            first_id: put before every text.
            last_id: put behind it.
            longest: ids that the encoder has positions for, boundaries included; longer texts are cut.

        Raises:
            InputError: the file is damaged.
        """
        from tokenizers import Tokenizer

        with _usable(tokenizer_file):
            tree = json.loads(tokenizer_file.read_text(encoding="utf-8"))
            added = {int(token["id"]) for token in tree["added_tokens"] if token.get("special")}
            plain = {**tree, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
            self._plain = Tokenizer.from_str(json.dumps(plain))
        self._unknown = self._plain.token_to_id("[UNK]")
        self._control = frozenset({*added, first_id, last_id} - {self._unknown})
        self._ends, self._longest = (first_id, last_id), longest

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text as the contract carries it (`clean_text`), the boundary ids around them.

        Raises:
            CandidateError: the tokenizer cannot encode it.
        """
        with _encoding(text):
            found = self._plain.encode(clean_text(text)[0], add_special_tokens=False).ids
        first, last = self._ends
        return [first, *[token for token in found if token not in self._control][: self._longest - 2], last]


def load_text_codec(candidate: Candidate) -> TextCodec:
    """The codec of an encoder.

    Raises:
        InputError: its tokenizer or its config is damaged.
    """
    folder = Path(candidate.folder)
    longest = read_json(folder / CONFIG).get("max_position_embeddings")
    if not isinstance(longest, int) or isinstance(longest, bool) or longest < 3 or candidate.bos_id is None:
        raise InputError(
            f"max_position_embeddings is {longest!r}", where=str(folder / CONFIG), next_step="fetch the candidate again"
        )
    return TextCodec(folder / TOKENIZER, first_id=candidate.bos_id, last_id=candidate.eos_id, longest=longest)


def load_codec(candidate: Candidate) -> Codec:
    """The codec of a candidate that writes text.

    Raises:
        InputError: it is an encoder, or its tokenizer cannot carry the contract.
    """
    if candidate.encoder:
        raise InputError(
            "is an encoder, which reads no prompt and writes no text", where=candidate.name,
            next_step="name a language model here", code="no-language-model",
        )  # fmt: skip
    return Codec(Path(candidate.folder) / TOKENIZER, bos_id=candidate.bos_id, eos_id=candidate.eos_id)
