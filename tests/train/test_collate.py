import numpy as np
import pytest
import torch

from artquant_plugin.errors import ArtQuantError
from artquant_plugin.levels import LevelScale
from artquant_plugin.prompting import Prompter, PromptSpec, level_positions
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.samples import Sample
from tests.tiny import pictures, tiny_llava


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    return Prompter(tiny_llava()[1], PromptSpec(), LevelScale())


def items(*samples: Sample) -> list[dict]:
    return [{"sample": sample, "image": image} for sample, image in zip(samples, pictures(len(samples)), strict=True)]


def score_sample(score: float) -> Sample:
    return Sample("score", "s", None, label=LevelScale().soft_labels([score])[0])


DESCRIPTION = "Perception: warm reds. Cognition: a harbour."


def test_only_answers_are_supervised(prompter):
    describe = Sample("describe", "d", None, description=DESCRIPTION)
    batch = AnswerCollator(prompter)(items(score_sample(7.5), describe))
    decode = prompter.processor.tokenizer.decode
    counts = batch["supervised"].sum(dim=1).tolist()
    answers = batch["next_ids"].split(counts)
    assert decode(answers[0]) == "The quality of the painting is good.<end>"
    assert decode(answers[1]) == DESCRIPTION + "<end>"
    assert decode(batch["next_ids"][batch["is_level"]]) == " good"
    assert batch["is_description"].tolist() == [False] * counts[0] + [True] * counts[1]


def test_the_level_is_supervised_where_it_is_scored(prompter):
    batch = AnswerCollator(prompter)(items(score_sample(7.5), score_sample(2.0)))
    rows, columns = batch["supervised"].nonzero(as_tuple=True)
    at_level = columns[batch["is_level"]]
    request = prompter.score_request
    expected = level_positions(batch["attention_mask"], [prompter.score_answer(1), prompter.score_answer(4)])
    assert at_level.tolist() == expected.tolist()
    assert request.level == prompter.score_answer(1).level


def test_soft_labels_stay_float32_and_in_row_order(prompter):
    describe = Sample("describe", "d", None, description=DESCRIPTION)
    batch = AnswerCollator(prompter)(items(score_sample(2.0), describe, score_sample(9.0)))
    targets = batch["level_targets"]
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets.numpy() @ [10, 7.5, 5, 3.5, 1], [2.0, 9.0], atol=1e-5)


def test_a_batch_without_a_score_has_empty_targets(prompter):
    batch = AnswerCollator(prompter)(items(Sample("describe", "d", None, description=DESCRIPTION)))
    assert batch["level_targets"].shape == (0, 5)
    assert not batch["is_level"].any()


def test_a_processor_that_cuts_the_answer_off_is_an_error(prompter):
    class Cutting(Prompter):
        def __init__(self, inner):
            self.__dict__.update(inner.__dict__)

        def inputs(self, texts, images):
            batch = super().inputs(texts, images)
            return {name: value[:, :-3] if value.ndim == 2 else value for name, value in batch.items()}

    with pytest.raises(ArtQuantError, match="answer of sample 's' is not at the end"):
        AnswerCollator(Cutting(prompter))(items(score_sample(5.0)))
