"""Every way of decoding gives the reference's answers where margins are wide, and sampling is a replayable function."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from tests.tiny_models import tiny_llama

from emoloom.contract.prompt import contract_id
from emoloom.decoding.normative import step
from emoloom.decoding.protocol import Protocol
from emoloom.decoding.variants import Padding, generate, gumbel_noise
from emoloom.errors import CandidateError

EOS, LIMIT = 2, 20
SIDES: tuple[Padding, ...] = ("left", "right")


def prompts(count: int = 7, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, 261) for _ in range(draw.randrange(3, 60))] for _ in range(count)]


def answers(
    model: torch.nn.Module, rows: list[list[int]], *, cached: bool = True, batch_rows: int = 4,
    padding: Padding = "left", temperature: float = 0.0, repeat: int = 0, limit: int = LIMIT,
) -> list[list[int]]:  # fmt: skip
    noise = gumbel_noise(0, repeat, [f"row {number}" for number in range(len(rows))])
    return list(
        generate(
            model, rows, eos_id=EOS, limit=limit, cached=cached, batch_rows=batch_rows, padding=padding,
            temperature=temperature, noise=noise,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("cached", "batch_rows", "padding"), [*product([True, False], [1, 4, 7], SIDES)])
def test_greedy_tokens_are_those_of_the_normative_answer(cached: bool, batch_rows: int, padding: Padding) -> None:
    model, rows = tiny_llama(seed=3), prompts()
    pinned = Protocol(contract=contract_id(), dtype="fp32", kernel="sdpa", batch_rows=8, max_new_tokens=LIMIT)
    expected = step(model, pinned, EOS, rows)
    assert min(answer.min_margin for answer in expected) > 1e-4  # or rounding might rightly change a token
    assert len({len(row) for row in rows}) > 3  # or padding would not be put to the test
    found = answers(model, rows, cached=cached, batch_rows=batch_rows, padding=padding)
    assert found == [answer.tokens for answer in expected]


@pytest.mark.parametrize(("cached", "padding"), [*product([True, False], SIDES)])
def test_sampled_tokens_do_not_depend_on_batch_padding_or_cache(cached: bool, padding: Padding) -> None:
    model, rows = tiny_llama(seed=4), prompts()
    expected = answers(model, rows, batch_rows=1, temperature=0.7)
    assert expected != answers(model, rows, batch_rows=1)
    assert answers(model, rows, cached=cached, batch_rows=4, padding=padding, temperature=0.7) == expected


def test_a_repeat_is_replayed_by_its_number_and_other_numbers_are_other_luck() -> None:
    model, rows = tiny_llama(seed=4), prompts()
    first = answers(model, rows, temperature=0.7, repeat=1)
    assert answers(model, rows, temperature=0.7, repeat=1) == first
    assert answers(model, rows, temperature=0.7, repeat=2) != first
    assert answers(model, rows, repeat=1) == answers(model, rows, repeat=2)


def test_noise_belongs_to_seed_repeat_row_and_position() -> None:
    noise = gumbel_noise(0, 0, ["a", "b"])
    assert np.array_equal(noise(1, 5, 30), gumbel_noise(0, 0, ["b"])(0, 5, 30))
    others = [
        noise(0, 5, 30),
        noise(1, 6, 30),
        gumbel_noise(1, 0, ["b"])(0, 5, 30),
        gumbel_noise(0, 1, ["b"])(0, 5, 30),
    ]
    assert not any(np.intersect1d(noise(1, 5, 30), other).size for other in others)


def test_sampling_follows_the_softmax_at_the_temperature() -> None:
    model, prompt, draws, temperature = tiny_llama(seed=5), prompts(1)[0], 4000, 0.7
    with torch.inference_mode():
        logits = model(torch.tensor([prompt])).logits[0, -1].double()
    expected = torch.softmax(logits / temperature, -1).numpy()
    noise = gumbel_noise(0, 0, [str(number) for number in range(draws)])
    sampled = generate(
        model, [prompt] * draws, eos_id=EOS, limit=1, cached=True, batch_rows=500, padding="left",
        temperature=temperature, noise=noise,
    )  # fmt: skip
    counts = Counter(tokens[0] for tokens in sampled)
    likely = np.flatnonzero(expected * draws >= 10)
    assert len(likely) > 10
    observed = np.array([counts[token] for token in likely])
    # each count lies within four standard deviations of a binomial
    assert (np.abs(observed - draws * expected[likely]) < 4 * np.sqrt(draws * expected[likely])).all()


def test_an_answer_ends_at_the_end_of_sequence_or_the_limit() -> None:
    found = answers(tiny_llama(seed=7), prompts(40), batch_rows=8, temperature=1.0, limit=60)
    assert {answer[-1] == EOS for answer in found} == {True, False}
    for answer in found:
        assert EOS not in answer[:-1]
        assert answer[-1] == EOS or len(answer) == 60


def test_logits_that_are_not_finite_are_a_named_failure() -> None:
    model = tiny_llama(seed=9)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(CandidateError) as caught:
        answers(model, prompts(2))
    assert caught.value.code == "nan-logits"
