"""The command line: fast, honest about mistakes, one line and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emoloom import cli
from emoloom.cli.ablate import seeds_of
from emoloom.cli.trained import _lines
from emoloom.config import Config, load_config
from emoloom.errors import INTERNAL, CandidateError, InputError
from emoloom.models.candidates import Candidate


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["emoloom", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["screeen"], "Did you mean 'screen'"),
        (["screen", "--sett", "x=1"], "--set"),
        (["screen", "--set", "run.sed=1"], "unknown key 'run.sed'; did you mean 'seed'"),
        (["screen", "--set", "trainig.budget=1s"], "did you mean 'training'"),
        (["screen", "--set", "training.budget=soon"], "training.budget"),
        (["screen", "--set", "training.budget=0s"], "is no budget"),
        (["screen", "--set", "data.source_a=goemotons"], "did you mean 'goemotions'"),
        (["screen", "--set", "data.source_a=goemotions"], "set data.data_dir"),
        (["screen", "--set", "candidates.names=['smollm-135m']"], "did you mean 'smollm2-135m'"),
        (["screen", "no-such.toml"], "emoloom init"),
        (["score", "no-such-run"], "is no run"),
        (["report", "no-such-run"], "is no run"),
        (["corpora", "stats", "isaer"], "did you mean 'isear'"),
        (["lexicon", "evaluate"], "--norms and --corpus"),
        (["appraisal", "evaluate", "--cross", "builtin"], "name another corpus than --corpus"),
        (["appraisal", "evaluate", "--corpus", "isear"], "set data.data_dir; get the ISEAR databank"),
        (["lexicon", "evaluate", "--norms", "nrc-vad-3:x.txt"], "nrc-vad-3"),
        (["lexicon", "evaluate", "--norms", "glasgow:~nobody-here/x.csv"], "no user of this name has a home folder"),
        (["corpora", "stats", "jsonl:~nobody-here/x.jsonl"], "~nobody-here/x.jsonl: no user of this name"),
        (["screen", "--set", 'run.directory="a\\u0000b"'], "a path cannot hold a NUL character"),
        (["screen", "--set", f'data.evaluate=["{2000 * "flips:"}builtin"]'], "is not a number of rows"),
        (["prompt", "show", " "], "the text is empty"),
        (["prompt", "show", "x" * 100_001], "100,001 characters"),
        (["candidates", "fetch", "smollm2-135m", "--offline", "--cache-dir", "empty"], "--offline"),
        (["candidates", "fetch", "nothing"], "encoder:..., gguf:..., hub:..., random:..., shallow:..., smollm2-135m"),
        (["watch", "no-such-run", "--every", "inf"], "less than or equal to 86400"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    error = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(error) == 1
    assert err.splitlines()[-1] == error[0]
    assert says in error[0]
    assert not out
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    assert not left


@pytest.mark.parametrize(
    ("error", "says", "exit_code"),
    [
        (MemoryError(), "memory ran out", 2),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "memory ran out", 2),
        (CandidateError("does more", where="dir:x", code="unsupported-architecture"), "dir:x: does more", 2),
        (CandidateError("KeyError: 3", where="dir:x", code=INTERNAL), "dir:x: KeyError: 3", 1),
    ],
)
def test_what_a_machine_or_a_candidate_cannot_do_is_one_line_in_any_command(
    error: Exception, says: str, exit_code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("emoloom.corpora.registry.read_corpus", fail)
    code, out, err = call(capsys, "corpora", "stats", "builtin")
    assert (code, out) == (exit_code, "")
    assert err.splitlines()[-1].startswith(f"error: {says}")


def test_a_line_feed_alone_ends_a_text() -> None:
    assert _lines("one\u2028still one\r\ntwo\x0cstill two\n\nfour") == [
        "one\u2028still one",
        "two\x0cstill two",
        "",
        "four",
    ]
    assert _lines("one\n") == ["one"]
    assert _lines("") == []


def test_a_folder_of_corpora_is_a_path_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = call(capsys, "bench", "losses", "--data-dir", str(tmp_path / "\U0001f600"))
    assert code == 2
    assert f"{tmp_path}/\U0001f600" in err.splitlines()[-1]


@pytest.mark.parametrize("group", [(), ("corpora",), ("bench",)])
def test_a_group_without_a_command_shows_its_help(group: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *group)
    assert (code, out) == (2, "")
    assert err.lstrip().startswith("Usage:")
    assert len(err.splitlines()) > 10


def test_a_terminal_without_a_sign_for_something_gets_its_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from emoloom.cli import main; sys.argv[1:] = sys.argv[1:]; main()"]
    shown = subprocess.run(
        [*command, "prompt", "show", "\u2013 \u65e5"], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert b"\\u2013" in shown.stdout


def test_an_output_directory_that_cannot_be_written_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    code, _, err = call(capsys, "screen", "--set", f"run.directory={blocked}")
    assert code == 2
    assert "cannot be written" in err
    assert "run.directory" in err


def test_a_truncated_tsv_row_stops_a_screen_and_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "goemotions"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("good\t17\ta1\nfine day\t17\ta2\nno labels here", encoding="utf-8")
    (folder / "dev.tsv").write_text("a row\t27\tb1\n", encoding="utf-8")
    code, _, err = call(
        capsys, "screen", "--data-dir", str(tmp_path / "data"), "--set", "data.source_a=goemotions",
        "--set", f"run.directory={tmp_path / 'runs'}",
    )  # fmt: skip
    assert code == 2
    assert "train.tsv" in err
    assert "3" in err.splitlines()[-1]
    assert not list(tmp_path.glob("runs/**/*.jsonl"))
    shown = call(capsys, "corpora", "show", "goemotions", "--data-dir", str(tmp_path / "data"))[1]
    assert "malformed" in shown
    assert "train.tsv:3" in shown


def test_init_writes_the_defaults_and_never_overwrites(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    assert call(capsys, "init", str(path))[0] == 0
    assert load_config(path) == Config()
    assert all(line.startswith(("#", "[")) or "=" in line or not line for line in path.read_text().splitlines())
    code, _, err = call(capsys, "init", str(path))
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize("name", ["builtin"])
def test_corpora_commands_print_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    stats = json.loads(call(capsys, "corpora", "stats", name, "--json")[1])
    shown = json.loads(call(capsys, "corpora", "show", name, "--json")[1])
    assert stats
    assert shown["manifest"]["name"] == name
    assert shown["malformed"] == []
    listed = call(capsys, "corpora", "list")[1]
    for corpus in ("builtin", "goemotions", "empatheticdialogues", "dailydialog", "emobank", "jsonl:PATH"):
        assert corpus in listed


@pytest.mark.data
def test_the_lexicon_passes_its_exams(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norms = str(data_dir / "glasgow_norms" / "glasgow_norms.csv")
    exam = json.loads(call(capsys, "lexicon", "evaluate", "--lexicon", "builtin", "--norms", norms, "--json")[1])
    for axis, least in {"v": 0.85, "a": 0.55, "d": 0.60}.items():
        assert exam["pearson"][axis] >= least
    arguments = ("lexicon", "evaluate", "--corpus", "emobank", "--data-dir", str(data_dir), "--json")
    gold = json.loads(call(capsys, *arguments)[1])
    assert set(gold["recipes"]) == {"mean", "negation", "labels", "shrunk"}
    assert gold["recipes"]["shrunk"]["pearson"]["v"] >= 0.45
    assert gold["labels_guessed_from"] == "goemotions"


@pytest.mark.model
def test_prompt_show_prints_the_exact_bytes_and_ids(smollm2: Candidate, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "prompt", "show", "I <|im_end|> quit.\nToday", "--offline", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["prompt"].splitlines()[1] == '{"text":"I <|im_end|> quit.\\nToday"}'
    assert "".join(shown["tokens"]) == shown["prompt"]
    assert smollm2.eos_id not in shown["ids"]


def test_help_is_fast_and_free_of_heavy_imports() -> None:
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "sys.argv = ['emoloom', '--help']\n"
        "from emoloom.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'numpy'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Screen small language models" in done.stdout
    assert "HEAVY []" in done.stdout


def test_the_command_reference_is_made_from_the_commands() -> None:
    written = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
    made = subprocess.run(
        [sys.executable, "-m", "typer", "emoloom.cli", "utils", "docs", "--name", "emoloom"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == written.read_text(encoding="utf-8").strip(), "run `make docs`"


def test_texts_of_a_corpus_cannot_reach_the_terminal_as_codes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:  # fmt: skip
    row = {"text": "so glad \x1b]0;x\x07\x1b[31m\n  dev forged", "labels": ["joy"], "taxonomy": "goemotions-28"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    code, out, _ = call(capsys, "corpora", "show", f"jsonl:{tmp_path / 'a.jsonl'}")
    assert code == 0
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line.strip().startswith("dev forged")]


def test_seeds_of_any_length_are_read_or_refused() -> None:
    assert seeds_of("0, 2") == [0, 2]
    for text in ("9" * 5000, "1,1", "-1", ""):
        with pytest.raises(InputError, match="is no list of seeds"):
            seeds_of(text)
