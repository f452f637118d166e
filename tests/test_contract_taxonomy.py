"""Taxonomies and projections."""

import json

import pytest

from emoloom.contract.taxonomy import (
    EKMAN_7,
    EMPATHETIC_32,
    EMPATHETIC_TO_GOEMOTIONS,
    GOEMOTIONS_28,
    GOEMOTIONS_TO_EKMAN,
    PROJECTIONS,
    TAXONOMIES,
    can_project,
    labels_of,
    project,
    scoring_taxonomy,
)
from emoloom.errors import InputError


def test_sizes_and_no_label_twice():
    assert [len(labels) for labels in (GOEMOTIONS_28, EKMAN_7, EMPATHETIC_32)] == [28, 7, 32]
    for labels in TAXONOMIES.values():
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("pair", PROJECTIONS)
def test_every_source_label_is_mapped_to_a_known_label(pair):
    source, target = pair
    assert set(PROJECTIONS[pair]) == set(labels_of(source))
    assert set(PROJECTIONS[pair].values()) <= set(labels_of(target))


def test_the_two_step_projection_is_the_composition():
    assert PROJECTIONS["empathetic-32", "ekman-7"] == {
        label: GOEMOTIONS_TO_EKMAN[fine] for label, fine in EMPATHETIC_TO_GOEMOTIONS.items()
    }


@pytest.mark.data
def test_ekman_map_is_the_official_one(data_dir):
    official = json.loads((data_dir / "goemotions" / "ekman_mapping.json").read_text(encoding="utf-8"))
    table = {fine: coarse for coarse, fines in official.items() for fine in fines}
    assert {**table, "neutral": "neutral"} == GOEMOTIONS_TO_EKMAN


@pytest.mark.data
def test_goemotions_order_is_the_official_one(data_dir):
    assert tuple((data_dir / "goemotions" / "emotions.txt").read_text(encoding="utf-8").split()) == GOEMOTIONS_28


def test_project_merges_orders_and_keeps():
    assert project(("love", "joy", "anger"), "goemotions-28", "ekman-7") == ("anger", "joy")
    assert project(("neutral", "joy"), "goemotions-28", "goemotions-28") == ("joy", "neutral")
    assert project((), "goemotions-28", "ekman-7") == ()


def test_project_reads_an_iterator_once():
    assert project(iter(["love"]), "goemotions-28", "ekman-7") == ("joy",)


def test_project_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="'happy' is not in ekman-7"):
        project(("happy",), "ekman-7", "ekman-7")
    with pytest.raises(InputError, match="no projection from ekman-7 to goemotions-28"):
        project(("joy",), "ekman-7", "goemotions-28")
    with pytest.raises(InputError, match="did you mean 'ekman-7'"):
        project((), "ekman7", "ekman-7")


@pytest.mark.parametrize(
    ("predicted", "gold", "scored"),
    [
        ("goemotions-28", "goemotions-28", "goemotions-28"),
        ("goemotions-28", "ekman-7", "ekman-7"),
        ("goemotions-28", "empathetic-32", "goemotions-28"),
        ("ekman-7", "empathetic-32", "ekman-7"),
        ("empathetic-32", "empathetic-32", "empathetic-32"),
    ],
)
def test_scoring_taxonomy_is_the_finest_shared_one(predicted, gold, scored):
    assert scoring_taxonomy(predicted, gold) == scored
    assert scoring_taxonomy(gold, predicted) == scored
    assert can_project(predicted, scored)


def test_scoring_taxonomy_names_the_nearest_of_an_unknown_one():
    with pytest.raises(InputError, match="did you mean 'goemotions-28'"):
        scoring_taxonomy("goemotions-27", "ekman-7")
