"""Every option, key, argument and environment variable is described in docs/, and what docs/ names exists.

`tests/option_tables.py` says how a table of options looks.
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.cli import build_parser
from artquant_plugin.prompt_search.candidates import PromptList
from artquant_plugin.train.rad.config import RadConfig
from artquant_plugin.train.sections import ORDINARY_TRAIN_KEYS, RunSections
from tests.option_tables import (
    KINDS,
    Taken,
    arguments,
    commands,
    default_in_help,
    default_of_option,
    documented,
    environment_variables,
    in_yaml,
    keys,
    problems_of,
)
from tests.paths import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
ROWS = [row for page in PAGES for row in documented(page)]

PAGE_OF_COMMAND = {
    "artquant data": "datasets.md",
    "artquant rad": "rad.md",
    "artquant train": "training.md",
    "artquant convert": "mplug-owl2.md",
    "artquant score": "scoring.md",
    "artquant describe": "scoring.md",
    "artquant heatmap": "heatmaps.md",
    "artquant results": "evaluating.md",
    "artquant metrics": "baselines.md",
    "artquant compare": "report.md",
    "artquant report": "report.md",
    "artquant publish": "publishing.md",
    "artquant doctor": "doctor.md",
    "artquant models": "models.md",
    "artquant prompt-search": "models.md",
}
TRAINING, RAD = "training configuration", "RAD configuration"
PROMPTS = "prompt-search.yaml"
PAGE_OF_OTHER = {
    TRAINING: "training.md",
    RAD: "rad.md",
    "artquant.json": "models.md",
    PROMPTS: "models.md",
    "ArtQuantConfig": "training.md",
    "ArtQuantScorer.from_pretrained": "python.md",
    "--model artquant": "evaluating.md",
    "--model pyiqa": "baselines.md",
    "the environment": "installing.md",
}
# Options of other programs that the pages name; ours are those of `artquant`.
FOREIGN_OPTIONS = {
    "lmms-eval": "batch_size gen_kwargs include_path limit log_samples model model_args output_path tasks use_cache",
    "torchrun and accelerate": "config_file cpu mixed_precision multi_gpu num_processes nproc_per_node",
    "pip, hf and make": "constraint index-url local-dir no-build-isolation no-deps repo-type",
    "vllm": "limit-mm-per-prompt logprobs-mode max-logprobs port",
    "SGLang": "model-path port",
    "pyiqa": "save_file",
    "DeepSpeed's zero_to_fp32.py": "exclude_frozen_parameters safe_serialization",
    "ms-swift": "merge_lora",
    "benchmarks/": "budget device only out rated shapes tiny wheels",
}


FILE_NAMES = ("train.jsonl", "train.jsonl.new")  # a file of the dataset form, and no key of the section `train`


def page_of_command(command: str) -> str:
    """The page that describes a command: that of its first two words."""
    first = " ".join(command.split()[:2])
    assert first in PAGE_OF_COMMAND, f"{first} is new; name its page in PAGE_OF_COMMAND of {Path(__file__).name}"
    return PAGE_OF_COMMAND[first]


COMMANDS = commands()


def check(subject: str, page: str, kind: str, taken: dict[str, Taken]) -> None:
    problems = problems_of(subject, page, kind, taken, ROWS)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_are_those_of_its_table(command):
    check(command, page_of_command(command), "option", COMMANDS[command])


def test_a_table_is_about_something_that_exists():
    unknown = {f"docs/{row.page}:{row.row}: {row.subject}" for row in ROWS} - {
        f"docs/{row.page}:{row.row}: {row.subject}" for row in ROWS if row.subject in {*COMMANDS, *PAGE_OF_OTHER}
    }
    assert not unknown


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument of a parser and of the commands below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)
        else:
            yield action


def test_a_help_text_tells_the_default_that_the_parser_has():
    for action in actions(build_parser()):
        if (said := default_in_help(action)) is not None:
            default = default_of_option(action)
            assert said == default, f"the help of {action.option_strings} says {said!r}, the parser {default!r}"


def test_the_keys_of_a_rad_configuration_are_those_of_its_table():
    check(RAD, PAGE_OF_OTHER[RAD], "key", dict(keys(RadConfig)))


def test_the_keys_of_a_list_of_prompts_are_those_of_its_table():
    check(PROMPTS, PAGE_OF_OTHER[PROMPTS], "key", dict(keys(PromptList)))


def promised_train_keys() -> dict[str, Taken]:
    """The keys of the section `train`; the trainer's own, and those that something of ours uses, are needed."""
    from artquant_plugin.train import config

    own = {name for name in config.ArtQuantConfig.__annotations__ if not name.startswith("_")}
    needed = own | ORDINARY_TRAIN_KEYS | set(config._RUN_DEFAULTS) | set(config._BOUNDS)
    return {
        f"train.{name}": Taken(in_yaml(_plain(field.default)), name, needed=name in needed)
        for name, field in config.TrainSection.model_fields.items()
    }


