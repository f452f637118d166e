"""The rules of the house, read from the source: imports one way, heavy libraries where they belong, sizes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "src" / "emoloom"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room, and the rooms that it may import. Single modules of the package are rooms too.
BASE = {"errors", "records"}
GROUND = BASE | {"config", "contract", "affect", "progress", "durable", "paths"}
STORED = GROUND | {"corpora", "seal", "store"}
MODELS = STORED | {"models"}
SCORED = MODELS | {"training", "decoding", "scoring"}
MAY_IMPORT = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "records": {"errors"},
    "progress": BASE,
    "config": BASE,
    "contract": BASE,
    "durable": BASE,
    "paths": BASE,
    "seal": set(),
    "affect": BASE | {"contract", "durable", "paths"},
    "corpora": GROUND,
    "store": GROUND | {"corpora", "seal"},
    "models": STORED,
    "training": MODELS,
    "decoding": MODELS,
    "scoring": STORED,
    "screening": SCORED,
    "studies": SCORED | {"screening"},
    "reporting": STORED | {"scoring"},
    "pipeline": SCORED | {"screening", "studies", "reporting"},
    "cli": SCORED | {"screening", "studies", "reporting", "pipeline"},
}
TENSOR_LIBRARIES = {"torch", "transformers", "accelerate", "peft"}
TENSOR_ROOMS = {"models", "training", "decoding", "studies"}
NEVER_TENSORS = {
    "errors",
    "records",
    "config",
    "contract",
    "affect",
    "corpora",
    "scoring",
    "reporting",
    "progress",
    "durable",
    "paths",
    "seal",
}
FORBIDDEN_STEMS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line; `from emoloom import x` counts as `emoloom.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            for alias in node.names:
                yield (f"{node.module}.{alias.name}" if node.module == "emoloom" else str(node.module)), node.lineno


def module_level(tree: ast.Module) -> ast.Module:
    """What runs on import: function bodies and `if TYPE_CHECKING:` blocks are left out."""

    class Pruner(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            """Drop it."""

        def visit_If(self, node: ast.If) -> ast.AST | None:
            """Drop type-checking blocks."""
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return Pruner().visit(tree)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def runtime(path: Path) -> ast.Module:
    """The source without `if TYPE_CHECKING:` blocks, lazy imports included."""
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return tree


def test_the_package_is_here_and_every_room_has_a_rule():
    assert len(FILES) > 10
    assert {room_of(path) for path in FILES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_rooms_import_only_what_lies_before_them(path):
    room = room_of(path)
    allowed = MAY_IMPORT[room] | {room}
    for module, line in imports(parsed(path)):
        if module == "emoloom.__version__" or not module.startswith("emoloom."):
            continue
        assert module.split(".")[1] in allowed, f"{name_of(path)}:{line} imports {module}"


def test_the_rules_have_no_way_back():
    for room, allowed in MAY_IMPORT.items():
        for other in allowed:
            assert room not in MAY_IMPORT[other], f"{room} and {other} may import each other"
    assert "decoding" not in MAY_IMPORT["training"]
    assert "training" not in MAY_IMPORT["decoding"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_tensor_libraries_stay_in_their_rooms(path):
    tree, room = runtime(path), room_of(path)
    lazy = {module.split(".")[0] for module, _ in imports(tree)}
    eager = {module.split(".")[0] for module, _ in imports(module_level(parsed(path)))}
    if room in NEVER_TENSORS:
        assert not lazy & TENSOR_LIBRARIES
    if room not in TENSOR_ROOMS:
        assert not eager & TENSOR_LIBRARIES


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name_of)
def test_package_initialisers_import_nothing_heavy(path):
    heavy = TENSOR_LIBRARIES | {"numpy", "scipy", "sklearn"}
    assert not {module.split(".")[0] for module, _ in imports(parsed(path))} & heavy


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(done.stdout.split())


HEAVY = {"torch", "transformers", "sklearn", "scipy", "huggingface_hub", "tokenizers", "gguf"}


@pytest.mark.parametrize("module", ["cli", "pipeline"])
def test_start_up_loads_nothing_heavy(module):
    loaded = _loaded_by(f"import emoloom.{module}")
    assert f"emoloom.{module}" in loaded
    assert not loaded & HEAVY


def test_naming_candidates_and_reading_settings_load_no_tensors():
    loaded = _loaded_by(
        "import emoloom.config, emoloom.contract.parser, emoloom.models.candidates, emoloom.models.codec"
    )
    assert not loaded & (HEAVY - {"gguf"})


@pytest.mark.parametrize(("target", "extra"), [("test", "dev"), ("screen", "models"), ("test-browser", "browser")])
def test_commands_set_up_what_they_run(target, extra):
    """A prerequisite whose name is defined further down in the Makefile is no prerequisite."""
    done = subprocess.run(["make", "-nB", target], cwd=PROJECT, capture_output=True, text=True, check=True)
    installs = [line for line in done.stdout.splitlines() if "pip install" in line and " -e " in line]
    assert any(extra in line.partition(" -e ")[2] for line in installs)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= MAX_FUNCTION_LINES, f"{node.name} has {size} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_is_a_drawer_for_everything(path):
    assert path.stem not in FORBIDDEN_STEMS
    assert not FORBIDDEN_STEMS & set(path.relative_to(PACKAGE).parts)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_importing_has_no_side_effects_worth_the_name(path):
    calls = {"print", "open", "mkdir", "makedirs", "manual_seed", "seed", "basicConfig", "urlopen"}
    for node in ast.walk(module_level(parsed(path))):
        if isinstance(node, ast.Call):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            assert called not in calls, f"{name_of(path)}:{node.lineno} calls {called} on import"
