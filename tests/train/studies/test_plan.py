"""What a study consists of, and what is refused before its first run."""

import json
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.train.studies.config import load_studies
from artquant_plugin.train.studies.derived import DerivedDataset, shortened
from artquant_plugin.train.studies.plan import Grid, joined
from artquant_plugin.train.studies.registry import STUDIES, chosen_studies
from tests.paths import ROOT
from tests.train.studies.made import TEXT, write_paintings, write_studies


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_paintings(tmp_path_factory.mktemp("data") / "small")


def planned(path: Path, *names: str) -> list:
    grid = Grid(load_studies(path))
    return joined(trial for name in names for trial in STUDIES[name].plan(grid))


def refused(path: Path, capsys, name: str = "labels", *options: str) -> str:
    assert main(["study", name, str(path), *options]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_runs_of_a_study_are_its_rows_times_the_seeds(data, tmp_path):
    found = planned(write_studies(tmp_path, data), "labels")
    assert [trial.name for trial in found] == [
        f"small/{variant}/seed-{seed}" for variant in ("base", "labels-gaussian", "labels-onehot") for seed in (0, 1)
    ]
    methods = [trial.trainings[0].levels.method for trial in found]
    assert methods == ["sbde", "sbde", "gaussian", "gaussian", "onehot", "onehot"]
    assert [trial.trainings[0].seed for trial in found] == [0, 1] * 3
    rest = [trial.trainings[0].model_dump(exclude={"levels", "output", "seed"}) for trial in found]
    assert all(each == rest[0] for each in rest)  # identical settings beside the labels


def test_the_text_that_is_described_is_all_that_differs_in_table_2(data, tmp_path):
    found = planned(write_studies(tmp_path, data, hierarchy={"reference": "comment"}), "hierarchy")
    texts = [trial.trainings[0].descriptions for trial in found if trial.name.endswith("seed-0")]
    assert texts == ["comment", ("perception",), ("perception", "cognition"), None]


def test_studies_share_their_runs(data, tmp_path):
    """Of 8, 6, 6, 4 and 4 runs of two seeds, `base` stands in four studies and `scores-in-all-stages` in two."""
    path = write_studies(tmp_path, data)
    alone = [len(planned(path, name)) for name in ("hierarchy", "mat", "labels", "sufficiency", "generation")]
    assert alone == [8, 6, 6, 4, 4]
    assert len(planned(path, "hierarchy", "mat", "labels", "sufficiency", "generation")) == 28 - 3 * 2 - 2


def test_the_first_stage_of_generation_has_descriptions_alone_and_its_share_of_epochs(data, tmp_path):
    found = planned(write_studies(tmp_path, data), "generation")
    first, second = found[0].trainings
    assert [(stage.samples, stage.epochs) for stage in first.stages] == [(("describe",), 0.5)]
    assert [(stage.name, stage.samples) for stage in second.stages] == [("sot", ("score",))]
    assert second.model.pretrained == str(first.output)
    assert first.train.keep == "last"


def test_transfer_scores_every_test_set(data, tmp_path):
    train = [str(tmp_path / "train.yaml")]
    datasets = [{"name": name, "train": train, "category": name} for name in ("calm", "wild")]
    found = planned(write_studies(tmp_path, data, datasets=datasets), "transfer")
    assert [[test.name for test in trial.tests] for trial in found] == [["calm", "wild"]] * 4
    for each in found[0].derived:
        each.make()
    calm = Dataset.load(found[0].tests[0].folder)
    assert {row.category for row in calm.split("test")} == {"calm"}
    assert len(calm.split("test")) == 10
    assert calm.image_path(calm.split("train")[0]).is_file()


def test_descriptions_keep_the_beginning_of_their_words():
    """The joined text has eleven words by spaces, headings among them; half of them are six."""
    row = Painting("1", "1.png", "", 5.0, description=TEXT)
    assert shortened(row, 50) == {"text": "Perception: Warm reds glow.\nCognition: A harbour"}
    assert shortened(row, 1) == {"text": "Perception:"}
    assert shortened(Painting("1", "1.png", "", 5.0), 50) is None


def test_a_derived_dataset_of_another_source_is_refused(data, tmp_path):
    DerivedDataset(data, tmp_path / "part", None, 50).make()
    DerivedDataset(data, tmp_path / "part", None, 50).make()
    with pytest.raises(ArtQuantError, match=r"percent of each description 50 -> 60; remove the folder"):
        DerivedDataset(data, tmp_path / "part", None, 60).make()


def test_a_dry_run_tells_the_plan_and_writes_nothing(data, tmp_path, capsys):
    path = write_studies(tmp_path, data)
    assert main(["study", "all", "--config", str(path), "--set", "transfer.datasets=[small]", "--dry-run"]) == 2
    assert "transfer has one dataset, 'small'" in capsys.readouterr().err
    assert main(["study", "mat", str(path), "--dry-run"]) == 0
    *runs, last = capsys.readouterr().out.splitlines()
    assert len(runs) == 6
    assert "missing  small/second-stage-alone/seed-0: epochs of sot (score) 1; scores small" in runs[0]
    assert last.startswith("6 runs, 6 of them missing; about 0.2 MB each on the disk")
    assert not (tmp_path / "studies").exists()


def test_one_seed_is_refused(data, tmp_path, capsys):
    problem = refused(write_studies(tmp_path, data, seeds=[0]), capsys)
    assert "seeds [0] give no standard deviation, which takes two different seeds or more; set seeds to" in problem


def test_a_dataset_without_descriptions_is_refused(tmp_path, capsys):
    bare = write_paintings(tmp_path / "bare", described=False)
    problem = refused(write_studies(tmp_path, bare), capsys, "sufficiency")
    assert "has no descriptions; import it again with --descriptions" in problem
    assert not (tmp_path / "studies" / "runs").exists()


def test_a_dataset_without_comments_is_refused_where_the_reference_are_comments(data, tmp_path, capsys):
    problem = refused(write_studies(tmp_path, data, hierarchy={"reference": "comment"}), capsys, "hierarchy")
    assert "small/comment/seed-0: dataset" in problem
    assert "has no comments" in problem


def test_a_grid_that_does_not_fit_the_disk_is_refused(data, tmp_path, capsys):
    problem = refused(write_studies(tmp_path, data, run_gigabytes=1e6), capsys)
    assert problem.startswith("artquant: error: 6 runs take about ")
    assert "GB are free at" in problem
    assert "take fewer seeds or datasets" in problem


def test_a_folder_of_another_configuration_is_refused(data, tmp_path, capsys):
    path = write_studies(tmp_path, data)
    config = planned(path, "labels")[0].trainings[0]
    config.output.mkdir(parents=True)
    content = json.loads(config.model_dump_json())
    record = {"config": content | {"seed": 7}, "data": {}, "stages": {}, "skipped": {}, "seconds": 1}
    (config.output / "training.json").write_text(json.dumps(record))
    problem = refused(path, capsys)
    assert "was made from something else: seed 7 -> 0; go on with the configuration that it was made with" in problem


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "X"], "there is no study 'label'; did you mean 'labels'?"),
        (["labels"], "no configuration of studies is named; pass configs/studies/demo.yaml"),
        (["labels", "X", "--set", "mat.datasets=[smal]"], "mat.datasets names 'smal', which is none of the datasets"),
        (["labels", "X", "--set", "sufficiency.lengths=[0, 50]"], "lengths [0, 50] are not two or more different"),
        (["labels", "X", "--shard", "1/2", "--engine", "ray"], "--shard and --engine ray exclude each other"),
    ],
)
def test_other_mistakes_are_one_line(arguments, words, data, tmp_path, capsys):
    path = write_studies(tmp_path, data)
    assert main(["study", *(str(path) if each == "X" else each for each in arguments)]) == 2
    assert words in capsys.readouterr().err


def test_a_share_is_one_of_its_number(capsys):
    with pytest.raises(SystemExit):
        main(["study", "labels", "x.yaml", "--shard", "3/2"])
    assert "'3/2' is no share I/N with I from 1 to N, such as 1/4" in capsys.readouterr().err


def test_the_shipped_configurations_name_what_ships():
    for name in ("demo", "paper"):
        config = load_studies(ROOT / "configs" / "studies" / f"{name}.yaml")
        assert len(config.seeds) == 3
        assert all(Grid(config).base(dataset).stages for dataset in config.datasets)
    assert [study.name for study in chosen_studies("all")] == list(STUDIES)