def _plain(value: object) -> object:
    """The text of a choice of an enumeration, as a file gives it; other values as they are."""
    return getattr(value, "value", value)


def training_keys() -> dict[str, Taken]:
    return dict(keys(RunSections)) | promised_train_keys()


def test_the_keys_of_a_training_configuration_are_those_of_its_table():
    check(TRAINING, PAGE_OF_OTHER[TRAINING], "key", training_keys())


def test_the_arguments_of_a_training_from_python_are_those_of_their_table():
    """Those that a file says elsewhere; the others are keys of the section `train`."""
    from artquant_plugin.train import config

    own = [name for name in config.ArtQuantConfig.__annotations__ if name in config.OWNED_BY_RUN]
    taken = {
        name: given
        for name, given in arguments(config.ArtQuantConfig).items()
        if name in own or name in ("output_dir", "num_train_epochs", "seed")
    }
    check("ArtQuantConfig", PAGE_OF_OTHER["ArtQuantConfig"], "argument", taken)


def test_the_keys_of_the_scoring_file_are_those_of_its_table(tmp_path):
    ScoringSpec().save(tmp_path)
    content = yaml.safe_load((tmp_path / "artquant.json").read_text(encoding="utf-8"))
    taken = {}
    for name, value in content.items():
        if name == "prompt":
            taken |= {f"prompt.{key}": Taken(in_yaml(each), key) for key, each in value.items()}
        elif name == "form_version":
            taken[name] = Taken("required", name)
        else:
            taken[name] = Taken(in_yaml(value), name)
    check("artquant.json", PAGE_OF_OTHER["artquant.json"], "key", taken)


def test_the_arguments_of_the_scorer_are_those_of_their_table():
    from artquant_plugin import ArtQuantScorer

    taken = arguments(ArtQuantScorer.from_pretrained)
    check("ArtQuantScorer.from_pretrained", PAGE_OF_OTHER["ArtQuantScorer.from_pretrained"], "argument", taken)


def test_the_arguments_of_each_registered_model_are_those_of_its_table():
    import importlib

    from artquant_plugin.harness.plugin import model_manifest

    for manifest in model_manifest():
        module, _, name = manifest.chat_class_path.rpartition(".")
        subject = f"--model {manifest.model_id}"
        page = PAGE_OF_OTHER.get(subject)
        assert page, f"{subject} is new; name its page in PAGE_OF_OTHER of {Path(__file__).name}"
        check(subject, page, "argument", arguments(getattr(importlib.import_module(module), name)))


def test_the_environment_variables_are_those_of_their_table(monkeypatch):
    from artquant_plugin.data.dataset import data_home
    from artquant_plugin.data.image_memory import memory_limit

    monkeypatch.delenv("ARTQUANT_DATA", raising=False)
    monkeypatch.delenv("ARTQUANT_IMAGE_MEMORY", raising=False)
    defaults = {
        "ARTQUANT_DATA": str(data_home()).replace(str(Path.home()), "~"),
        "ARTQUANT_IMAGE_MEMORY": f"{memory_limit() / 2**30:g}",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "1",
        "CXX": "c++",
    }
    taken = {name: Taken(defaults.get(name, "none"), place) for name, place in environment_variables().items()}
    check("the environment", PAGE_OF_OTHER["the environment"], "variable", taken)


