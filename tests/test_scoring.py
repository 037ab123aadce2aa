import math

import pytest
import torch

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.scoring import ArtQuantScorer, Score
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import SIZES, pictures, tiny_checkpoint, tiny_texts


@pytest.fixture(scope="module")
def scorer() -> ArtQuantScorer:
    return ArtQuantScorer(tiny_checkpoint())


def test_a_score_is_the_expectation_of_its_levels(scorer):
    for result in scorer.score(pictures(3)):
        assert math.fsum(result.levels.values()) == pytest.approx(1)
        values = dict(zip(("excellent", "good", "fair", "poor", "bad"), (10, 7.5, 5, 3.5, 1), strict=True))
        assert result.score == pytest.approx(sum(values[name] * p for name, p in result.levels.items()))
        assert result.entropy == pytest.approx(-sum(p * math.log(p) for p in result.levels.values()))


def test_the_distribution_is_the_models_own_at_the_level_position(scorer):
    image = pictures(1)[0]
    prompter, model = scorer.prompter, scorer.checkpoint.model
    # By the long way: the whole answer up to the level word is fed, and the model's own logits are read at its end.
    text = prompter.score_request.text
    prefix = text[: text.index(" excellent")]
    inputs = prompter.inputs([prefix], [image])
    with torch.inference_mode():
        logits = model(**inputs).logits[0, -1, list(prompter.level_ids)]
    expected = logits.double().softmax(-1).tolist()
    assert list(scorer.score([image])[0].levels.values()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_scores_do_not_depend_on_the_batch(scorer, size):
    images = pictures(5, size=(30, 60))
    expected = [scorer.score([image])[0].score for image in images]
    found = [result.score for result in ArtQuantScorer(scorer.checkpoint, batch_size=size).score(images)]
    assert found == pytest.approx(expected, abs=1e-5)


def test_paths_and_pictures_are_alike(scorer, tmp_path):
    image = pictures(1)[0]
    image.save(tmp_path / "a.png")
    assert scorer.score([tmp_path / "a.png", str(tmp_path / "a.png")]) == scorer.score([image, image])


def test_an_image_that_fails_spoils_no_other(scorer, tmp_path):
    images = pictures(3)
    (tmp_path / "bad.jpg").write_text("<html>")
    results = list(scorer.score_each([images[0], tmp_path / "bad.jpg", images[1], tmp_path / "gone.jpg", images[2]]))
    assert [isinstance(result, Score) for result in results] == [True, False, True, False, True]
    found = [result.score for result in (results[0], results[2], results[4])]
    assert found == pytest.approx([result.score for result in scorer.score(images)], abs=1e-6)
    with pytest.raises(ArtQuantError, match=r"bad.jpg' is no image"):
        scorer.score([images[0], tmp_path / "bad.jpg"])


def test_logits_that_are_not_finite_are_an_error_that_names_the_image(tmp_path):
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    broken = ArtQuantScorer(Checkpoint(model.eval(), processor, ScoringSpec(), "broken"))
    pictures(1)[0].save(tmp_path / "a.png")
    (result,) = broken.score_each([tmp_path / "a.png"])
    assert isinstance(result, ArtQuantError)
    assert "a.png' are not finite" in str(result)


def test_a_stream_is_read_ahead_by_batches_and_never_collected(scorer):
    taken = 0

    def stream():
        nonlocal taken
        for image in pictures(40):
            taken += 1
            yield image

    next(iter(ArtQuantScorer(scorer.checkpoint, batch_size=4).score_each(stream())))
    assert taken <= 12


def test_nothing_gives_nothing(scorer):
    assert scorer.score([]) == []


def test_a_batch_size_of_zero_is_refused(scorer):
    with pytest.raises(ArtQuantError, match="batch size 0 is not positive"):
        ArtQuantScorer(scorer.checkpoint, batch_size=0)


def test_the_scorer_is_found_at_the_top_of_the_package():
    import artquant_plugin

    assert artquant_plugin.ArtQuantScorer is ArtQuantScorer
    assert "ArtQuantScorer" in dir(artquant_plugin)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        artquant_plugin.nothing  # noqa: B018
