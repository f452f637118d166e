"""Written numbers: what the model's digits say, and the two ways of L_reg, by hand and against enumeration."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_llama
from tests.training_runs import SETTINGS, material_with_all_terms, tiny_codec
from torch.autograd import gradcheck

from emoloom.affect.lexicon import load_lexicon
from emoloom.config import TrainingSettings
from emoloom.contract.prompt import studied_decimals
from emoloom.models.codec import Codec
from emoloom.records import Target, TrainingRow, Vad
from emoloom.training.batches import learnt_places
from emoloom.training.encoding import Item, encode_pair, encode_row
from emoloom.training.heads import Heads
from emoloom.training.likely_numbers import drawn_vad, histogram
from emoloom.training.losses import Digits, histogram_loss
from emoloom.training.objective import Objective
from emoloom.training.reading import Reader


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    torch.set_num_threads(1)
    return tiny_codec(tmp_path)


def reader_of(codec: Codec) -> Reader:
    return Reader(codec, material_with_all_terms().sources, load_lexicon("builtin"))


def by_histogram(spread: float) -> TrainingSettings:
    update = {"lambda_reg": 1.0, "regress_by": "histogram", "number_spread": spread, "number_temperature": 2.0}
    return SETTINGS.model_copy(update=update)


def test_expected_number_by_hand(codec: Codec) -> None:
    reader = reader_of(codec)
    column = {int(token): k for k, token in enumerate(reader.vocabulary)}
    digit = [column[codec.encode_text(character)[0]] for character in "0123456789"]
    logits = torch.full((8, len(column)), -30.0)
    for place, shares in ((0, {0: 0.9, 1: 0.1}), (2, {4: 0.5, 6: 0.5}), (3, {0: 0.25, 8: 0.75}), (4, {0: 0.2, 1: 0.8})):
        for value, share in shares.items():
            logits[place, digit[value]] = math.log(share)
    found = reader.digits(logits, [0, 4], ["0.57", "1.00"])
    first, second = 0.9 * (0.5 + 0.06) + 0.1, 0.2 * 0.99 + 0.8
    assert found.expected.tolist() == pytest.approx([first, second], abs=1e-6)
    assert found.shown.tolist() == [[5, 7], [0, 0]]


def test_mean_and_variance_are_those_of_all_numbers_that_could_be_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    lead = torch.randn(2, 2, dtype=torch.float64, generator=generator).log_softmax(1)
    places = torch.randn(2, 2, 10, dtype=torch.float64, generator=generator).log_softmax(2)
    found = Digits(lead, places, torch.zeros(2, 2, dtype=torch.int64), torch.tensor([False, True]))
    below = torch.arange(100, dtype=torch.float64) / 100
    drawn = (places[0, 0].exp()[:, None] * places[1, 0].exp()[None]).flatten()
    behind_a_one = torch.zeros(100, dtype=torch.float64)
    behind_a_one[99] = 1.0
    for place, shares in enumerate((drawn, behind_a_one)):
        values = torch.cat([below, torch.ones(1, dtype=torch.float64)])
        weights = torch.cat([lead[place].exp()[0] * shares, lead[place].exp()[1:]])
        mean = (weights * values).sum()
        assert float(found.expected[place]) == pytest.approx(float(mean))
        assert float(found.variance[place]) == pytest.approx(float((weights * (values - mean) ** 2).sum()))


def test_numbers_that_the_model_is_sure_of_are_read_exactly(codec: Codec) -> None:
    """Logits that leave no doubt about the gold characters give the gold number."""
    reader = reader_of(codec)
    column = {int(token): k for k, token in enumerate(reader.vocabulary)}
    for text in ("0.00", "0.42", "0.99", "1.00"):
        logits = torch.full((4, len(column)), 0.0)
        for place, character in enumerate(text):
            logits[place, column.get(codec.encode_text(character)[0], 0)] = 50.0
        assert float(reader.digits(logits, [0], [text]).expected[0]) == pytest.approx(float(text), abs=1e-6)


def test_histogram_is_normal_around_its_target_in_every_number_of_the_contract() -> None:
    weights = histogram(torch.tensor([0.25, 1.0]), 0.1, 2)
    assert weights.shape == (2, 101)
    assert weights[0, 25] == weights[1, 100] == 1.0
    assert weights[0, [15, 35]].tolist() == pytest.approx([math.exp(-0.5)] * 2)
    assert weights[1, 80] == pytest.approx(math.exp(-2.0))
    assert histogram(torch.tensor([0.5]), 0.1, 3).shape == (1, 1001)


def test_histogram_loss_by_hand() -> None:
    """Two numbers of one decimal: the weights 1 at .3, 2 at .4 and 1 at 1.0, and all at .3 where 1.0 is shown.

    First row: lead 0 has 3/4, the decimal 3 has 1/3 and 4 has 2/3. Second row: lead 0 has all, and its decimal is not
    seen behind the 1 that stands there.
    """
    weights = torch.zeros(2, 11)
    weights[0, [3, 4, 10]] = torch.tensor([1.0, 2.0, 1.0])
    weights[1, 3] = 5.0
    lead = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    decimal = torch.full((1, 2, 10), 0.1).log()
    decimal[0, 0, 4] = math.log(0.5)
    total, count = histogram_loss(Digits(lead, decimal, torch.tensor([[4], [0]]), torch.tensor([False, True])), weights)
    first = -math.log(0.5) - math.log(0.1) / 3 - 2 * math.log(0.5) / 3
    assert (float(total), count) == (pytest.approx(first - math.log(0.9)), 2)


def test_histogram_loss_sees_no_decimals_behind_a_one() -> None:
    """0.00 to 0.09 have no weight left around .95 in fp32: nothing of them may reach the sum, or it is not a number."""
    weights = histogram(torch.tensor([0.95]), 0.02, 2)
    digits = Digits(torch.zeros(1, 2), torch.zeros(2, 1, 10), torch.tensor([[0, 0]]), torch.tensor([True]))
    total, count = histogram_loss(digits._replace(lead=digits.lead.log_softmax(1)), weights)
    assert (float(total), count) == (pytest.approx(math.log(2)), 1)


def test_histogram_loss_follows_the_digits_shown() -> None:
    """Behind a first decimal that is too low the best second one is 9, behind one too high 0, whatever the target's."""
    weights = histogram(torch.tensor([0.52, 0.52], dtype=torch.float64), 0.05, 2)
    decimals = torch.zeros(2, 2, 10, dtype=torch.float64, requires_grad=True)
    lead = torch.zeros(2, 2, dtype=torch.float64)
    digits = Digits(lead, decimals.log_softmax(2), torch.tensor([[4, 9], [6, 0]]), torch.tensor([False, False]))
    total, _ = histogram_loss(digits, weights)
    (gradient,) = torch.autograd.grad(total, decimals)
    assert gradient[0].argmin(1).tolist() == [5, 5]
    assert gradient[1].argmin(1).tolist() == [9, 0]