def code_spans(page: Path) -> Iterator[tuple[int, str]]:
    """The numbers of a page's lines, with what stands in code type in them; an indented line is one span."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        spans = [line] if line.startswith("    ") else re.findall(r"`([^`]+)`", line)
        yield from ((number, span) for span in spans)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_options_in_prose_exist(page):
    known = {name for taken in COMMANDS.values() for name in taken} | {"--help", "--version"}
    known |= {option for action in actions(build_parser()) for option in action.option_strings}  # other spellings
    known |= {f"--{name}" for names in FOREIGN_OPTIONS.values() for name in names.split()}
    for number, span in code_spans(page):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
            assert option in known, f"docs/{page.name}:{number} names {option}, which nothing takes"


def key_paths(content: object, above: str = "") -> Iterator[str]:
    """The keys of nested mappings and lists, written as `tests.option_tables.keys` does."""
    if isinstance(content, dict):
        for name, value in content.items():
            path = f"{above}.{name}" if above else str(name)
            yield path
            yield from key_paths(value, path)
    elif isinstance(content, list):
        for value in content:
            yield from key_paths(value, f"{above}[]")


@pytest.fixture(scope="module")
def known_keys():
    """Every key and every section of the configurations; what stands below a free mapping may have any name."""
    found = {*training_keys(), *dict(keys(RadConfig))}
    for path in list(found):
        parts = path.split(".")
        found |= {".".join(parts[:count]).removesuffix("[]") for count in range(1, len(parts))}
    return found


def assert_known(path: str, known: set[str], place: str) -> None:
    parts = path.split(".")
    free = {".".join(parts[:count]) for count in range(1, len(parts))} & {"generator.parameters", "judge.parameters"}
    short = re.sub(r"\[\]$", "", path)
    assert free or short in known, f"{place} names the key {path}, which no configuration has"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_keys_in_prose_exist(page, known_keys):
    sections = sorted({path.partition(".")[0].removesuffix("[]") for path in known_keys if "." in path})
    key = re.compile(rf"^((?:{'|'.join(sections)})\.[a-z][\w.]*[a-z_])(?:[:=].*)?$")
    for number, span in code_spans(page):
        if (found := key.match(span.strip())) and found.group(1) not in FILE_NAMES:
            assert_known(found.group(1), known_keys, f"docs/{page.name}:{number}")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_overridden_keys_exist(page, known_keys):
    text = page.read_text(encoding="utf-8")
    for shown in re.findall(r"--set\s+('[^']+'|[^\s`]+)", text):
        key, _, value = shlex.split(shown)[0].partition("=")
        assert_known(key, known_keys, f"docs/{page.name}: --set {shown}")
        for path in key_paths(yaml.safe_load(value), key):
            assert_known(path, known_keys, f"docs/{page.name}: --set {shown}")


def yaml_blocks(page: Path) -> Iterator[dict]:
    """The indented blocks of a page that begin with a section or a key of a configuration and a colon."""
    tops = {*RunSections.model_fields, "train", *RadConfig.model_fields}
    for block in re.findall(r"(?:^    .*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
        name, colon, _ = block.strip().partition(":")
        if colon and name in tops:
            yield yaml.safe_load(block)


def test_keys_in_shown_configurations_exist(known_keys):
    blocks = [(page, block) for page in PAGES for block in yaml_blocks(page)]
    assert blocks, "no page shows a part of a configuration; the search for them is broken"
    for page, block in blocks:
        for path in key_paths(block):
            assert_known(path, known_keys, f"docs/{page.name}, a block that begins with {next(iter(block))}:")


def test_keys_in_shipped_configurations_are_described(known_keys):
    """The keys of configs/ are in the tables, so that nobody meets one without a description."""
    described = {row.name for row in ROWS if row.subject in (TRAINING, RAD)}
    configurations = {*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs" / "models").glob("*.yaml")}
    for file in sorted(configurations - {ROOT / "configs" / PROMPTS}):  # a list of prompts has a table of its own
        for path in key_paths(yaml.safe_load(file.read_text(encoding="utf-8"))):
            if path.startswith(("generator.parameters.", "judge.parameters.")):
                continue  # what an endpoint takes is its own affair
            below = any(name.startswith((f"{path}.", f"{path}[].")) for name in described)
            assert below or path in described, f"{path} of {file.name} is in no table"


def test_every_shipped_configuration_is_named():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for file in (ROOT / "configs").rglob("*.yaml"):
        name = file.relative_to(ROOT / "configs")
        assert f"`configs/{name}`" in text or f" configs/{name}" in text, f"no page names configs/{name}"


def test_words_for_kinds_are_used():
    heads = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    used = {kind for kind in KINDS for line in heads if line.startswith(f"| {kind} of `")}
    assert used == set(KINDS)


def test_each_fault_of_a_table_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "| option of `artquant paint` | default | meaning |\n"
        "|---|---|---|\n"
        "| `--size` | 8 | side of the canvas in centimetres |\n"
        "| `--seed` | `0` | seed |\n"
        "| `--out`, `--data` | none | folder of what is painted here |\n"
        "| `--old` | none | something that was taken out |\n"
        "\n"
        "| option of `artquant paint` | default | meaning |\n"
        "|---|---|---|\n"
        "| `--depth` | 2 | side of the canvas in centimetres |\n",
        encoding="utf-8",
    )
    taken = {
        "--size": Taken("16", "size"),
        "--seed": Taken("0", "seed"),
        "--out": Taken("none", "out"),
        "--data": Taken("none", "data"),
        "--depth": Taken("2.0", "depth"),
        "--frame": Taken("off", "frame"),
        "--rare": Taken("off", "rare", needed=False),
    }
    assert problems_of("artquant paint", "page.md", "option", taken, documented(page)) == [
        "docs/page.md:3: the default of `--size` is '16', the table says '8'",
        "docs/page.md:10: `--depth` is described as `--size` is; say what is its own, or put both into one row where "
        "they mean the same",
        "docs/page.md:4: `--seed` has no description; write a sentence of five words or more",
        "docs/page.md:5: `--out` and `--data` differ; give each a row of its own",
        "docs/page.md:5: `--data` and `--out` differ; give each a row of its own",
        "docs/page.md:6: artquant paint takes no `--old`; take the row out, or mend the name",
        "docs/page.md: the table under '| option of `artquant paint` | default | meaning |' lacks a row; write "
        "'| `--frame` | off | … |' with a description (the code says: frame)",
    ]
    elsewhere = problems_of("artquant paint", "other.md", "option", {"--size": taken["--size"]}, documented(page)[:1])
    assert (
        elsewhere[0] == "docs/page.md:3: the options of artquant paint belong into docs/other.md; move the row there"
    )
