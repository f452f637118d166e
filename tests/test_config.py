"""Settings: defaults, template, overrides, and what is refused with one clear line."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoloom.config import Config, RunSettings, config_from_json, config_template, load_config, with_changes
from emoloom.errors import InputError


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path | None, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == 2
    line = caught.value.line()
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_no_file_is_all_defaults():
    assert load_config() == Config()


def test_template_reads_back_as_the_defaults_and_names_every_setting(tmp_path):
    text = config_template()
    assert load_config(write(tmp_path, text)) == Config()
    tree = tomllib.loads(text)
    assert set(tree) == set(Config.model_fields)
    for section, keys in Config().model_dump().items():
        assert set(tree[section]) == set(keys)
    settings = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert len(comments) == len(settings) + 1


def test_a_file_changes_only_what_it_names(tmp_path):
    config = load_config(write(tmp_path, '[run]\nseed = 7\n[candidates]\nnames = ["dir:a", "gguf:b"]\n'))
    assert config.run.seed == 7
    assert config.candidates.names == ("dir:a", "gguf:b")
    assert config.model_copy(update={"run": Config().run, "candidates": Config().candidates}) == Config()


def test_an_integer_may_stand_for_a_float(tmp_path):
    assert load_config(write(tmp_path, "[training]\nclip_norm = 2\n")).training.clip_norm == 2.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[trainning]\n", ["unknown section [trainning]", "did you mean 'training'?"]),
        ("[zzz]\n", ["unknown section [zzz]", "known: candidates, data"]),
        ("seed = 1\n", ["unknown section [seed]"]),
        ("[training]\nlearningrate = 1\n", ["unknown key 'training.learningrate'", "did you mean 'learning_rate'?"]),
        ("[run]\nSEED = 1\n", ["unknown key 'run.SEED'"]),
        ("[run.seed]\nx = 1\n", ["run.seed = "]),
        ("[[run]]\nseed = 1\n", ["run = "]),
        ("run = 3\n", ["run = 3"]),
    ],
)
def test_unknown_keys_and_sections_name_the_nearest(tmp_path, text, parts):
    line = refused(write(tmp_path, text))
    assert all(part in line for part in [*parts, "config.toml"])


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("run", 'seed = "1"'),
        ("run", "seed = 1.0"),
        ("run", "seed = true"),
        ("run", "seed = -1"),
        ("run", "seed = 1979-05-27"),
        ("run", "name = 5"),
        ("run", 'name = "../up"'),
        ("run", 'name = ""'),
        ("run", 'name = "a\\n"'),
        ("run", "threads = 100000"),
        ("data", 'evaluate = "builtin"'),
        ("data", "evaluate = [1]"),
        ("data", "share_a = 1.1"),
        ("data", "share_a = nan"),
        ("data", 'weak_vad = "best"'),
        ("candidates", "names = []"),
        ("candidates", 'offline = "yes"'),
        ("candidates", "offline = 1"),
        ("training", "learning_rate = inf"),
        ("training", "learning_rate = 0"),
        ("training", 'budget = "60000"'),
        ("training", 'budget = "-5 tokens"'),
        ("training", 'budget = "1e9 tokens"'),
        ("decoding", 'dtype = "fp16"'),
        ("decoding", "max_new_tokens = 47"),
        ("scoring", "bootstrap = 99"),
        ("screening", "rate_factors = [1.0, 0.0]"),
        ("screening", "rate_factors = [-1.0]"),
    ],
)
def test_wrong_types_and_ranges_name_key_and_value(tmp_path, section, setting):
    line = refused(write(tmp_path, f"[{section}]\n{setting}\n"))
    key = setting.split(" = ")[0]
    assert f"{section}.{key}" in line or "1979" in line


def test_overrides_apply_in_order_over_the_file(tmp_path):
    path = write(tmp_path, "[run]\nseed = 7\n")
    config = load_config(
        path, ("run.seed=8", "run.seed=9", "run.name=night", 'candidates.names=["dir:a b"]', "training.budget=90s")
    )
    assert (config.run.seed, config.run.name) == (9, "night")
    assert config.candidates.names == ("dir:a b",)
    assert config.training.budget == "90s"


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("seed=1", "not section.key=value"),
        ("run.seed", "not section.key=value"),
        ("", "not section.key=value"),
        ("=", "not section.key=value"),
        ("rnu.seed=1", "did you mean 'run'?"),
        ("run.sed=1", "did you mean 'seed'?"),
        ("run.seed.x=1", "unknown key 'run.seed.x'"),
        ("run.seed=one", "run.seed = 'one'"),
        ("run.seed=", "run.seed = ''"),
        ("run.seed=1\nx = 2", "run.seed = '1"),
        ("run.seed=" + "9" * 5000, "run.seed = "),
        ("run.seed=" + "[" * 5000, "run.seed = "),
        ("data.evaluate=builtin", "data.evaluate = 'builtin'"),
    ],
)
def test_bad_overrides_are_one_clear_line(override, part):
    line = refused(None, (override,))
    assert part in line
    assert "--set" in line


@pytest.mark.parametrize("name", ["2024-01-01", "1979-05-27T07.32", "07.32.00"])
def test_a_run_may_be_named_after_a_date(name: str) -> None:
    assert load_config(None, (f"run.name={name}",)).run.name == name


@pytest.mark.parametrize("text", ["2024-01-01", "2024-01-01 07:32:00", "1979-05-27T07:32:00Z", "07:32:00"])
def test_what_toml_reads_as_a_date_or_time_is_a_string_in_an_override(text: str) -> None:
    assert load_config(None, (f"run.directory={text}",)).run.directory == text
    assert f"run.seed = '{text}'" in refused(None, (f"run.seed={text}",))


def test_a_date_in_a_file_is_no_value(tmp_path: Path) -> None:
    line = refused(write(tmp_path, "[run]\nname = 2024-01-01\n"))
    assert "datetime.date(2024, 1, 1) is no value that a setting can have" in line


@pytest.mark.parametrize(
    "override", ["run.directory=/tmp/a\udcffb", 'run.directory="\udcff"', 'candidates.names=["tiny", "dir:\udcff"]']
)
def test_bytes_that_are_no_utf8_are_refused_by_the_name_of_their_key(override: str) -> None:
    line = refused(None, (override,))
    assert line == f"built-in defaults with --set: {override.partition('=')[0]} is no UTF-8, which a path must be"


def test_a_folder_of_corpora_whose_name_is_no_utf8_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.data_dir is no UTF-8, which a path must be"):
        load_config(None, (), "/data/\udce9t\udce9")


def test_an_override_of_a_section_that_is_none(tmp_path):
    assert "'run' is not a section" in refused(write(tmp_path, "run = 3\n"), ("run.seed=1",))


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe[run]",
        b"[run\n",
        b"[run]\nseed = \x00\n",
        b"[run]\nseed = 1\nseed = 2\n",
        b"\xef\xbb\xbf[run]\n",
        b"a = " + b"[" * 20_000,
        b"a = " + b"{a = " * 20_000,
        b"seed = " + b"9" * 10_000,
        b"[run]\nname = \"\"\"" + b"x" * 1_000_000 + b"\"\"\"\n",
    ],
    ids=["encoding", "open", "nul", "twice", "mark", "lists", "tables", "digits", "megabyte"],
)  # fmt: skip
def test_hostile_toml_is_one_clear_line(tmp_path, text):
    assert "config.toml" in refused(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    assert "no such config file" in refused(tmp_path / "absent.toml")
    assert "emoloom init" in refused(tmp_path / "absent.toml")
    assert "cannot be read" in refused(tmp_path)


def test_a_rate_stands_once():
    with pytest.raises(InputError, match="a rate factor is there twice"):
        load_config(None, ("screening.rate_factors=[1.0, 1.0000000001]",))


def test_what_is_no_config_is_refused():
    for tree in ([], 3, None, "x"):
        with pytest.raises(InputError, match="is no config"):
            config_from_json(tree, "config.json")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().run.seed = 1  # type: ignore[misc]


@given(st.text(max_size=60))
def test_any_override_loads_or_is_refused_on_one_line(text):
    line = ""
    try:
        load_config(None, (text,))
    except InputError as error:
        line = error.line()
    assert "\n" not in line


@given(st.text(st.characters(exclude_characters="\"'\\"), max_size=60))
def test_any_bare_text_as_a_value_is_kept_or_refused(text):
    try:
        found = load_config(None, (f"run.directory={text}",))
    except InputError:
        return
    assert found.run.directory == text.strip()


def test_a_config_knows_where_each_value_was_given_and_is_equal_without_it(tmp_path):
    path = write(tmp_path, "[run]\nseed = 7\n[training]\nclip_norm = 2.0\n")
    config = load_config(path, ("training.clip_norm=3", 'run.name="x"'), "corpora")
    assert config.sources == {
        "run.seed": f"file {path.name}",
        "training.clip_norm": "--set",
        "run.name": "--set",
        "data.data_dir": "--data-dir",
    }
    same = load_config(None, ("run.seed=7", "training.clip_norm=3", "run.name=x", "data.data_dir=corpora"))
    assert same == config
    assert hash(same) == hash(config)
    assert same != load_config(path)
    cell = with_changes(config, {"run.seed": 8}, "cell sft")
    assert (cell.sources["run.seed"], cell.sources["run.name"]) == ("cell sft", "--set")
    assert config.sources["run.seed"] == f"file {path.name}"
    assert Config().sources == {}
    assert Config(run=RunSettings(seed=3)).sources == {"run.seed": "a program"}


def test_a_folder_is_taken_as_it_is_whatever_its_name() -> None:
    """TOML cannot write every path."""
    for name in ("/data/\U0001f600", "/data/𠮷", '/data/"quoted" \\ and\ttabbed', "[1]"):
        assert load_config(None, (), name).data.data_dir == name


def test_a_number_that_no_json_can_hold_is_named() -> None:
    with pytest.raises(InputError, match="a number of thousands of digits is no value"):
        load_config(None, ("run.seed=0x" + "f" * 5000,))
