"""What `ArtQuantScorer.score` takes: one picture or many, in any of the forms that pictures have in Python."""

import numpy as np
import pytest
import torch
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer, Score
from tests.tiny import pictures, tiny_checkpoint


@pytest.fixture(scope="module")
def scorer() -> ArtQuantScorer:
    return ArtQuantScorer(tiny_checkpoint())


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    pictures(1)[0].save(path)
    return path


def forms(picture: Image.Image) -> dict[str, object]:
    """The same picture in every form."""
    last = np.asarray(picture)
    first = last.transpose(2, 0, 1)
    return {
        "PIL": picture,
        "uint8, channels last": last,
        "uint8, channels first": first,
        "float32": last.astype(np.float32) / 255,
        "float64, channels first": first / 255,
        "float16": (last / 255).astype(np.float16),
        "RGBA": np.dstack([last, np.full(last.shape[:2], 255, np.uint8)]),
        "tensor uint8": torch.from_numpy(first.copy()),
        "tensor float": torch.from_numpy(first / 255).float(),
        "tensor with gradients": torch.from_numpy(last / 255).float().requires_grad_(),
        "Fortran's order": np.asfortranarray(last),
    }


def test_every_form_of_one_picture_has_the_score_of_its_file(scorer, png):
    expected = scorer.score(str(png))
    assert isinstance(expected, Score)
    for source in (png, png.read_bytes(), *forms(Image.open(png)).values()):
        assert scorer.score(source).score == pytest.approx(expected.score, abs=1e-6)
    assert [one.score for one in scorer.score(list(forms(Image.open(png)).values()))] == pytest.approx(
        [expected.score] * 11, abs=1e-5
    )


def test_grey_pictures_have_two_axes_or_one_channel(scorer, tmp_path):
    grey = pictures(1)[0].convert("L")
    grey.save(tmp_path / "g.png")
    expected = scorer.score(tmp_path / "g.png").score
    values = np.asarray(grey)
    for source in (values, values[None], values[..., None], torch.from_numpy(values / 255)):
        assert scorer.score(source).score == pytest.approx(expected, abs=1e-6)


def test_transparency_stands_on_white_as_in_a_file(scorer, tmp_path):
    picture = pictures(1)[0]
    picture.putalpha(77)
    picture.save(tmp_path / "t.png")
    expected = scorer.score(tmp_path / "t.png").score
    assert scorer.score(np.asarray(picture)).score == pytest.approx(expected, abs=1e-6)
    assert scorer.score(picture.convert("RGB")).score != pytest.approx(expected, abs=1e-6)


def test_a_batch_of_four_axes_and_a_stream_are_many(scorer):
    many = np.stack([np.asarray(picture) for picture in pictures(3)])
    expected = [one.score for one in scorer.score(pictures(3))]
    for batch in (many, torch.from_numpy(many.transpose(0, 3, 1, 2).copy()), iter(many), tuple(many)):
        assert [one.score for one in scorer.score(batch)] == pytest.approx(expected, abs=1e-6)
    assert scorer.score(many[:0]) == scorer.score([]) == []


EMPTY = np.zeros((0, 4, 3), np.uint8)
WRONG = [
    (np.zeros((3, 3, 3), np.uint8), "array of 3 x 3 x 3 uint8 may have its channels first or last; pass a PIL image"),
    (np.zeros((3, 9, 4), np.uint8), "may have its channels first or last"),
    (np.zeros((8, 9, 10), np.uint8), "array of 8 x 9 x 10 uint8 is not one picture"),
    (np.zeros((2, 9, 9), np.uint8), "is not one picture"),
    (np.zeros(7, np.uint8), "array of 7 uint8 is not one picture"),
    (np.array(7, np.uint8), "array of no axis uint8 is not one picture"),
    (EMPTY, "array of 0 x 4 x 3 uint8 is empty"),
    (np.full((9, 9), 200.0), "values from 200 to 200, outside of [0, 1]; divide it by 255"),
    (np.array([[-1.0, 1.0]]), "values from -1 to 1, outside of [0, 1]; undo its normalisation"),
    (np.array([[0.5, np.nan]]), "holds NaN or infinite values"),
    (np.full((9, 9), np.inf, np.float32), "holds NaN or infinite values"),
    (
        np.zeros((9, 9), np.int64),
        "neither uint8 (0 to 255) nor floating-point (0 to 1); convert",
    ),
    (np.zeros((9, 9), bool), "neither uint8"),
    (np.zeros((9, 9), np.uint16), "neither uint8"),
    (np.full((9, 9), "a"), "neither uint8"),
    (torch.zeros(3, 9, 9, device="meta"), "the tensor of 3 x 9 x 9 torch.float32 cannot be copied"),
    (None, "NoneType is no picture; pass a path, a PIL image, an array of numpy, a tensor of torch or a file's bytes"),
    ([[0, 0], [0, 0]], "list is no picture"),
]


@pytest.mark.parametrize(("picture", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_no_picture_or_may_be_two_is_one_line_with_its_position(scorer, picture, message):
    with pytest.raises(ArtQuantError) as caught:
        scorer.score([pictures(1)[0], picture])
    assert str(caught.value).startswith("picture 1 of those given, counted from 0: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_half_a_step_outside_the_range_is_rounding(scorer):
    white = np.ones((9, 9))
    assert scorer.score(white * 1.0019).score == scorer.score(white).score
    with pytest.raises(ArtQuantError, match=r"values from 1.002 to 1.002, outside"):
        scorer.score(white * 1.002)


def test_the_error_names_the_file_and_its_position(scorer, png, tmp_path):
    with pytest.raises(ArtQuantError, match=r"^picture 2 of those given, counted from 0: image '.*gone.jpg' does not"):
        scorer.score([png, png, tmp_path / "gone.jpg", tmp_path / "other.jpg"])
    with pytest.raises(ArtQuantError, match=r"^image '.*gone.jpg' does not exist"):
        scorer.score(tmp_path / "gone.jpg")
    with pytest.raises(ArtQuantError, match=r"^picture 0 of those given"):
        scorer.describe([tmp_path / "gone.jpg"])


def test_errors_may_be_returned_in_the_place_of_the_score(scorer, png, tmp_path):
    found = scorer.score([png, tmp_path / "gone.jpg", EMPTY, png], errors="return")
    assert [isinstance(one, Score) for one in found] == [True, False, False, True]
    assert "gone.jpg' does not exist" in str(found[1]) and "is empty" in str(found[2])
    assert isinstance(found[1], ArtQuantError)
    assert found[0].score == pytest.approx(scorer.score(png).score, abs=1e-6)
    assert isinstance(scorer.score(EMPTY, errors="return"), ArtQuantError)
    with pytest.raises(ArtQuantError, match="errors='ignore' is neither 'raise' nor 'return'"):
        scorer.score([png], errors="ignore")


def test_what_holds_no_pictures_is_one_line(scorer, png):
    with pytest.raises(ArtQuantError, match="int is neither a picture nor several; pass a path"):
        scorer.score(7)
    with pytest.raises(ArtQuantError, match="str is one picture here, not several; put it into a list"):
        scorer.score_each(str(png))


@pytest.mark.parametrize("workers", [0, 2])
def test_arrays_reach_worker_processes(png, workers):
    scorer = ArtQuantScorer(tiny_checkpoint(), batch_size=2, workers=workers)
    sources = [*forms(Image.open(png)).values(), EMPTY]
    *found, last = scorer.score_each(sources)
    assert "is empty" in str(last)
    assert {round(one.score, 4) for one in found} == {round(scorer.score(png).score, 4)}
