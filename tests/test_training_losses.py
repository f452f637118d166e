"""Each loss term against two rows worked by hand, and its gradient against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_models import tiny_llama
from tests.training_runs import ALL_TERMS, SETTINGS, material_with_all_terms, tiny_codec
from torch.autograd import gradcheck
from torch.nn import functional

from emoloom.affect.flips import written_pairs
from emoloom.affect.lexicon import load_lexicon
from emoloom.affect.weak_vad import label_table
from emoloom.contract.prompt import LABELS
from emoloom.corpora import builtin
from emoloom.models.codec import Codec
from emoloom.records import Target, TrainingPair, TrainingRow, Vad
from emoloom.training import losses
from emoloom.training.batches import collate, learnt_places
from emoloom.training.encoding import EncodedRow, Item, encode_pair, encode_row
from emoloom.training.heads import Heads
from emoloom.training.mixture import Source
from emoloom.training.objective import Objective, _slots_sum
from emoloom.training.reading import Reader
from emoloom.training.tries import Trie, Word


def numbers(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture
def codec(tmp_path: Path) -> Codec:
    torch.set_num_threads(1)
    return tiny_codec(tmp_path)


def two_rows() -> tuple[torch.nn.Linear, torch.Tensor]:
    """A head and hidden states whose logits are (0, 0, 0) and (ln 2, 0, 0)."""
    head = torch.nn.Linear(2, 3, bias=False)
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    return head, torch.tensor([[0.0, 0.0], [math.log(2), 0.0]])


def test_language_model_loss_by_hand() -> None:
    """Logits (0, 0, 0) and (ln 2, 0, 0): -ln 1/3 for any id, -ln 1/4 for an id that is not the first."""
    head, hidden = two_rows()
    spoken = losses.language_model_loss(hidden, head, torch.tensor([0, 1]))
    assert float(spoken.sum.detach()) == pytest.approx(math.log(3) + math.log(4))
    assert spoken.n == 2
    assert spoken.each.tolist() == pytest.approx([math.log(3), math.log(4)])


def test_logit_adjustment_changes_the_loss_and_not_the_confidence() -> None:
    """ln 1/2 added to id 0 in the first row: weights 1/2, 1, 1, so p(0) = 1/5; the second row is as before."""
    head, hidden = two_rows()
    added = losses.Added(torch.tensor([0]), torch.tensor([[0.0], [math.log(0.5)]]), torch.tensor([1, 0]))
    spoken = losses.language_model_loss(hidden, head, torch.tensor([0, 1]), added)
    assert float(spoken.sum.detach()) == pytest.approx(math.log(5) + math.log(4))
    assert spoken.each.tolist() == pytest.approx([math.log(3), math.log(4)])


def test_weights_multiply_each_term_of_the_sum_alone() -> None:
    """The rows above, the second with weight 3: ln 3 + 3 ln 4, and the count and each -log p as before."""
    head, hidden = two_rows()
    biased = torch.nn.Linear(2, 3)
    biased.weight.data, biased.bias.data = head.weight.data, torch.zeros(3)
    for any_head in (head, biased):
        spoken = losses.language_model_loss(hidden, any_head, torch.tensor([0, 1]), weights=torch.tensor([1.0, 3.0]))
        assert float(spoken.sum.detach()) == pytest.approx(math.log(3) + 3 * math.log(4))
        assert (spoken.n, spoken.each.tolist()) == (2, pytest.approx([math.log(3), math.log(4)]))


def test_language_model_gradient_with_and_without_adjustment() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(6, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.tensor([0, 5, 2, 2])
    table = torch.tensor([[0.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    added = losses.Added(torch.tensor([2, 5]), table, torch.tensor([0, 1, 1, 0]))
    weights = torch.tensor([1.0, 4.0, 0.5, 1.0], dtype=torch.float64)
    for extra, factors in ((None, None), (added, None), (added, weights), (None, weights)):
        assert gradcheck(
            lambda h, w, e=extra, f=factors: losses._CrossEntropy.apply(h, w, target, e, f)[0], (hidden, weight)
        )
    logits = hidden @ weight.T
    logits = logits.index_add(1, added.ids, table[added.which])
    expected = functional.cross_entropy(logits, target, reduction="sum")
    torch.testing.assert_close(losses._CrossEntropy.apply(hidden, weight, target, added, None)[0], expected)


def test_classification_by_hand() -> None:
    p = numbers([0.5, 0.25], [0.8, 0.1])
    y = numbers([1.0, 0.0], [0.0, 0.0])
    total, count = losses.classification_loss(p, y)
    assert count == 4
    assert float(total) == pytest.approx(-math.log(0.5) - math.log(0.75) - math.log(0.2) - math.log(0.9))
    of_logits, count = losses.classification_loss_of_logits(torch.logit(p), y)
    assert count == 4
    assert float(of_logits) == pytest.approx(float(total))


def test_regression_by_hand() -> None:
    total, count = losses.regression_loss(
        numbers([0.5, 0.5, 0.5], [0.0, 1.0, 0.3]), numbers([0.4, 0.5, 0.8], [0.0, 0.9, 0.3])
    )
    assert (float(total), count) == (pytest.approx(0.01 + 0.09 + 0.01), 6)


def test_consistency_by_hand() -> None:
    total, count = losses.consistency_loss(
        numbers([0.1, 0.2, 0.3], [0.9, 0.5, 0.5]), numbers([0.2, 0.2, 0.3], [0.7, 0.5, 0.1])
    )
    assert (float(total), count) == (pytest.approx(0.01 + 0.04 + 0.16), 6)


def test_appraisal_by_hand_leaves_out_what_is_not_applicable() -> None:
    logits, target = numbers([0.0, math.log(3)], [0.0, 0.0]), numbers([0.25, 1.0], [0.0, 0.7])
    applicable = torch.tensor([[True, True], [False, True]])
    total, count = losses.appraisal_loss(logits, target, applicable)
    assert (float(total), count) == (pytest.approx(math.log(2) - math.log(0.75) + math.log(2)), 3)


def test_flip_by_hand() -> None:
    """v + v' - 1 is .1 and -.4; a differs by .2 in the second pair, whose targets' d differ by .3 as the answers do."""
    expected = torch.stack([numbers([0.8, 0.5, 0.5], [0.3, 0.5, 0.5]), numbers([0.3, 0.4, 0.1], [0.3, 0.6, 0.4])])
    target = torch.stack([numbers([0.9, 0.2, 0.3], [0.1, 0.2, 0.3]), numbers([0.6, 0.5, 0.2], [0.4, 0.5, 0.5])])
    variance = torch.zeros(2, 2, 3, dtype=torch.float64)
    variance[0, 1, 2] = 0.03
    total, count = losses.flip_loss(expected, variance, target)
    assert (float(total), count) == (pytest.approx(0.01 + 0.16 + 0.04 + 0.03), 6)


def test_flip_of_the_targets_of_written_pairs_is_nothing() -> None:
    pairs = written_pairs(builtin.read().splits["pairs"], load_lexicon("builtin"))
    target = torch.tensor([[row.target.vad.as_tuple() for row in (pair.first, pair.second)] for pair in pairs])
    total, count = losses.flip_loss(target, torch.zeros_like(target), target)
    assert (float(total), count) == (0.0, 3 * len(pairs))
    assert (target[:, 0, 2] != target[:, 1, 2]).any(), "people gave both texts a dominance of their own"
    assert torch.allclose(target[:, 0, 0] + target[:, 1, 0], torch.ones(len(pairs)))


@pytest.mark.parametrize(
    ("term", "shape", "rest"),
    [
        (lambda x, y: losses.classification_loss(x.sigmoid(), y)[0], (3, 4), (torch.ones(3, 4).double().tril(),)),
        (lambda x, y: losses.classification_loss_of_logits(x, y)[0], (3, 4), (torch.ones(3, 4).double().tril(),)),
        (lambda x, y: losses.regression_loss(x, y)[0], (2, 3), (torch.full((2, 3), 0.4).double(),)),
        (lambda x, y: losses.consistency_loss(x, y)[0], (2, 3), (torch.full((2, 3), 0.4).double(),)),
        (
            lambda x, y, on: losses.appraisal_loss(x, y, on)[0],
            (2, 4),
            (torch.full((2, 4), 0.3).double(), torch.ones(2, 4).tril().bool()),
        ),
        (lambda x, y: losses.flip_loss(x, x**2, y)[0], (2, 2, 3), (torch.full((2, 2, 3), 0.4).double(),)),
    ],
)
def test_gradients(term: Callable[..., torch.Tensor], shape: tuple[int, int], rest: tuple[Any, ...]) -> None:
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert gradcheck(term, (x, *rest))


def words() -> dict[str, Word]:
    """`ab` and `ac` share a token, `a` is a word as well, `d` stands alone."""
    return {
        "ab": Word((1, 2), (0.0,), 1.0), "ac": Word((1, 3), (1.0,), 3.0), "a": Word((1,), (0.5,), 4.0),
        "d": Word((4,), (0.2,), 2.0),
    }  # fmt: skip


def test_expected_value_along_a_spelling_by_hand() -> None:
    trie = Trie(words(), {1: 0, 2: 1, 3: 2, 4: 3})
    # first token: P(1) = 3/4, P(4) = 1/4; second: P(2) = 1/3, P(3) = 2/3
    logits = torch.tensor([[math.log(3), 9.0, 9.0, 0.0], [5.0, 0.0, math.log(2), 5.0]])
    found = trie.expected(logits, [0, 0, 0], [s for w in ("ab", "d", "a") if (s := trie.spelling(w))])
    below_1 = (1 * 0.0 + 3 * 1.0 + 4 * 0.5) / 8
    assert found[0, 0] == pytest.approx(0.25 * 0.2 + 0.75 * (2 / 3 * 1.0 + 1 / 3 * 0.0))
    assert found[1, 0] == pytest.approx(0.75 * below_1 + 0.25 * 0.2)
    assert found[2, 0] == pytest.approx(0.25 * 0.2 + 0.75 * 0.5)
    assert trie.spelling("x") is None


def test_expected_value_has_a_gradient() -> None:
    trie = Trie(words(), {1: 0, 2: 1, 3: 2, 4: 3})
    trie.means = trie.means.double()
    logits = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    spellings = [s for w in ("ab", "d", "ac") if (s := trie.spelling(w))]
    assert gradcheck(lambda x: trie.expected(x, [0, 2, 1], spellings), (logits,), atol=1e-6)


def reader_of(codec: Codec) -> Reader:
    return Reader(codec, material_with_all_terms().sources, load_lexicon("builtin"))


def test_label_shares_of_a_sure_model_are_the_gold_labels(codec: Codec) -> None:
    reader = reader_of(codec)
    column = {int(token): k for k, token in enumerate(reader.vocabulary)}
    for label in ("anger", "annoyance", "approval"):
        ids = codec.encode_text(label)
        logits = torch.zeros(len(ids), len(column))
        for place, token in enumerate(ids):
            logits[place, column[token]] = 60.0
        spelling = reader.labels.spelling(label)
        assert spelling is not None
        shares = reader.labels.expected(logits, [0], [spelling])[0]
        assert float(shares[LABELS.index(label)]) == pytest.approx(1.0, abs=1e-4)
        assert float(shares.sum()) == pytest.approx(1.0, abs=1e-4)


def test_who_is_surely_wrong_learns_by_slots_too() -> None:
    """One slot, all but certain of another label: both logits get a gradient, and toward the gold one."""
    gold = LABELS.index("grief")
    shares = torch.zeros(1, len(LABELS))
    logits = torch.tensor([-15.0, 0.0], requires_grad=True)
    two = torch.softmax(logits, 0)
    shares = shares.index_copy(1, torch.tensor([gold, LABELS.index("joy")]), two[None])
    encoded = EncodedRow([1, 2], 1, row=row("lost", labels=("grief",)))
    (gradient,) = torch.autograd.grad(_slots_sum(shares, [0], [encoded]), logits)
    assert gradient[0] < 0 < gradient[1]


def test_cue_words_of_pairs_alone_are_known_too(codec: Codec) -> None:
    material, lexicon = material_with_all_terms(), load_lexicon("builtin")
    inflected = next(w for w in ("unbearably", "suffers", "cheered") if w not in lexicon.entries and lexicon.lookup(w))
    first, second = material.pairs[0].first, material.pairs[0].second
    target = first.target.model_copy(update={"rationale": inflected})
    pair = TrainingPair(first=first.model_copy(update={"target": target}), second=second, how="antonym")
    assert Reader(codec, material.sources, lexicon).cues.spelling((False, inflected)) is None
    assert Reader(codec, material.sources, lexicon, [pair]).cues.spelling((False, inflected)) is not None


def test_label_shares_always_sum_to_one(codec: Codec) -> None:
    reader = reader_of(codec)
    logits = torch.randn(16, len(reader.vocabulary), generator=torch.Generator().manual_seed(3))
    for label in LABELS:
        spelling = reader.labels.spelling(label)
        assert spelling is not None
        assert float(reader.labels.expected(logits, [0], [spelling]).sum()) == pytest.approx(1.0, abs=1e-5)


def row(text: str, **target: Any) -> TrainingRow:
    fixed = {"labels": ("anger", "sadness"), "vad": Vad(v=0.23, a=0.61, d=0.4), "rationale": "awful mess", **target}
    return TrainingRow(id=text, corpus="c", text=text, target=Target(**fixed))


def test_implied_vad_of_gold_words_is_the_mean_of_lexicon_and_labels(codec: Codec) -> None:
    """The calibration maps implied VAD to targets: with targets that are an affine function, nothing is left over."""
    lexicon = load_lexicon("builtin")
    rows = []
    for n, (labels, cues) in enumerate(
        [(("joy",), "great day"), (("anger",), "awful mess"), (("love",), "sweet"), (("fear",), "dark")]
    ):
        entries = [lexicon.lookup(word) for word in cues.split()] + [label_table()[name] for name in labels]
        implied = [sum(e[axis] for e in entries if e) / len([e for e in entries if e]) for axis in range(3)]
        v, a, d = (0.1 + 0.5 * value for value in implied)
        rows.append(row(f"text {n}", labels=labels, rationale=cues, vad=Vad(v=v, a=a, d=d)))
    settings = SETTINGS.model_copy(update={"lambda_vad": 1.0})
    objective = Objective(codec, settings, [Source(rows, 1.0)], lexicon)
    assert objective.scale.tolist() == pytest.approx([0.5] * 3, abs=1e-4)
    assert objective.offset.tolist() == pytest.approx([0.1] * 3, abs=1e-4)
    assert objective.residual.tolist() == pytest.approx([0.0] * 3, abs=1e-4)


@pytest.mark.parametrize(("classify_by", "regress_by"), [("head", "expectation"), ("slots", "estimate")])
def test_every_term_reaches_the_weights_and_only_those_that_are_on(
    classify_by: str, regress_by: str, codec: Codec
) -> None:
    material = material_with_all_terms()
    settings = SETTINGS.model_copy(update={**ALL_TERMS, "classify_by": classify_by, "regress_by": regress_by})
    items = [Item((encode_row(codec, r),)) for r in material.sources[1].rows[:3]]
    items.append(encode_pair(codec, material.pairs[0]))
    objective = Objective(codec, settings, material.sources, load_lexicon("builtin"))
    model = tiny_llama(layers=2)
    heads = Heads(32, model.device)
    torch.nn.init.normal_(heads.labels.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(heads.appraisals.weight, generator=torch.Generator().manual_seed(0))
    body = model.model.layers[0].mlp.up_proj.weight
    for term in objective.weights:
        measured = objective.measure(model, heads, items)
        (gradient,) = torch.autograd.grad(measured.sums[term], body)
        assert gradient.abs().max() > 0, term
    counts = objective.counts(items)
    assert counts == {"lm": counts["lm"], "cls": 28 * 4, "reg": 15, "vad": 15, "app": 12, "flip": 3}
    plain = Objective(codec, SETTINGS, material.sources, load_lexicon("builtin"))
    assert set(plain.measure(model, heads, items).sums) == set(plain.counts(items)) == {"lm"}


def test_guessed_labels_are_shown_and_not_learnt(codec: Codec) -> None:
    material = material_with_all_terms()
    unlabelled = encode_row(codec, material.sources[1].rows[0])
    known = encode_row(codec, material.sources[1].rows[1])
    settings = SETTINGS.model_copy(update=ALL_TERMS)
    objective = Objective(codec, settings, material.sources, load_lexicon("builtin"))
    (guessed,) = [objective.counts([Item((r,))]) for r in (unlabelled,)]
    assert guessed["cls"] == 0
    assert guessed["reg"] == 3
    label_ids = len(codec.encode_text('anger","sadness"],"vad":{"v":'))
    assert len(unlabelled.ids) - unlabelled.n_prompt - guessed["lm"] == label_ids
    assert objective.counts([Item((known,))])["cls"] == 28


def test_adjustment_is_the_log_share_of_each_branch_where_it_is_decided(codec: Codec) -> None:
    """Three rows of anger and one of joy and sadness: 1 of 5 decisions behind a label is for another one."""
    rows = [row(f"angry {n}", labels=("anger",)) for n in range(3)] + [row("mixed", labels=("joy", "sadness"))]
    settings = SETTINGS.model_copy(update={"label_adjustment": 0.5})
    objective = Objective(codec, settings, [Source(rows, 1.0)], load_lexicon("builtin"))
    encoded = [encode_row(codec, rows[0]), encode_row(codec, rows[3])]
    added, _ = objective._treatment(encoded, collate(encoded))
    assert added is not None
    learnt = [(r, place) for r in encoded for place in learnt_places(r)]
    values = {}
    for (r, place), kind in zip(learnt, added.which.tolist(), strict=True):
        column = (added.ids == r.ids[place]).nonzero().flatten().tolist()
        if kind:
            values[r.row.text, place - r.n_prompt] = float(added.table[kind, column[0]])  # type: ignore[union-attr]
    opening = len('{"labels":["')
    first_letters = {"a": 0.75 + 5e-4, "j": 0.25 + 1e-4, "s": 0.25 + 1e-4}
    n_all = 1.25 + 28e-4
    assert values["angry 0", opening] == pytest.approx(0.5 * math.log(first_letters["a"] / n_all), abs=1e-3)
    assert values["mixed", opening] == pytest.approx(0.5 * math.log(first_letters["j"] / n_all), abs=1e-3)
    behind = {text: [v for (t, place), v in values.items() if t == text] for text in ("angry 0", "mixed")}
    assert behind["angry 0"][-1] == pytest.approx(0.5 * math.log(0.8), abs=1e-4)
    more = opening + len("joy") + objective._reader.after_label.offset
    assert values["mixed", more] == pytest.approx(0.5 * math.log(0.2), abs=1e-4)


@pytest.mark.parametrize("adjustment", [0.0, 0.5])
def test_label_weight_falls_on_the_ids_that_decide_a_label(codec: Codec, adjustment: float) -> None:
    """`anger` is decided at its first letter and behind its last; the weight is there whether or not logits change."""
    rows = [row("angry", labels=("anger",)), row("glad", labels=("joy",))]
    settings = SETTINGS.model_copy(update={"label_adjustment": adjustment, "label_weight": 4.0})
    objective = Objective(codec, settings, [Source(rows, 1.0)], load_lexicon("builtin"))
    encoded = encode_row(codec, rows[0])
    added, weights = objective._treatment([encoded], collate([encoded]))
    assert (added is None) == (adjustment == 0.0)
    assert weights is not None
    heavy = {
        place - encoded.n_prompt for place, w in zip(learnt_places(encoded), weights.tolist(), strict=True) if w > 1
    }
    opening = len('{"labels":["')
    behind = opening + len("anger") + objective._reader.after_label.offset
    assert {opening, behind} <= heavy <= {*range(opening, opening + len("anger")), behind}
    assert set(weights.tolist()) == {1.0, 4.0}
