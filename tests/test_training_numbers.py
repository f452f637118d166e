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
from emoloom.models.codec import Codec
from emoloom.records import Target, TrainingRow, Vad
from emoloom.training.batches import learnt_places
from emoloom.training.encoding import Item, encode_pair, encode_row
from emoloom.training.heads import Heads
from emoloom.training.losses import Digits, digits_loss, estimate_loss
from emoloom.training.mixture import Source
from emoloom.training.objective import Objective
from emoloom.training.ratings import ERROR_WEIGHT, Estimates, shown_vad
from emoloom.training.reading import Reader


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    torch.set_num_threads(1)
    return tiny_codec(tmp_path)


def reader_of(codec: Codec) -> Reader:
    return Reader(codec, material_with_all_terms().sources, load_lexicon("builtin"))


def by_estimate(spread: float) -> TrainingSettings:
    return SETTINGS.model_copy(update={"lambda_reg": 1.0, "regress_by": "estimate", "number_spread": spread})


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


def test_estimate_loss_by_hand() -> None:
    """Two numbers with two decimals each: errors of 1 and 3, and of 0 and 2 deviations."""
    estimates = torch.tensor([[0.6, 0.5], [0.8, 0.7]], requires_grad=True)
    total, count = estimate_loss(estimates, torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.1]))
    assert (float(total.detach()), count) == (pytest.approx(0.5 * ((1 + 9) / 2 + (0 + 4) / 2)), 2)
    (gradient,) = torch.autograd.grad(total, estimates)
    assert gradient.flatten().tolist() == pytest.approx([5.0, 0.0, 15.0, 10.0], abs=1e-4)


def test_digits_loss_by_hand() -> None:
    """One decimal, spread .1: the weights of .3, .35 and so on are e^-(n - 3.5)^2 / 2 in steps of .1.

    Second row: what is wanted is .3 and 1.0 is shown: its decimal is not seen behind the 1 that stands there.
    """
    wanted = torch.tensor([[0.35, 0.3]])
    lead = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    decimal = torch.full((1, 2, 10), 0.1).log()
    decimal[0, 0, 4] = math.log(0.5)
    digits = Digits(lead, decimal, torch.tensor([[4], [0]]), torch.tensor([False, True]))
    total, count = digits_loss(digits, wanted, 0.1)
    by_hand = 0.0
    for row_wanted, leads, seen in ((3.5, (0.5, 0.5), True), (3.0, (0.9, 0.1), False)):
        weight = [math.exp(-0.5 * (n - row_wanted) ** 2) for n in range(11)]
        by_hand -= (sum(weight[:10]) * math.log(leads[0]) + weight[10] * math.log(leads[1])) / sum(weight)
        for n in range(10) if seen else ():
            by_hand -= weight[n] / sum(weight[:10]) * math.log(0.5 if n == 4 else 0.1)
    assert (float(total), count) == (pytest.approx(by_hand), 2)


def test_digits_loss_sees_no_decimals_behind_a_one() -> None:
    digits = Digits(torch.zeros(1, 2), torch.zeros(2, 1, 10), torch.tensor([[0, 0]]), torch.tensor([True]))
    total, count = digits_loss(digits._replace(lead=digits.lead.log_softmax(1)), torch.full((2, 1), 0.95), 0.02)
    assert (float(total), count) == (pytest.approx(math.log(2)), 1)


def test_digits_loss_follows_the_digits_shown_however_far_they_are() -> None:
    """Behind a first decimal that is too low the best second one is 9, behind one too high 0; each by its own estimate.

    At .02 no weight of .0x is left around .52 in fp32; its share has to be there all the same.
    """
    wanted = torch.tensor([[0.52, 0.52, 0.52, 0.52], [0.52, 0.52, 0.52, 0.57]])
    decimals = torch.zeros(2, 4, 10, requires_grad=True)
    shown, lead = torch.tensor([[4, 9], [6, 0], [0, 0], [5, 0]]), torch.zeros(4, 2)
    digits = Digits(lead, decimals.log_softmax(2), shown, torch.zeros(4, dtype=torch.bool))
    total, _ = digits_loss(digits, wanted, 0.02)
    (gradient,) = torch.autograd.grad(total, decimals)
    assert gradient[0].argmin(1).tolist() == [5] * 4
    assert gradient[1].argmin(1).tolist() == [9, 0, 9, 7]
    assert torch.isfinite(total)


