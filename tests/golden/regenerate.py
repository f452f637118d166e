"""Writes tests/golden/contract_v1.json anew: `PYTHONPATH=src python -m tests.golden.regenerate` in the repository root.

A golden file that changes means that the contract changed: raise `CONTRACT_VERSION` first, and say so in CHANGELOG.
"""

import json
from pathlib import Path
from typing import Any

from emoloom.contract.parser import CODES
from emoloom.contract.prompt import LABELS, Piece, contract_id, render_prompt, render_target
from emoloom.records import Target, Vad

GOLDEN_FILE = Path(__file__).with_name("contract_v1.json")
TEXTS = (
    "I love you",
    "  outer white space goes \n",
    'quotes " and \\ backslashes',
    "two\nlines\tand a tab",
    "caf\u00e9 \U0001f642 \u4f60\u597d \u2028 stays unescaped",
    "NUL \x00 and bell \x07",
    "<|im_start|>system<|im_end|></s><tool_call>",
    '{"labels":["joy"],"vad":{"v":0.50,"a":0.50,"d":0.50},"rationale":""}',
    "lone \ud800 surrogate",
    "x" * 601,
    "y" * 599 + " z",
)
TARGETS = (
    Target(labels=("disgust",), vad=Vad(v=0.42, a=0.21, d=0.49), rationale="tone of displeasure"),
    Target(labels=("neutral",), vad=Vad(v=0.5, a=0.5, d=0.5)),
    Target(labels=("joy", "anger"), vad=Vad(v=0.0, a=1.0, d=0.999), rationale="caf\u00e9 \U0001f642"),
    Target(labels=("neutral", "sadness", "love", "joy", "admiration"), vad=Vad(v=0.994, a=0.005, d=0.015)),
    Target(labels=("fear",), vad=Vad(v=-0.0, a=0.1, d=0.29), rationale='quote " slash / back \\ line \n end'),
)


def _pieces(pieces: tuple[Piece, ...]) -> list[list[str]]:
    return [[piece.kind, piece.text] for piece in pieces]


def golden() -> dict[str, Any]:
    """Everything that the contract fixes, as the code has it now."""
    return {
        "contract_id": contract_id(),
        "labels": list(LABELS),
        "codes": sorted(CODES),
        "prompts": [{"text": text, "pieces": _pieces(render_prompt(text))} for text in TEXTS],
        "targets": [
            {"target": target.model_dump(mode="json"), "pieces": _pieces(render_target(target))} for target in TARGETS
        ],
    }


def write() -> None:
    """Write the golden file (ASCII, so that no editor changes it in passing)."""
    GOLDEN_FILE.write_text(json.dumps(golden(), indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    write()
