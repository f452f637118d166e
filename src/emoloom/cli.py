"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from emoloom import __version__
from emoloom.errors import EmoloomError, InputError

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

app = typer.Typer(
    name="emoloom",
    help="Screen small language models for emotion and VAD: which one is worth training, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
corpora_app = typer.Typer(help="What corpora there are, and what is in them.", no_args_is_help=True)
lexicon_app = typer.Typer(help="Affect lexica and the weak VAD they give.", no_args_is_help=True)
candidates_app = typer.Typer(help="Base models: list, fetch, show.", no_args_is_help=True)
prompt_app = typer.Typer(help="The contract's exact bytes.", no_args_is_help=True)
bench_app = typer.Typer(help="Ratios against peers, measured in one run.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")
app.add_typer(lexicon_app, name="lexicon")
app.add_typer(candidates_app, name="candidates")
app.add_typer(prompt_app, name="prompt")
app.add_typer(bench_app, name="bench")

ConfigArgument = Annotated[
    Path | None, typer.Argument(help="TOML config; none: the built-in default.", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.key=value.")]
DataOption = Annotated[str, typer.Option("--data-dir", help="Folder with the official corpus files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
CandidateOption = Annotated[str, typer.Option("--candidate", help="Candidate name.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use the cache only; never fetch.")]
CacheOption = Annotated[str, typer.Option("--cache-dir", help="Where weights are kept.")]


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend, 1 for an internal fault."""
    try:
        exit_code = app(standalone_mode=False) or 0
    except EmoloomError as error:
        _fail(error.line(), error.exit_code)
    except ModuleNotFoundError as error:
        _fail(f"the library '{error.name}' is not installed; pip install 'emoloom[models,report]'", 2)
    except OSError as error:  # a full disk, a folder that cannot be read or written
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}; free space or check permissions", 2)
    except Exception as error:
        explain = getattr(error, "format_message", None)  # typer's own usage errors, whose class it keeps private
        if explain is None:
            raise
        _fail(f"{explain()}; see `emoloom --help`", 2)
    if exit_code == INTERRUPTED:
        print("interrupted: a screen or stage continues where it stopped when run again", file=sys.stderr)
    sys.exit(exit_code)


def _fail(line: str, exit_code: int) -> NoReturn:
    """Print one line without control characters and leave."""
    shown = "".join(character if character.isprintable() else " " for character in line)
    print(f"error: {' '.join(shown.split())}", file=sys.stderr)
    sys.exit(exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"emoloom {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Root options."""


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("emoloom.toml"),
) -> None:
    """Write a commented config with every setting at its default."""
    from emoloom.config import config_template
    from emoloom.store import write_text

    if path.exists():
        raise InputError("exists already", where=str(path), next_step="name another file")
    write_text(path, config_template())
    print(path)


@app.command()
def screen(
    config: ConfigArgument = None, data_dir: DataOption = "", overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train, decode, score and report every candidate of a config. Run again, it continues."""
    from emoloom import pipeline

    folder = pipeline.screen(pipeline.configure(config, data_dir, tuple(overrides or ())))
    _show_run(folder, as_json)


@app.command()
def train(config: ConfigArgument = None, data_dir: DataOption = "", overrides: SetOption = None) -> None:
    """Only the first stages of `screen`: data, plan, and training of every candidate."""
    from emoloom import pipeline

    print(pipeline.train(pipeline.configure(config, data_dir, tuple(overrides or ()))))


@app.command()
def decode(run: RunArgument) -> None:
    """Decode the evaluated corpora with the trained candidates of a run."""
    from emoloom import pipeline

    print(pipeline.decode(run))


@app.command()
def score(run: RunArgument, as_json: JsonOption = False) -> None:
    """Score the predictions of a run against its rows and floors; needs no model."""
    from emoloom import pipeline

    pipeline.score(run)
    _show_run(run, as_json)


@app.command()
def report(run: RunArgument) -> None:
    """Write the HTML report of a scored run; needs no model."""
    from emoloom import pipeline

    print(pipeline.report(run))


def _show_run(folder: Path, as_json: bool) -> None:
    """The leaderboard of a run on standard output."""
    from emoloom import pipeline

    if as_json:
        print(json.dumps(pipeline.leaderboard_json(folder), ensure_ascii=False, indent=1, sort_keys=True))
    else:
        pipeline.print_run(folder)


@corpora_app.command("list")
def corpora_list() -> None:
    """Name, licence and origin of every corpus that can be read."""
    from emoloom.corpora.registry import corpus_names, corpus_source

    for name in corpus_names():
        source = corpus_source(name)
        print(f"{name:22} {source.licence:18} {source.where_to_get}")
    print(f"{'jsonl:PATH':22} {'yours':18} one JSON object a line: text, labels, taxonomy; optional vad, id, split")


@corpora_app.command("show")
def corpora_show(
    name: Annotated[str, typer.Argument(help="Corpus name.")],
    data_dir: DataOption = "",
    rows: Annotated[int, typer.Option(min=0, help="Rows of each split to print.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """The manifest of a corpus, its malformed rows, and its first rows."""
    data = _read_corpus(name, data_dir)
    if as_json:
        _print_json({
            "manifest": data.manifest.model_dump(mode="json"),
            "malformed": [row.model_dump(mode="json") for row in data.malformed],
            "rows": {split: [e.model_dump(mode="json") for e in kept[:rows]] for split, kept in data.splits.items()},
        })  # fmt: skip
        return
    manifest = data.manifest
    print(f"{manifest.title}\n  licence  {manifest.licence}\n  cite     {manifest.citation}")
    print(f"  from     {manifest.where_to_get}")
    for file in manifest.files:
        print(f"  file     {file.name}  {file.n_bytes:,} bytes  sha256 {file.sha256}")
    for malformed in data.malformed:
        print(f"  malformed  {malformed.file}:{malformed.line}  {malformed.reason}")
    for split, kept in data.splits.items():
        for example in kept[:rows]:
            print(f"  {split:6} {','.join(example.labels) or '-':30} {example.text[:100]}")


@corpora_app.command("stats")
def corpora_stats(
    name: Annotated[str, typer.Argument(help="Corpus name.")], data_dir: DataOption = "", as_json: JsonOption = False
) -> None:
    """Counts: rows, labels, lengths, tags, VAD, duplicates, leaks, malformed rows."""
    from emoloom.corpora.stats import corpus_stats

    stats = corpus_stats(_read_corpus(name, data_dir))
    _print_json(stats) if as_json else _print_tree(stats)


def _read_corpus(name: str, data_dir: str) -> Any:
    from emoloom.corpora.registry import read_corpus

    return read_corpus(name, Path(data_dir).expanduser() if data_dir else None)


@lexicon_app.command("evaluate")
def lexicon_evaluate(
    lexicon: Annotated[str, typer.Option(help="`builtin` or FORMAT:PATH.")] = "builtin",
    norms: Annotated[
        str, typer.Option(help="Published norms, FORMAT:PATH (a .csv of Glasgow norms needs no format).")
    ] = "",
    corpus: Annotated[str, typer.Option(help="Corpus with human VAD, such as emobank.")] = "",
    data_dir: DataOption = "",
    as_json: JsonOption = False,
) -> None:
    """Examine a lexicon: against published norms, or its weak VAD against human VAD."""
    from emoloom.studies import lexicon_exam

    if bool(norms) == bool(corpus):
        raise InputError("give one of --norms and --corpus", where="lexicon evaluate")
    result = lexicon_exam.norms(lexicon, norms) if norms else lexicon_exam.corpus(lexicon, corpus, data_dir)
    _print_json(result) if as_json else _print_tree(result)


@candidates_app.command("list")
def candidates_list() -> None:
    """Built-in candidates and the ways to name others."""
    from emoloom.models.candidates import BUILTIN

    for name, wheel in BUILTIN.items():
        print(f"{name:22} {wheel.licence:12} {wheel.about}")
    print("hub:ORG/NAME@REVISION  a hub repository (safetensors only)\ndir:PATH               a saved model folder")
    print("gguf:PATH              a GGUF file, dequantised once")
    print("random:NAME            control: the same architecture, weights drawn anew")
    print("shallow:NAME           control: the first half of its layers")


@candidates_app.command("fetch")
def candidates_fetch(
    name: Annotated[str, typer.Argument(help="Candidate name.")],
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
) -> None:
    """Bring a candidate onto this disk and print where it lies."""
    print(_prepare(name, offline, cache_dir).folder)


@candidates_app.command("show")
def candidates_show(
    name: Annotated[str, typer.Argument(help="Candidate name.")],
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
) -> None:
    """Identity, architecture, boundary tokens and file hashes of a candidate."""
    _print_json(_prepare(name, offline, cache_dir).model_dump(mode="json"))


@prompt_app.command("show")
def prompt_show(
    text: Annotated[str, typer.Argument(help="The text; `-` reads standard input.")],
    candidate: CandidateOption = "smollm2-135m",
    offline: OfflineOption = False,
    cache_dir: CacheOption = "",
    as_json: JsonOption = False,
) -> None:
    """The exact bytes and token ids that a candidate sees for a text."""
    from emoloom.contract.prompt import clean_text, line_of, render_prompt
    from emoloom.models.codec import load_codec

    given = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    rendered, (_, clipped) = line_of(render_prompt(given)), clean_text(given)
    prepared = _prepare(candidate, offline, cache_dir)
    codec = load_codec(prepared)
    ids = codec.encode_prompt(given)
    if as_json:
        _print_json({"prompt": rendered, "clipped": clipped, "ids": ids, "tokens": [codec.decode([i]) for i in ids]})
        return
    print(rendered, end="")
    print(f"ids ({len(ids)}): {' '.join(map(str, ids))}{'  (text cut to the contract length)' if clipped else ''}")


@bench_app.command("decode")
def bench_decode(
    candidate: CandidateOption = "smollm2-135m",
    weights: Annotated[Path | None, typer.Option(help="Trained weights of a run (average.safetensors).")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Texts of the built-in evaluation split.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved timings of each contestant.")] = 5,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Certified decoding against `generate` with and without cache, and against one forward."""
    from emoloom.config import load_config
    from emoloom.progress import say
    from emoloom.studies.bench import bench_decode as measure

    config = load_config(None, tuple(overrides or ()))
    result = measure(candidate, config, weights=weights, n_rows=rows, repeats=repeats, say=say)
    _print_json(result) if as_json else _print_tree(result)


def _prepare(name: str, offline: bool, cache_dir: str) -> Any:
    from emoloom.config import CandidateSettings
    from emoloom.models.candidates import prepare
    from emoloom.progress import say

    return prepare(name, Path(cache_dir or CandidateSettings().cache_dir), offline=offline, say=say)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False))


def _print_tree(value: Any, indent: int = 0) -> None:
    """Nested dicts as indented `key value` lines."""
    for key, item in value.items():
        if isinstance(item, dict):
            print(f"{' ' * indent}{key}")
            _print_tree(item, indent + 2)
        else:
            shown = f"{item:.3f}" if isinstance(item, float) else item
            print(f"{' ' * indent}{key:{max(1, 28 - indent)}} {shown}")