def test_digits_loss_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    lead = torch.randn(2, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    places = torch.randn(2, 2, 10, dtype=torch.float64, generator=generator, requires_grad=True)
    wanted = torch.tensor([[0.3, 0.95], [0.32, 0.9]], dtype=torch.float64)
    shown, is_one = torch.tensor([[2, 8], [0, 0]]), torch.tensor([False, True])

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return digits_loss(Digits(a.log_softmax(1), b.log_softmax(2), shown, is_one), wanted, 0.1)[0]

    assert gradcheck(loss, (lead, places))


def row(name: str, v: float) -> TrainingRow:
    target = Target(labels=("anger",), vad=Vad(v=v, a=0.61, d=0.4), rationale="")
    return TrainingRow(id=name, corpus="c", text="some text", target=target)


def test_shown_numbers_tell_nothing_of_the_row_and_are_fixed_by_it() -> None:
    rows = [row(f"row {n}", n / 1000) for n in range(1000)]
    shown = [shown_vad(rows, one) for one in rows]
    assert shown[7] == shown_vad(rows, rows[7])
    own_and_shown = torch.tensor([[one.target.vad.v, other.v] for one, other in zip(rows, shown, strict=True)])
    assert abs(float(torch.corrcoef(own_and_shown.T)[0, 1])) < 0.1
    assert own_and_shown.std(0).tolist() == pytest.approx([0.289] * 2, abs=0.02)


def test_the_answer_shows_other_numbers_but_in_pairs_which_the_flip_term_reads(codec: Codec) -> None:
    other = Vad(v=0.12, a=0.34, d=0.56)
    plain, foreign = encode_row(codec, row("x", 0.5)), encode_row(codec, row("x", 0.5), other)
    assert [stretch.text for stretch in foreign.stretches if stretch.kind == "number"] == ["0.12", "0.34", "0.56"]
    assert learnt_places(plain) == learnt_places(foreign)
    assert foreign.row == row("x", 0.5)
    pair = material_with_all_terms().pairs[0]
    for encoded, of in zip(encode_pair(codec, pair).rows, (pair.first, pair.second), strict=True):
        texts = [stretch.text for stretch in encoded.stretches if stretch.kind == "number"]
        assert texts == [f"{value:.2f}" for value in of.target.vad.as_tuple()]


def test_a_head_that_knows_nothing_estimates_the_mean_of_what_is_drawn() -> None:
    """Two sources, .2 and .8 of valence, drawn 3 to 1: mean .35, variance .0675; the error of .8 there."""
    sources = [Source([row("low", 0.2)], 0.75), Source([row("high", 0.8)], 0.25)]
    heads = Heads(4, torch.device("cpu"))
    flat = Digits(torch.zeros(3, 2), torch.zeros(2, 3, 10), torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3).bool())
    target = torch.tensor([0.8, 0.61, 0.4])
    found = Estimates(sources, 0.02).loss(heads, torch.ones(12, 4), [0, 4, 8], flat, target)
    assert float(found.detach()) == pytest.approx(8 * 0.5 * 0.45**2 / 0.0675, rel=1e-4)  # digits of log p = 0: nothing


@pytest.mark.parametrize("v", [0.5, 1.0])
def test_language_model_term_learns_that_a_digit_stands_there_and_not_which(codec: Codec, v: float) -> None:
    """-log P(0 or 1) at each lead and -log P(a digit) at each decimal; the zeros behind a 1 are learnt as they are."""
    encoded = encode_row(codec, row("x", 0.3), Vad(v=v, a=0.2, d=0.4))
    objective = Objective(codec, by_estimate(0.2), material_with_all_terms().sources, load_lexicon("builtin"))
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


@pytest.mark.parametrize("regress_by", ["expectation", "estimate"])
def test_regression_term_agrees_with_all_numbers_enumerated(codec: Codec, regress_by: str) -> None:
    """The tiny model's own digits: squared error of their mean, or of an estimate, and what writing that costs."""
    material = material_with_all_terms()
    settings = by_estimate(0.1).model_copy(update={"regress_by": regress_by})
    source_row = material.sources[1].rows[0]
    shown = Vad(v=0.52, a=0.31, d=0.77) if settings.estimates else None
    encoded = encode_row(codec, source_row, shown)
    objective = Objective(codec, settings, material.sources, load_lexicon("builtin"))
    model, heads = tiny_llama(layers=2), Heads(32, torch.device("cpu"))
    torch.nn.init.normal_(heads.numbers.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    found = float(objective.measure(model, heads, [Item((encoded,))]).sums["reg"].detach())
    with torch.inference_mode():
        output = model(torch.tensor([encoded.ids]), output_hidden_states=True)
    logits, states = output.logits[0], output.hidden_states[-1][0]
    digits = [codec.encode_text(character)[0] for character in "0123456789"]
    by_source = [torch.tensor([r.target.vad.as_tuple() for r in source.rows]) for source in material.sources]
    weights = torch.cat(
        [torch.full((len(v),), s.share / len(v)) for v, s in zip(by_source, material.sources, strict=True)]
    )
    everything = torch.cat(by_source)
    mean = (weights[:, None] * everything).sum(0) / weights.sum()
    deviation = ((weights[:, None] * (everything - mean) ** 2).sum(0) / weights.sum()).sqrt()
    total = 0.0
    stretches = [stretch for stretch in encoded.stretches if stretch.kind == "number"]
    for axis, (stretch, target) in enumerate(zip(stretches, source_row.target.vad.as_tuple(), strict=True)):
        at = [logits[stretch.start - 1 + k][digits].softmax(0).tolist() for k in (0, 2, 3)]
        lead = [share / (at[0][0] + at[0][1]) for share in at[0][:2]]
        if regress_by == "expectation":
            drawn = [(a / 10 + b / 100, lead[0] * at[1][a] * at[2][b]) for a in range(10) for b in range(10)]
            total += (sum(share * value for value, share in [*drawn, (1.0, lead[1])]) - target) ** 2
            continue
        estimates = []
        for k in (2, 3):
            state = states[stretch.start - 1 + k]
            read = float((state / (state**2).mean().sqrt()) @ heads.numbers.weight[axis].detach())
            estimates.append(float(mean[axis] + deviation[axis] * read))
        total += ERROR_WEIGHT * sum(0.25 * ((e - target) / float(deviation[axis])) ** 2 for e in estimates)
        weight = [[math.exp(-0.5 * ((n / 100 - min(max(e, 0), 1)) / 0.1) ** 2) for n in range(101)] for e in estimates]
        inside = [n for n in range(100) if f"{n / 100:.2f}"[2] == stretch.text[2]]
        total -= weight[0][100] / sum(weight[0]) * math.log(lead[1])
        for n in range(100):
            total -= weight[0][n] / sum(weight[0]) * math.log(lead[0])
            total -= weight[0][n] / sum(weight[0][:100]) * math.log(at[1][n // 10])
        total -= sum(weight[1][n] / sum(weight[1][k] for k in inside) * math.log(at[2][n % 10]) for n in inside)
    assert found == pytest.approx(total, rel=1e-3)
