import json
import math
import os

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.painting_pictures import file_inside
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.run_details import without_secrets
from tests.report.results import write_csv, write_paintings, write_samples

TRUTHS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


@pytest.fixture(autouse=True)
def no_datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))


def boards(*sources, columns=None, dataset=None, images=()):
    return read_boards(
        [parse_prediction_source(str(source)) for source in sources],
        columns or PredictionColumns(),
        dataset=dataset,
        images=images,
    )


def test_runs_of_several_models_and_tasks_become_boards(tmp_path):
    write_samples(tmp_path / "r" / "gpt", "baid", {"a": 1.5, "b": None, "c": 2.0, "d": 9.0}, TRUTHS)
    write_samples(tmp_path / "r" / "gpt", "baid", dict(TRUTHS), TRUTHS, task="baid_cot", date="20260102_000000")
    write_samples(tmp_path / "r" / "qwen", "vaps", {"a": 1.0}, TRUTHS, task="vaps")
    baid, vaps = boards(tmp_path / "r")
    assert (baid.dataset, vaps.dataset) == ("baid", "vaps")
    assert [model.name for model in baid.models] == ["gpt", "gpt (cot)"]
    assert baid.models[0].failures == {"empty": 1}
    np.testing.assert_array_equal(baid.matrix(), [[1.5, math.nan, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
    details = baid.models[0].details
    assert (details.harness, details.commit, details.prompt_version, details.seconds) == (
        "0.7.3",
        "abc1234",
        "plain-1",
        "13",
    )
    assert [board.dataset for board in boards(tmp_path / "r", dataset="vaps")] == ["vaps"]
    assert baid.info is None and not baid.images


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("model=x,api_key=sk-1,n=2", "model=x,api_key=***,n=2"),
        ('{"hf_token": "a b, c", "max_new_tokens": 5}', '{"hf_token": ***, "max_new_tokens": 5}'),
        ("password='a b',tokenizer=t", "password=***,tokenizer=t"),
    ],
)
def test_keys_and_tokens_of_a_run_are_not_shown(given, shown):
    assert without_secrets(given) == shown


def test_files_that_a_results_folder_names_are_not_opened(tmp_path, monkeypatch):
    """The results, the dataset that they name, and the dataset beside them are all somebody else's."""
    private = tmp_path / "home" / "private"
    theirs = write_paintings(tmp_path / "theirs" / "baid", 3)
    truths = {row.id: row.score for row in theirs.split("test")}
    (private / "images").mkdir(parents=True)
    for path in (theirs.folder / "images").iterdir():
        (private / "images" / path.name).write_bytes(path.read_bytes())
    info = json.loads((theirs.folder / "dataset.json").read_text())
    (theirs.folder / "dataset.json").write_text(json.dumps({**info, "image_root": str(private)}))
    folder = write_samples(tmp_path / "m", theirs, dict(truths), truths)
    (folder / "baid").symlink_to(theirs.folder)
    monkeypatch.chdir(folder)  # where a folder of the dataset's name lies
    (board,) = boards(folder)
    assert not board.images and board.info is None and not board.paintings


@pytest.mark.parametrize("dataset", ["..", "a/b", ".", "owner/name:test"])
def test_a_dataset_that_a_results_folder_names_is_a_plain_name(dataset, tmp_path):
    write_paintings(tmp_path / "baid", 3)
    (tmp_path / "none").mkdir()
    for name in ("dataset.json", "test.jsonl", "train.jsonl"):
        (tmp_path / name).write_bytes((tmp_path / "baid" / name).read_bytes())
    folder = write_samples(tmp_path / "m", dataset, dict(TRUTHS), TRUTHS, task="..")
    (board,) = boards(folder)
    assert board.info is None


def test_pictures_of_a_folder_that_the_user_names(tmp_path):
    dataset = write_paintings(tmp_path / "elsewhere" / "baid", 4)
    truths = {row.id: row.score for row in dataset.split("test")}
    folder = write_samples(tmp_path / "m", dataset, dict(truths), truths)
    (board,) = boards(folder, images=[dataset.folder / "images"])
    assert {name: path.name for name, path in board.images.items()} == {name: f"{name}.png" for name in truths}
    (board,) = boards(folder)
    assert not board.images
    with pytest.raises(ArtQuantError, match="'.*absent' is no folder; name one with pictures for --images"):
        boards(folder, images=[tmp_path / "absent"])


def test_no_picture_comes_from_outside_its_folder(tmp_path):
    dataset = write_paintings(tmp_path / "none" / "baid", 6)
    truths = {row.id: row.score for row in dataset.split("test")}
    folder = write_samples(tmp_path / "m", dataset, dict(truths), truths)
    images = dataset.folder / "images"
    secret = tmp_path / "secret.png"
    secret.write_bytes((images / "p0000.png").read_bytes())
    for number in (0, 1, 2):
        (images / f"p000{number}.png").unlink()
    (images / "p0000.png").symlink_to(secret)
    (images / "p0001.png").symlink_to("p0001.png")  # to itself
    os.mkfifo(images / "p0002.png")
    (images / "p0003.png").rename(images / "inner.png")
    (images / "p0003.png").symlink_to("inner.png")  # stays inside
    (board,) = boards(folder)
    assert sorted(board.images) == ["p0003", "p0004", "p0005"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "p0000.png").symlink_to(secret)
    (board,) = boards(folder, images=[other])
    assert sorted(board.images) == ["p0003", "p0004", "p0005"]


def test_names_that_lead_out_of_a_folder_name_no_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b.png").write_bytes(b"x")
    (tmp_path / "a" / "c.png").write_bytes(b"x")
    assert file_inside(tmp_path / "a", "c.png") == tmp_path / "a" / "c.png"
    for name in ("../b.png", str(tmp_path / "b.png"), str(tmp_path / "a" / "c.png"), "", ".", "c\0.png", "x" * 5000):
        assert file_inside(tmp_path / "a", name) is None


def test_a_key_in_the_arguments_of_a_run_is_on_the_board_nowhere(tmp_path):
    replies = {name: "You sent sekret-4711-key, Authorization: Bearer zyx987654321" for name in TRUTHS}
    folder = write_samples(tmp_path / "m", "baid", dict(TRUTHS), TRUTHS, replies=replies)
    results = next(folder.glob("*_results.json"))
    content = json.loads(results.read_text())
    content["config"]["model_args"] = {
        "base_url": "https://ann:hunter22@host/v1",
        "api_keys": ["sekret-4711-key", "other-key-0815"],
        "headers": {"Authorization": "Bearer abcdefgh12345678"},
        "max_new_tokens": 9,
    }
    content["configs"]["baid"]["lmms_eval_specific_kwargs"]["prompt"] = "Use other-key-0815. How good is it?"
    results.write_text(json.dumps(content))
    described = {"described": {"id": "a", "description": "sekret-4711-key"}}
    (folder / "20260101_000001_samples_baid_describe.jsonl").write_text(json.dumps(described))
    (board,) = boards(folder)
    (model,) = board.models
    shown = json.dumps(
        [model.details.arguments, model.details.prompt, dict(model.descriptions)]
        + [sample.reply for sample in model.samples.values()]
    )
    for secret in ("sekret", "other-key", "hunter22", "abcdefgh", "zyx9"):
        assert secret not in shown
    assert '"max_new_tokens": 9' in model.details.arguments and "How good is it?" in model.details.prompt


def test_a_run_without_its_results_file_is_still_read(tmp_path):
    folder = write_samples(tmp_path / "m", "baid", dict(TRUTHS), TRUTHS, task="baid_cot")
    next(folder.glob("*_results.json")).write_text("{broken")
    (board,) = boards(folder)
    assert board.dataset == "baid"
    assert board.models[0].details.variant == "cot"
    assert board.models[0].details.harness == ""


def test_pictures_texts_and_the_models_own_descriptions(tmp_path):
    dataset = write_paintings(tmp_path / "none" / "baid", 4)
    truths = {row.id: row.score for row in dataset.split("test")}
    folder = write_samples(tmp_path / "m", dataset, dict(truths), truths)
    described = {"described": {"id": "p0001", "description": "Green."}}
    (folder / "20260101_000001_samples_baid_describe.jsonl").write_text(json.dumps(described) + "\nnonsense\n")
    (board,) = boards(folder)
    assert len(board.images) == 4
    assert board.paintings["p0001"].comment.startswith("comment 1")
    assert board.categories() == ["portrait", "sea & sky"] * 2
    assert board.models[0].descriptions == {"p0001": "Green."}


def test_a_dataset_of_another_release_is_not_mixed_in(tmp_path):
    dataset = write_paintings(tmp_path / "none" / "baid", 3)
    truths = {row.id: row.score + 0.5 for row in dataset.split("test")}
    folder = write_samples(tmp_path / "m", dataset, dict(truths), truths)
    with pytest.warns(UserWarning, match="gives 'p0000' the human score 1, the runs on baid 1.5"):
        (board,) = boards(folder)
    assert board.info is None and not board.paintings


@pytest.mark.parametrize("form", ["{}", "{}.png", "images/{}.png"])
def test_a_prediction_file_may_name_images_or_ids(form, tmp_path):
    dataset = write_paintings(tmp_path / "none" / "baid", 3)
    truths = {row.id: row.score for row in dataset.split("test")}
    folder = write_samples(tmp_path / "m", dataset, dict(truths), truths)
    rows = [(form.format(name), 5.0) for name in ("p0000", "p0002", "other")]
    csv = write_csv(tmp_path / "saan.csv", rows)
    (board,) = boards(folder, csv)
    model = board.models[1]
    assert (model.name, model.predictions) == ("saan", {"p0000": 5.0, "p0002": 5.0})
    assert model.failures == {"not predicted": 1}
    assert model.left_out == {"without a human score": 1}


def test_a_prediction_file_alone_takes_the_datasets_scores_or_those_named(tmp_path, monkeypatch):
    csv = write_csv(tmp_path / "saan.csv", [("images/p0001.png", 5.0), ("p0002.png", 1.0)])
    with pytest.raises(ArtQuantError, match="may be of any dataset; write .*@DATASET"):
        boards(csv)
    with pytest.raises(
        ArtQuantError, match="there are no human scores: neither an lmms-eval run nor an imported dataset"
    ):
        boards(f"{csv}@baid")
    write_paintings(tmp_path / "home" / "baid", 3)
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    (board,) = boards(f"SAAN={csv}@baid")
    assert board.models[0].name == "SAAN"
    truth = tmp_path / "truth.csv"
    truth.write_text("file,mos\np0001.png,3\np0002.png,4\nz.png,5\n")
    columns = PredictionColumns(truth=str(truth), truth_image="file", score="mos")
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    (board,) = boards(csv, columns=columns, dataset="mine")
    assert board.dataset == "mine" and board.truth.tolist() == [3.0, 4.0, 5.0]


def test_a_file_may_be_about_more_paintings_than_a_run(tmp_path):
    dataset = write_paintings(tmp_path / "none" / "baid", 4)
    truths = {row.id: row.score for row in dataset.split("test")}
    part = write_samples(tmp_path / "m", dataset, {name: truths[name] for name in ("p0000", "p0001")}, truths)
    csv = write_csv(tmp_path / "saan.csv", [(name, 5.0) for name in truths])
    (board,) = boards(part, csv)
    assert board.ids == sorted(truths)
    assert np.isnan(board.matrix()[0]).tolist() == [False, False, True, True]
    assert len(board.models[1].predictions) == 4 and not board.models[1].left_out
    (board,) = boards(part, f"{csv}@baid_levels")
    assert board.dataset == "baid"


def test_a_truth_file_beside_runs_has_to_agree_with_them(tmp_path):
    write_samples(tmp_path / "m", "baid", dict(TRUTHS), TRUTHS)
    csv = write_csv(tmp_path / "p.csv", [("a.jpg", 1.0), ("e.jpg", 2.0)])
    truth = tmp_path / "truth.csv"
    truth.write_text("image,score\na.jpg,1\ne.jpg,9\n")
    (board,) = boards(tmp_path / "m", csv, columns=PredictionColumns(truth=str(truth)))
    assert board.ids == ["a", "b", "c", "d", "e.jpg"]
    assert board.models[1].predictions == {"a": 1.0, "e.jpg": 2.0}
    truth.write_text("image,score\na.jpg,1.5\n")
    with pytest.raises(ArtQuantError, match="gives 'a.jpg' the human score 1.5, the runs 1; leave --truth out"):
        boards(tmp_path / "m", csv, columns=PredictionColumns(truth=str(truth)))


def test_models_of_one_name_have_to_be_told_apart(tmp_path):
    for place in ("x", "y"):
        write_samples(tmp_path / place / "m", "baid", dict(TRUTHS), TRUTHS)
    with pytest.raises(ArtQuantError, match="'m' is the name of .* tell them apart with NAME=PATH"):
        boards(tmp_path / "x", tmp_path / "y")
    (board,) = boards(tmp_path / "x", f"other={tmp_path / 'y'}")
    assert [model.name for model in board.models] == ["m", "other"]


def test_two_models_cannot_share_a_new_name(tmp_path):
    for model in ("x", "y"):
        write_samples(tmp_path / "r" / model, "baid", dict(TRUTHS), TRUTHS)
    with pytest.raises(ArtQuantError, match=r"holds 2 models \(x, y\), which cannot all be called 'mine'"):
        boards(f"mine={tmp_path / 'r'}")


def test_human_scores_that_differ_between_runs_are_an_error(tmp_path):
    write_samples(tmp_path / "x", "baid", dict(TRUTHS), TRUTHS)
    write_samples(tmp_path / "y", "baid", dict(TRUTHS), {**TRUTHS, "b": 2.5})
    with pytest.raises(ArtQuantError, match="painting 'b' has the human score 2 in .* and 2.5 in"):
        boards(tmp_path / "x", tmp_path / "y")


def test_a_task_that_nobody_ran_is_an_error(tmp_path):
    write_samples(tmp_path / "x", "baid", dict(TRUTHS), TRUTHS)
    with pytest.raises(ArtQuantError, match="holds no run of 'vaps'"):
        boards(tmp_path / "x", dataset="vaps")


def test_sources_are_read_as_written(tmp_path):
    (tmp_path / "a=b@c").mkdir()
    assert parse_prediction_source(str(tmp_path / "a=b@c")).name is None
    csv = write_csv(tmp_path / "p.csv", [])
    source = parse_prediction_source(f"My model={csv}@vaps")
    assert (source.name, source.dataset, source.path) == ("My model", "vaps", csv)
    with pytest.raises(ArtQuantError, match="'nowhere' does not exist"):
        parse_prediction_source("nowhere")
    with pytest.raises(ArtQuantError, match="empty name"):
        parse_prediction_source(f"={csv}")
