"""A draft gives every row exactly what it is due: checked with a model that recites, and looks at what it is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.tiny_models import save_tiny_llama

from emoloom.decoding.draft import draft
from emoloom.decoding.grammar import FREE, Node, answer_grammar
from emoloom.models.codec import Codec
from emoloom.records import Target, Vad

EOS, VOCABULARY, LIMIT = 2, 300, 150


class Reciter:
    """A causal language model that continues each known line; the ids themselves are its keys and values.

    Each call checks that a line sees its own tokens and nothing else, at the right positions.
    """

    device = torch.device("cpu")

    def __init__(self, lines: list[list[int]]) -> None:
        self.next = {tuple(line[:end]): line[end] for line in lines for end in range(1, len(line))}
        self.forwards = 0
        self.tokens = 0

    def base_model(self, input_ids: Any, past_key_values: Any, use_cache: bool, **given: Any) -> Any:
        own = input_ids[:, None, :, None].float()
        ids = past_key_values.update(own, own, 0)[0][:, 0, :, 0].long()
        mask = given.get("attention_mask", torch.ones_like(ids)).bool()
        assert mask.shape == ids.shape
        hidden = torch.zeros(*input_ids.shape, VOCABULARY)
        seen = ids.shape[1] - input_ids.shape[1]
        for line, column in mask[:, seen:].nonzero().tolist():
            visible = tuple(ids[line, : seen + column + 1][mask[line, : seen + column + 1]].tolist())
            if "position_ids" in given:
                assert given["position_ids"][line, column] == len(visible) - 1
            hidden[line, column, self.next.get(visible, 0)] = 1.0
        self.forwards, self.tokens = self.forwards + 1, self.tokens + input_ids.numel()
        return SimpleNamespace(last_hidden_state=hidden)

    def get_output_embeddings(self) -> Any:
        return lambda hidden: hidden


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = save_tiny_llama(tmp_path_factory.mktemp("tiny"))
    return Codec(folder / "tokenizer.json", bos_id=None, eos_id=EOS)


def answers_of(codec: Codec) -> list[list[int]]:
    """Answers with one to three labels and none to three cues, some of them not in the contract at all."""
    written = [
        (("joy",), 0.81, "glad"),
        (("anger", "annoyance"), 0.2, ""),
        (("neutral",), 0.5, ""),
        (("fear",), 0.11, "so dark"),
        (("grief", "remorse", "sadness"), 0.05, "gone lost alone"),
        (("love",), 0.93, "sweet"),
        (("pride",), 0.9, ""),
    ]
    targets = [Target(labels=names, vad=Vad(v=v, a=0.5, d=0.4), rationale=cues) for names, v, cues in written]
    proper = [codec.encode_target(target).ids for target in targets]
    strange = [[*codec.encode_text(text), EOS] for text in ("I am not sure.", "None of them", "[]")]
    return [*proper, *strange, *proper]


def prompts_of(codec: Codec, count: int) -> list[list[int]]:
    return [codec.encode_prompt(f"row {'n' * (row % 5)}{chr(97 + row)}") for row in range(count)]


def test_every_row_gets_its_answer(codec: Codec) -> None:
    answers = answers_of(codec)
    prompts = prompts_of(codec, len(answers))
    model = Reciter([p + a for p, a in zip(prompts, answers, strict=True)])
    found = draft(model, prompts, [[] for _ in prompts], LIMIT, EOS, answer_grammar(codec))
    assert found == answers


def test_a_continued_row_goes_on_from_what_is_verified(codec: Codec) -> None:
    answers = answers_of(codec)
    prompts = prompts_of(codec, len(answers))
    model = Reciter([p + a for p, a in zip(prompts, answers, strict=True)])
    for kept in (1, 12, 20, 60):
        verified = [answer[: min(kept, len(answer) - 1)] for answer in answers]
        found = draft(model, prompts, verified, LIMIT, EOS, answer_grammar(codec))
        assert [done + got for done, got in zip(verified, found, strict=True)] == answers


def test_without_a_grammar_and_with_a_low_limit(codec: Codec) -> None:
    answers = answers_of(codec)
    prompts = prompts_of(codec, len(answers))
    model = Reciter([p + a for p, a in zip(prompts, answers, strict=True)])
    found = draft(model, prompts, [[] for _ in prompts], 30, EOS, FREE)
    assert found == [answer[:30] for answer in answers]


def test_forced_tokens_cost_no_forward_of_their_own(codec: Codec) -> None:
    answers = answers_of(codec)[:7]
    prompts = prompts_of(codec, len(answers))

    def cost(grammar: Node) -> tuple[int, int]:
        model = Reciter([p + a for p, a in zip(prompts, answers, strict=True)])
        draft(model, prompts, [[] for _ in prompts], LIMIT, EOS, grammar)
        return model.forwards, model.tokens

    with_grammar, without = cost(answer_grammar(codec)), cost(FREE)
    assert with_grammar[0] < 0.6 * without[0]
    assert with_grammar[1] < 1.15 * without[1]


def test_one_is_the_number_that_a_draft_may_get_wrong(codec: Codec) -> None:
    answer = codec.encode_target(Target(labels=("love",), vad=Vad(v=1.0, a=0.5, d=0.4), rationale="")).ids
    prompt = prompts_of(codec, 1)[0]
    [found] = draft(Reciter([prompt + answer]), [prompt], [[]], LIMIT, EOS, answer_grammar(codec))
    until = codec.decode(answer).index("1.00")
    assert found[:until] == answer[:until]
    assert codec.decode(found[until : until + 2]) == "0."
