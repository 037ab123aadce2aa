import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data import image_memory
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec, level_positions
from artquant_plugin.train.collate import AnswerCollator, count_passes, count_terms, count_tokens, with_passes
from artquant_plugin.train.data import ClosedPicture, Sample, SampleDataset
from tests.backbones.families import FAMILIES, family
from tests.tiny import pictures, tiny_llava


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    return Prompter(tiny_llava()[1], PromptSpec(), LevelScale())


def items(*samples: Sample) -> list[dict]:
    return [{"sample": sample, "image": image} for sample, image in zip(samples, pictures(len(samples)), strict=True)]


def score_sample(score: float, image: Path | None = None) -> Sample:
    return Sample("score", "s", image, label=LevelScale().soft_labels([score])[0])


DESCRIPTION = "Perception: warm reds. Cognition: a harbour."


def describe_sample(image: Path | None = None, description: str = DESCRIPTION) -> Sample:
    return Sample("describe", "d", image, description=description)


def test_only_answers_are_supervised(prompter):
    scores, descriptions = AnswerCollator(prompter)(items(score_sample(7.5), describe_sample()))["parts"]
    decode = prompter.processor.tokenizer.decode
    assert decode(scores["next_ids"]) == "The quality of the painting is good.<end>"
    assert decode(scores["next_ids"][scores["is_level"]]) == " good"
    assert not scores["is_description"].any()
    assert decode(descriptions["next_ids"]) == DESCRIPTION + "<end>"
    assert descriptions["is_description"].all()
    assert not descriptions["is_level"].any()


def test_score_answers_are_not_padded_to_descriptions(prompter):
    batch = AnswerCollator(prompter)(items(score_sample(7.5), describe_sample(), score_sample(2.0)))
    for part in batch["parts"]:
        assert part["inputs"]["attention_mask"].all()
    short, long = (part["inputs"]["input_ids"].shape for part in batch["parts"])
    assert (short[0], long[0]) == (2, 1)
    assert short[1] < long[1]
    assert count_tokens(batch) == 2 * short[1] + long[1]
    assert batch["paintings"] == ["s", "d", "s"]


def test_the_level_is_supervised_where_it_is_scored(prompter):
    (part,) = AnswerCollator(prompter)(items(score_sample(7.5), score_sample(2.0)))["parts"]
    rows, columns = part["supervised"].nonzero(as_tuple=True)
    at_level = columns[part["is_level"]]
    request = prompter.score_request
    expected = level_positions(part["inputs"]["attention_mask"], [prompter.score_answer(1), prompter.score_answer(4)])
    assert at_level.tolist() == expected.tolist()
    assert request.level == prompter.score_answer(1).level


def test_soft_labels_stay_float32_and_in_row_order(prompter):
    batch = AnswerCollator(prompter)(items(score_sample(2.0), describe_sample(), score_sample(9.0)))
    targets = batch["parts"][0]["level_targets"]
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets.numpy() @ [10, 7.5, 5, 3.5, 1], [2.0, 9.0], atol=1e-5)


def test_a_batch_without_a_score_has_empty_targets(prompter):
    (part,) = AnswerCollator(prompter)(items(describe_sample()))["parts"]
    assert part["level_targets"].shape == (0, 5)
    assert not part["is_level"].any()


def test_counts_of_what_the_terms_are_sums_over(prompter):
    batch = AnswerCollator(prompter)(items(*map(score_sample, (2.0, 5.0, 9.0)), describe_sample()))
    description = len(prompter.describe_answer(DESCRIPTION).ids)
    answers = sum(len(prompter.score_answer(level).ids) - 1 for level in (4, 2, 0))  # the level token apart
    assert count_terms(batch).tolist() == [description, answers, 3, 3]  # three score samples make three pairs


def test_twins_share_their_images_in_one_order(prompter):
    paths = [Path(name) for name in "abcd"]
    samples = [
        score_sample(2.0, paths[0]),
        describe_sample(paths[2]),
        score_sample(9.0, paths[2]),
        score_sample(5.0, paths[1]),
        describe_sample(paths[0], "Warm."),
        describe_sample(paths[3]),
    ]
    batch = AnswerCollator(prompter, share_images=True)(items(*samples))
    scores, twins, lone_score, lone_description = batch["parts"]
    assert [part["reuses_images"] for part in batch["parts"]] == [False, True, False, False]
    assert "pixel_values" in scores["inputs"]
    assert "pixel_values" not in twins["inputs"]
    decode = prompter.processor.tokenizer.decode
    assert decode(twins["next_ids"]) == "Warm.<end>" + DESCRIPTION + "<end>"  # as the scores: a, then c
    np.testing.assert_allclose(scores["level_targets"].numpy() @ [10, 7.5, 5, 3.5, 1], [2.0, 9.0], atol=1e-5)
    np.testing.assert_allclose(lone_score["level_targets"].numpy() @ [10, 7.5, 5, 3.5, 1], [5.0], atol=1e-5)
    assert decode(lone_description["next_ids"]) == DESCRIPTION + "<end>"


