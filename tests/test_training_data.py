"""What is drawn, how it is batched, and that batching never changes a loss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny_models import language_model_term, save_tiny_llama, tiny_llama
from torch.nn import functional

from emoloom.models.codec import Codec
from emoloom.records import Target, TrainingRow, Vad
from emoloom.training.batches import collate, passes, steps_of_window
from emoloom.training.encoding import PAIRS, EncodedRow, Item, encode_row, n_tokens, rows_of
from emoloom.training.mixture import Mixture


def training_row(text: str, v: float = 0.5) -> TrainingRow:
    target = Target(labels=("joy", "love"), vad=Vad(v=v, a=0.25, d=1.0), rationale="")
    return TrainingRow(id=text, corpus="c", text=text, target=target)


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=2), seed=st.integers(0, 5), share=st.floats(0.05, 0.95))
@settings(max_examples=40, deadline=None)
def test_a_restored_mixture_draws_what_the_first_one_would_have(sizes: list[int], seed: int, share: float) -> None:
    shares = [share, 1 - share]
    whole = Mixture(sizes, seed, n_pairs=3, pair_share=0.2)
    expected = [whole.window(16, shares) for _ in range(6)]
    first = Mixture(sizes, seed, n_pairs=3, pair_share=0.2)
    begun = [first.window(16, shares) for _ in range(3)]
    second = Mixture(sizes, seed, n_pairs=3, pair_share=0.2)
    second.restore(first.windows, first.given)
    assert begun + [second.window(16, shares) for _ in range(3)] == expected


def test_every_row_comes_once_an_epoch() -> None:
    mixture = Mixture([7, 50], seed=1)
    drawn = [draw for _ in range(40) for draw in mixture.window(32, [0.5, 0.5])]
    rows_of_a = [draw.row for draw in drawn if draw.source == 0]
    for start in range(0, len(rows_of_a) - 7, 7):
        assert sorted(rows_of_a[start : start + 7]) == list(range(7))


def test_shares_are_kept() -> None:
    mixture = Mixture([1000, 1000], seed=0, n_pairs=10, pair_share=0.1)
    drawn = Counter(draw.source for _ in range(100) for draw in mixture.window(100, [0.2, 0.8]))
    assert abs(drawn[0] / 10_000 - 0.2 * 0.9) < 0.015
    assert abs(drawn[PAIRS] / 10_000 - 0.1) < 0.015


def test_without_pairs_none_is_drawn() -> None:
    mixture = Mixture([5], seed=0, n_pairs=0, pair_share=0.5)
    assert all(draw.source == 0 for draw in mixture.window(50, [1.0]))


def test_a_source_without_rows_or_wrong_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        Mixture([0, 3], 0)
    with pytest.raises(ValueError, match="cannot be drawn"):
        Mixture([3, 3], 0).window(4, [0.5, 0.6])


@given(lengths=st.lists(st.integers(3, 30), min_size=1, max_size=40), batch_rows=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_steps_hold_every_row_of_the_window_once(lengths: list[int], batch_rows: int) -> None:
    rows = [EncodedRow([index + 3] * length, 2) for index, length in enumerate(lengths)]
    steps = steps_of_window([Item((row,)) for row in rows], batch_rows, [0, 1])
    batches = [collate(rows_of(step)) for step in steps]
    seen = [int(ids[0]) for batch in batches for ids in batch.ids]
    assert sorted(seen) == [index + 3 for index in range(len(rows))]
    assert sum(batch.n_tokens for batch in batches) == sum(lengths)
    assert sum(len(batch.target) for batch in batches) == sum(length - 2 for length in lengths)


def test_the_short_step_of_a_window_is_not_always_of_the_longest_texts() -> None:
    items = [Item((EncodedRow([3] * (length + 3), 2),)) for length in range(7)]
    short = [n_tokens(min(steps_of_window(items, 3, [0, window]), key=len)) for window in range(30)]
    assert set(short) == {3, 6, 9}, "alone in its step is the shortest, the middle or the longest one"


def test_row_ids_are_prompt_then_target(tmp_path: Path) -> None:
    codec = Codec(save_tiny_llama(tmp_path) / "tokenizer.json", bos_id=1, eos_id=2)
    row = training_row("so glad")
    encoded = encode_row(codec, row)
    assert encoded.ids == codec.encode_prompt("so glad") + codec.encode_target(row.target).ids
    assert encoded.n_prompt == len(codec.encode_prompt("so glad"))
    assert encoded.ids[0] == 1
    assert encoded.ids[-1] == 2


def test_loss_equals_the_models_own_on_each_row_alone(tmp_path: Path) -> None:
    """Padding, batching and applying the head to target positions only change nothing but the last bits."""
    codec = Codec(save_tiny_llama(tmp_path) / "tokenizer.json", bos_id=None, eos_id=2)
    model = tiny_llama()
    rows = [encode_row(codec, training_row("a" * n, v=n / 100)) for n in (1, 5, 17, 40, 60, 3, 9, 80)]
    with torch.no_grad():
        expected = 0.0
        for row in rows:
            ids = torch.tensor([row.ids])
            logits = model(input_ids=ids).logits[0, row.n_prompt - 1 : -1]
            expected += float(functional.cross_entropy(logits, ids[0, row.n_prompt :], reduction="sum"))
        for size in (1, 2, 8):
            parts = [language_model_term(model, rows[start : start + size]) for start in range(0, 8, size)]
            assert sum(count for _, count in parts) == sum(len(row.ids) - row.n_prompt for row in rows)
            assert sum(float(loss) for loss, _ in parts) == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_split_batch_is_that_of_the_whole(tmp_path: Path) -> None:
    codec = Codec(save_tiny_llama(tmp_path) / "tokenizer.json", bos_id=None, eos_id=2)
    rows = [encode_row(codec, training_row("b" * n, v=n / 100)) for n in (4, 30, 12, 55)]
    gradients = []
    for size in (1, 2, 4):
        model = tiny_llama()
        parts = [language_model_term(model, rows[start : start + size]) for start in range(0, 4, size)]
        count = sum(n for _, n in parts)
        sum(loss for loss, _ in parts).div(count).backward()  # type: ignore[union-attr]
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
    assert torch.allclose(gradients[1], gradients[2], rtol=1e-4, atol=1e-6)


@given(
    lengths=st.lists(st.integers(3, 60), min_size=1, max_size=20), most=st.integers(1, 9), tokens=st.integers(64, 300)
)
@settings(max_examples=60, deadline=None)
def test_passes_hold_every_item_once_and_stay_within_their_limits(lengths: list[int], most: int, tokens: int) -> None:
    items = [Item((EncodedRow([index] * length, 2),)) for index, length in enumerate(lengths)]
    found = passes(items, most, tokens)
    assert [item for part in found for item in part] == items
    for part in found:
        assert len(part) <= most
        assert len(part) == 1 or len(part) * max(len(row.ids) for row in rows_of(part)) <= tokens