def test_histogram_loss_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    lead = torch.randn(2, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    places = torch.randn(2, 2, 10, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = histogram(torch.tensor([0.3, 0.95], dtype=torch.float64), 0.1, 2)
    shown, is_one = torch.tensor([[2, 8], [0, 0]]), torch.tensor([False, True])

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return histogram_loss(Digits(a.log_softmax(1), b.log_softmax(2), shown, is_one), weights)[0]

    assert gradcheck(loss, (lead, places))


def row(name: str, v: float) -> TrainingRow:
    target = Target(labels=("anger",), vad=Vad(v=v, a=0.61, d=0.4), rationale="")
    return TrainingRow(id=name, corpus="c", text="some text", target=target)


def test_drawn_numbers_are_spread_as_the_histogram_and_fixed_by_the_row() -> None:
    drawn = [drawn_vad(row(f"row {n}", 0.5), 0.1) for n in range(2000)]
    values = torch.tensor([vad.as_tuple() for vad in drawn])
    assert values.mean(0).tolist() == pytest.approx([0.5, 0.61, 0.4], abs=0.01)
    assert values.std(0).tolist() == pytest.approx([0.1] * 3, abs=0.01)
    assert abs(float(torch.corrcoef(values.T)[0, 1])) < 0.1
    assert drawn_vad(row("row 0", 0.5), 0.1) == drawn[0]
    ends = [drawn_vad(row(f"row {n}", v), 0.3).v for n in range(300) for v in (0.0, 1.0)]
    assert (min(ends), max(ends)) == (0.0, 1.0)
    with studied_decimals(3):
        assert len({drawn_vad(row(f"row {n}", 0.5), 0.1).v for n in range(300)}) > 150


def test_the_answer_shows_drawn_numbers_but_in_pairs_which_the_flip_term_reads(codec: Codec) -> None:
    plain, spread = encode_row(codec, row("x", 0.5)), encode_row(codec, row("x", 0.5), 0.1)
    written = [stretch.text for stretch in spread.stretches if stretch.kind == "number"]
    assert written == [f"{value:.2f}" for value in drawn_vad(row("x", 0.5), 0.1).as_tuple()]
    assert learnt_places(plain) == learnt_places(spread)
    pair = material_with_all_terms().pairs[0]
    for encoded, of in zip(encode_pair(codec, pair).rows, (pair.first, pair.second), strict=True):
        texts = [stretch.text for stretch in encoded.stretches if stretch.kind == "number"]
        assert texts == [f"{value:.2f}" for value in of.target.vad.as_tuple()]


@pytest.mark.parametrize("v", [0.5, 1.0])
def test_language_model_term_learns_that_a_digit_stands_there_and_not_which(codec: Codec, v: float) -> None:
    """-log P(0 or 1) at each lead and -log P(a digit) at each decimal; the zeros behind a 1 are learnt as they are."""
    named = (f"{n}" for n in range(999))
    shows = {0.5: "0", 1.0: "1"}[v]
    encoded = next(e for n in named if (e := encode_row(codec, row(n, v), 0.2)).stretches[1].text.startswith(shows))
    objective = Objective(codec, by_histogram(0.2), material_with_all_terms().sources, load_lexicon("builtin"))
    model = tiny_llama(layers=2)
    measured = objective.measure(model, Heads(32, torch.device("cpu")), [Item((encoded,))])
    with torch.inference_mode():
        shares = model(torch.tensor([encoded.ids])).logits[0].float().softmax(1)
    digits = [codec.encode_text(character)[0] for character in "0123456789"]
    allowed = {place: [encoded.ids[place]] for place in learnt_places(encoded)}
    for number in (stretch for stretch in encoded.stretches if stretch.kind == "number"):
        allowed[number.start] = digits[:2]
        if number.text.startswith("0"):
            allowed |= {number.start + 2: digits, number.start + 3: digits}
    expected = -sum(math.log(float(shares[place - 1, ids].sum())) for place, ids in allowed.items())
    assert float(measured.sums["lm"].detach()) == pytest.approx(expected, rel=1e-4)
    assert objective.counts([Item((encoded,))])["lm"] == len(allowed)


@pytest.mark.parametrize("regress_by", ["expectation", "histogram"])
def test_regression_term_agrees_with_all_numbers_enumerated(codec: Codec, regress_by: str) -> None:
    """The tiny model's own digits: squared error of their mean, or cross-entropy with 101 normal weights."""
    material = material_with_all_terms()
    settings = by_histogram(0.1).model_copy(update={"regress_by": regress_by})
    source_row = material.sources[1].rows[0]
    encoded = encode_row(codec, source_row, settings.digit_spread)
    objective = Objective(codec, settings, material.sources, load_lexicon("builtin"))
    model = tiny_llama(layers=2)
    found = float(objective.measure(model, Heads(32, torch.device("cpu")), [Item((encoded,))]).sums["reg"].detach())
    with torch.inference_mode():
        logits = model(torch.tensor([encoded.ids])).logits[0]
    digits = [codec.encode_text(character)[0] for character in "0123456789"]
    total = 0.0
    stretches = [stretch for stretch in encoded.stretches if stretch.kind == "number"]
    for stretch, target in zip(stretches, source_row.target.vad.as_tuple(), strict=True):
        heat = 2.0 if regress_by == "histogram" else 1.0
        at = [(logits[stretch.start - 1 + k][digits] / heat).softmax(0).tolist() for k in (0, 2, 3)]
        lead = [share / (at[0][0] + at[0][1]) for share in at[0][:2]]
        if regress_by == "expectation":
            drawn = [(a / 10 + b / 100, lead[0] * at[1][a] * at[2][b]) for a in range(10) for b in range(10)]
            total += (sum(share * value for value, share in [*drawn, (1.0, lead[1])]) - target) ** 2
            continue
        weight = {n: math.exp(-0.5 * ((n / 100 - target) / 0.1) ** 2) for n in range(101)}
        inside = [n for n in range(100) if f"{n / 100:.2f}"[2] == stretch.text[2]]
        total -= weight[100] / sum(weight.values()) * math.log(lead[1])
        for n in range(100):
            total -= weight[n] / sum(weight.values()) * math.log(lead[0])
            total -= weight[n] / sum(weight[k] for k in range(100)) * math.log(at[1][n // 10])
        total -= sum(weight[n] / sum(weight[k] for k in inside) * math.log(at[2][n % 10]) for n in inside)
    assert found == pytest.approx(total, rel=1e-4)