def test_added_passes_ask_nothing_and_stand_where_others_have_theirs(prompter):
    scores = AnswerCollator(prompter)(items(score_sample(2.0), score_sample(9.0)))
    assert count_passes(scores).tolist() == [0, 1]
    padded = with_passes(scores, torch.tensor([1, 2]))
    assert count_passes(padded).tolist() == [1, 2]
    assert [part["reuses_images"] for part in padded["parts"]] == [False, True, False, False]
    assert ["pixel_values" in part["inputs"] for part in padded["parts"]] == [True, False, True, True]
    assert count_terms(padded).tolist() == count_terms(scores).tolist()
    assert [bool(part["supervised"].any()) for part in padded["parts"]] == [False, False, True, False]


def test_a_batch_opens_each_picture_once(tmp_path):
    pictures(1)[0].save(tmp_path / "a.png")
    pictures(1)[0].save(tmp_path / "b.png")
    samples = [Sample(kind, name, tmp_path / f"{name}.png") for name in "ab" for kind in ("score", "describe")]
    loaded = SampleDataset(samples).__getitems__([0, 3, 1])
    assert [item["sample"] for item in loaded] == [samples[0], samples[3], samples[1]]
    assert loaded[0]["image"] is loaded[2]["image"]
    assert loaded[0]["image"] is not loaded[1]["image"]


def test_a_processor_that_cuts_the_answer_off_is_an_error(prompter):
    class Cutting(Prompter):
        def __init__(self, inner):
            self.__dict__.update(inner.__dict__)

        def inputs(self, texts, images):
            batch = super().inputs(texts, images)
            return {name: value[:, :-3] if value.ndim == 2 else value for name, value in batch.items()}

    with pytest.raises(ArtQuantError, match="answer of sample 's' is not at the end"):
        AnswerCollator(Cutting(prompter))(items(score_sample(5.0)))


SIZES = [(40, 48), (90, 30), (200, 120), (48, 40)]


def of_different_sizes(folder: Path) -> list[Sample]:
    """Score and description samples in turn, whose pictures and texts differ in size."""
    samples = []
    for index, size in enumerate(SIZES):
        path = folder / f"{index}.png"
        pictures(1, seed=index, size=size)[0].save(path)
        text = f"{DESCRIPTION} {'And more. ' * index}"
        samples += [score_sample(7.5, path), describe_sample(path, text)]
    return samples


@pytest.mark.parametrize("name", list(FAMILIES))
def test_pictures_that_are_opened_one_after_the_other_make_the_batch_of_all_of_them(name, tmp_path, monkeypatch):
    """The processor of every family pads what differs in size among samples as it is padded here."""
    collator = AnswerCollator(Prompter(family(name)[1], PromptSpec(), LevelScale()))
    samples = SampleDataset(of_different_sizes(tmp_path))
    whole = collator(samples.__getitems__(range(len(samples))))
    monkeypatch.setattr(image_memory, "PIXELS_AT_ONCE", 1)
    items = samples.__getitems__(range(len(samples)))
    assert [isinstance(item["image"], ClosedPicture) for item in items] == [False] * 2 + [True] * 6
    for part, expected in zip(collator(items)["parts"], whole["parts"], strict=True):
        assert part["inputs"].keys() == expected["inputs"].keys()
        mask = expected["inputs"]["attention_mask"].bool()
        for key, tensor in expected["inputs"].items():
            found = part["inputs"][key]
            if key == "cross_attention_mask":  # Llama's: what it says of padding is nobody's, and differs
                tensor, found = tensor[mask], found[mask]
            assert tensor.dtype == found.dtype and torch.equal(tensor, found), key
        assert torch.equal(part["supervised"], expected["supervised"])


def test_a_batch_holds_as_many_pictures_as_memory_allows(tmp_path, monkeypatch):
    seen = []

    class Watched(Prompter):
        def inputs(self, texts, images):
            gc.collect()
            living = [each for each in gc.get_objects() if isinstance(each, Image.Image) and each.size == (50, 66)]
            seen.append(len(living))
            return super().inputs(texts, images)

    samples = []
    for index in range(8):
        pictures(1, seed=index, size=(66, 50))[0].save(tmp_path / f"{index}.png")
        samples.append(score_sample(5.0, tmp_path / f"{index}.png"))
    collator, dataset = AnswerCollator(Watched(tiny_llava()[1], PromptSpec(), LevelScale())), SampleDataset(samples)
    collator(dataset.__getitems__(range(8)))
    assert seen == [8]
    monkeypatch.setattr(image_memory, "PIXELS_AT_ONCE", 2 * 66 * 50)
    seen.clear()
    collator(dataset.__getitems__(range(8)))
    assert seen == [2, 4, 4, 4]  # the two that the items hold, and two that were opened for the moment
