"""The published JSON Schema of `leaderboard.json`, each field described by the docstring under it in `records`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from emoloom.records import Calibration, Check, Leaderboard, MetricValue, Record, ReliabilityBin, SystemRow

_RECORDS: tuple[type[Record], ...] = (Leaderboard, SystemRow, MetricValue, Calibration, ReliabilityBin, Check)


def leaderboard_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a run's leaderboard."""
    schema = Leaderboard.model_json_schema(mode="serialization")
    for record in _RECORDS:
        part = schema if record is Leaderboard else schema["$defs"][record.__name__]
        for field, text in _field_docstrings(record).items():
            part["properties"][field]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _field_docstrings(record: type[Record]) -> dict[str, str]:
    """Each field with the string that stands under it in the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, under in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(under, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(under.value)).split())
    return found
