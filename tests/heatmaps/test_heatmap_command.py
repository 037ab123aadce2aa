"""`artquant heatmap` from the command line."""

from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.cli import main
from tests.tiny import pictures, tiny_llava


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    return str(folder)


@pytest.fixture
def paintings(tmp_path) -> Path:
    folder = tmp_path / "paintings"
    folder.mkdir()
    first, second = pictures(2)
    first.save(folder / "a.png")
    (folder / "broken.jpg").write_text("no picture")
    (folder / "sub").mkdir()
    second.save(folder / "sub" / "a.png")
    return folder


def test_a_folder_gets_a_picture_for_each_painting_and_reasons(model, paintings, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["heatmap", model, "paintings", "--out", "maps", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        "maps/a.heatmap.png",
        "paintings/broken.jpg: 'paintings/broken.jpg' is no image but a text file; replace it with the picture",
        "maps/a-2.heatmap.png",
        "drew 2, failed 1",
    ]
    assert 1 <= float(lines[0].split()[0]) <= 10
    for name in ("a", "a-2"):
        with Image.open(tmp_path / "maps" / f"{name}.heatmap.png") as drawn:
            assert drawn.format == "PNG"


def test_pictures_that_the_command_wrote_are_not_mapped(model, paintings, capsys):
    command = ["heatmap", model, str(paintings), "--out", str(paintings), "--method", "gradient", "--device", "cpu"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert len(list(paintings.rglob("*.heatmap.png"))) == 2


def test_two_checkpoints_stand_in_one_picture(model, paintings, tmp_path, capsys):
    image = str(paintings / "a.png")
    for options in ([], ["--against", model]):
        assert main(["heatmap", model, image, *options, "--out", str(tmp_path / "maps"), "--device", "cpu"]) == 0
    alone, both = (line.split("  ")[:-1] for line in capsys.readouterr().out.splitlines() if ".png" in line)
    assert both == alone * 2


def test_images_that_fail_are_counted_and_fail_the_command_with_strict(model, paintings, tmp_path, capsys):
    command = ["heatmap", model, str(paintings), "--out", str(tmp_path), "--method", "gradient", "--device", "cpu"]
    assert main([*command, "--strict"]) == 2
    assert capsys.readouterr().err.endswith("artquant: error: 1 of 3 images have no map; see the reasons (--strict)\n")


def test_an_output_that_is_a_file_is_refused(model, paintings, capsys):
    assert main(["heatmap", model, str(paintings), "--out", str(paintings / "a.png")]) == 2
    assert "is a file; name a folder, which gets one picture for each image" in capsys.readouterr().err
