"""The grammar knows what the contract forces, for any tokenizer, and a draft that uses it is still only a draft."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tiny_models import save_tiny_llama

from emoloom.contract.prompt import LABELS
from emoloom.decoding.grammar import FREE, LABEL, NUMBERS, RATIONALE, Node, answer_grammar
from emoloom.models.codec import Codec, load_codec
from emoloom.records import Target, Vad

EOS = 2


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = save_tiny_llama(tmp_path_factory.mktemp("tiny"))
    return Codec(Path(folder) / "tokenizer.json", bos_id=None, eos_id=EOS)


def decisions(grammar: Node, ids: list[int]) -> tuple[list[int], list[int]]:
    """Walk a target: places where the grammar left the choice open, and places where it took the wrong one."""
    open_places, wrong = [], []
    node = grammar
    forced, _ = node.forced()
    for place, token in enumerate(ids):
        if forced:
            if forced[0] != token:
                wrong.append(place)
        else:
            open_places.append(place)
        node = node.after(token)
        assert node is not FREE, f"place {place} is outside of the grammar"
        forced, _ = node.forced()
    return open_places, wrong


def targets() -> list[Target]:
    pairs = [(label,) for label in LABELS] + [LABELS[:5], (LABELS[3], LABELS[20])]
    vad, cues = Vad(v=0.07, a=0.58, d=0.99), ("", "sad", "so tired today")
    return [Target(labels=labels, vad=vad, rationale=cue) for labels in pairs for cue in cues]


def test_every_target_is_inside_and_what_is_forced_is_right(codec: Codec) -> None:
    grammar = answer_grammar(codec)
    for target in targets():
        ids = codec.encode_target(target).ids
        open_places, wrong = decisions(grammar, ids)
        assert not wrong
        assert len(open_places) < len(ids) / 2


def test_one_is_allowed_though_zero_is_taken_for_granted(codec: Codec) -> None:
    ids = codec.encode_target(Target(labels=("joy",), vad=Vad(v=1.0, a=0.5, d=1.0), rationale="")).ids
    _, wrong = decisions(answer_grammar(codec), ids)
    assert [codec.decode([ids[place]]) for place in wrong] == ["1", "1"]


def test_phases_rise_from_labels_to_the_rationale(codec: Codec) -> None:
    node = answer_grammar(codec)
    seen = []
    for token in codec.encode_target(Target(labels=("joy",), vad=Vad(v=0.1, a=0.2, d=0.3), rationale="ha")).ids[:-2]:
        node = node.after(token)
        if not node.forced()[0]:
            seen.append(node.phase)
    assert seen == sorted(seen)
    assert seen[0] == LABEL
    assert [phase for phase in seen if NUMBERS <= phase < RATIONALE] == list(range(NUMBERS, RATIONALE))
    assert seen[-1] == RATIONALE


def test_outside_of_the_contract_nothing_is_forced(codec: Codec) -> None:
    node = answer_grammar(codec)
    for token in codec.encode_text('{"labels":["x'):
        node = node.after(token)
    assert node is FREE
    assert node.forced() == ([], FREE)
    assert node.after(5) is FREE


@pytest.mark.model
def test_real_tokenizer_leaves_about_a_dozen_decisions(smollm2: object) -> None:
    codec = load_codec(smollm2)  # type: ignore[arg-type]
    target = Target(labels=("joy",), vad=Vad(v=0.81, a=0.52, d=0.66), rationale="love happy")
    open_places, wrong = decisions(answer_grammar(codec), codec.encode_target(target).ids)
    assert not wrong
    assert len(open_places) <= 13
