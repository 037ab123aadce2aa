import copy
import math
import pickle

import pytest
import torch

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.prompter import level_positions
from artquant_plugin.scoring.batching import BatchSize
from artquant_plugin.scoring.generation import generate
from artquant_plugin.scoring.prepare import Preparer
from artquant_plugin.scoring.scorer import ArtQuantScorer, Score
from artquant_plugin.scoring.timings import Timings
from artquant_plugin.train.tiny import build_tiny_model
from tests.dynamic import dynamic_checkpoint
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
    assert "a.png' are not finite: " in str(result)
    assert "numbers in its weight lm_head.weight are NaN or infinite, as a training that diverged" in str(result)


def test_values_beyond_the_type_are_told_from_damaged_weights():
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    with torch.no_grad():
        model.lm_head.weight.fill_(3e38)  # finite in bfloat16, and their products with hidden states are not
    model = model.to(torch.bfloat16).eval()
    (result,) = ArtQuantScorer(Checkpoint(model, processor, ScoringSpec(), "wide")).score_each(pictures(1))
    assert "its weights are finite and its values grow beyond bfloat16; load it with dtype=float32" in str(result)


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
    with pytest.raises(ArtQuantError, match="batch size 0 is neither a number from 1"):
        ArtQuantScorer(scorer.checkpoint, batch_size=0)


def test_the_scorer_is_found_at_the_top_of_the_package():
    import artquant_plugin

    assert artquant_plugin.ArtQuantScorer is ArtQuantScorer
    assert "ArtQuantScorer" in dir(artquant_plugin)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        artquant_plugin.nothing  # noqa: B018


def test_files_contents_and_pictures_are_alike(scorer, tmp_path):
    image = pictures(1)[0]
    image.save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), image]
    assert len({score.score for score in scorer.score(sources)}) == 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("checkpoint", [tiny_checkpoint, dynamic_checkpoint], ids=["static", "dynamic"])
def test_results_stand_in_the_order_given_for_any_workers_and_sizes(checkpoint, workers, tmp_path):
    sizes = [(40, 48), (200, 60), (60, 200), (130, 120), (30, 30)] * 5
    images = [image.resize(size) for image, size in zip(pictures(25), sizes, strict=True)]
    alone = ArtQuantScorer(checkpoint(), batch_size=1, workers=0)
    expected = [alone.score([image])[0].score for image in images]
    (tmp_path / "bad.jpg").write_text("<html>")
    found = list(
        ArtQuantScorer(checkpoint(), batch_size=3, workers=workers).score_each([*images, tmp_path / "bad.jpg"])
    )
    assert isinstance(found.pop(), ArtQuantError)
    assert [score.score for score in found] == pytest.approx(expected, abs=1e-5)


def test_only_models_whose_inputs_follow_the_size_have_their_images_sorted(scorer):
    assert not scorer._runner.by_size
    assert ArtQuantScorer(dynamic_checkpoint())._runner.by_size


def test_results_that_are_read_a_batch_later_are_the_same(scorer):
    images = pictures(7)
    later = ArtQuantScorer(scorer.checkpoint, batch_size=2)
    later._runner._lag = 1  # as on a GPU
    found = [result.score for result in later.score(images)]
    assert found == pytest.approx([result.score for result in scorer.score(images)], abs=1e-5)


def refuse_over(model, limit, batches):
    """Have a model run out of memory as CUDA does, on batches of more than `limit` images."""

    def check(module, args, kwargs):
        batches.append(len(kwargs["input_ids"]))
        if len(kwargs["input_ids"]) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return model.model.register_forward_pre_hook(check, with_kwargs=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_that_does_not_fit_is_halved_and_no_result_is_lost(scorer, workers, tmp_path):
    images = [*pictures(9), tmp_path / "gone.jpg", *pictures(10, seed=1)]
    expected = list(scorer.score_each(images))
    smaller = ArtQuantScorer(scorer.checkpoint, batch_size=8, workers=workers)
    batches = []
    hook = refuse_over(scorer.checkpoint.model, 3, batches)
    try:
        found = list(smaller.score_each(images))
    finally:
        hook.remove()
    assert [isinstance(result, Score) for result in found] == [place != 9 for place in range(20)]
    assert [result.score for result in found if isinstance(result, Score)] == pytest.approx(
        [result.score for result in expected if isinstance(result, Score)], abs=1e-5
    )
    assert smaller.batch_size == 2
    assert [count for count in batches if count > 3] == [8, 4]  # each size fails once and is not tried again


def test_auto_grows_while_it_fits(scorer):
    growing = ArtQuantScorer(scorer.checkpoint, batch_size=8)
    growing._runner.size = BatchSize("auto", device="cuda", ceiling=64)
    batches = []
    hook = refuse_over(scorer.checkpoint.model, 20, batches)
    try:
        found = growing.score(pictures(100))
    finally:
        hook.remove()
    assert len(found) == 100
    assert growing.batch_size == 16
    assert max(batches) > 20


def test_an_image_that_does_not_fit_alone_is_an_error_in_its_place(scorer):
    hook = refuse_over(scorer.checkpoint.model, 0, [])
    try:
        results = list(ArtQuantScorer(scorer.checkpoint, batch_size=2).score_each(pictures(3)))
    finally:
        hook.remove()
    assert len(results) == 3
    assert all("does not fit into the memory of the GPU, even alone" in str(result) for result in results)


def test_scoring_keeps_no_cache_no_attention_maps_and_no_hidden_states(scorer):
    kept = {}

    def look(module, args, output):
        kept.update(output)

    text = scorer.checkpoint.model.model.language_model
    hook = text.register_forward_hook(look)
    try:
        scorer.score(pictures(1))
    finally:
        hook.remove()
    assert set(kept) == {"last_hidden_state"}


def test_the_output_head_is_not_run(scorer):
    calls = []
    hook = scorer.checkpoint.model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    try:
        scorer.score(pictures(2))
    finally:
        hook.remove()
    assert not calls


def test_descriptions_are_those_of_each_alone(scorer, tmp_path):
    images = pictures(5)
    small = ArtQuantScorer(scorer.checkpoint, batch_size=2)
    together = small.describe(images, max_new_tokens=8)
    assert [each.text for each in together] == [small.describe([i], max_new_tokens=8)[0].text for i in images]
    results = list(small.describe_each([images[0], tmp_path / "gone.jpg"], max_new_tokens=8))
    assert results[0].text == together[0].text
    assert "does not exist" in str(results[1])


def test_a_description_answers_the_checkpoints_own_question(scorer):
    image = pictures(1)[0]
    question = scorer.checkpoint.spec.prompt.describe_question
    chat = [{"role": "user", "content": [{"type": "image", "url": image}, {"type": "text", "text": question}]}]
    expected = generate(scorer.checkpoint, chat, {"max_new_tokens": 8, "temperature": 0})
    assert scorer.describe([image], max_new_tokens=8)[0].text == expected


def test_bfloat16_differs_between_batches_by_rounding_only():
    tiny = dynamic_checkpoint()  # whose rows are padded in a batch
    half = Checkpoint(copy.deepcopy(tiny.model).bfloat16(), tiny.processor, tiny.spec, "bf16")
    images = [image.resize((40 + 20 * index, 60)) for index, image in enumerate(pictures(8))]
    alone = [result.score for result in ArtQuantScorer(half, batch_size=1).score(images)]
    together = [result.score for result in ArtQuantScorer(half, batch_size=8).score(images)]
    assert together == pytest.approx(alone, abs=0.02)  # of a scale from 1 to 10; 0.004 was seen


@pytest.mark.parametrize("make", [tiny_checkpoint, dynamic_checkpoint])
def test_scores_in_bfloat16_are_those_of_float32_within_what_the_manual_says(make):
    tiny = make()
    half = Checkpoint(copy.deepcopy(tiny.model).bfloat16(), tiny.processor, tiny.spec, "bf16")
    images = pictures(8, size=(60, 60))
    exact = [result.score for result in ArtQuantScorer(tiny).score(images)]
    found = [result.score for result in ArtQuantScorer(half).score(images)]
    assert found == pytest.approx(exact, abs=0.03)  # of a scale from 1 to 10, as docs/scoring.md has it


def test_timings_say_where_the_time_goes(scorer):
    timings = Timings()
    found = list(ArtQuantScorer(scorer.checkpoint, batch_size=2).score_each(pictures(5), timings=timings))
    assert len(found) == timings.images == 5
    assert timings.batches == 3
    assert 0 < timings.vision < timings.model < timings.total
    assert timings.preparing > 0
    assert timings.waiting + timings.model + timings.rest == pytest.approx(timings.total)


@pytest.mark.parametrize("workers", [-1, "two", 1.5])
def test_workers_are_a_number(scorer, workers):
    with pytest.raises(ArtQuantError, match="is no number of processes; use 0 for none"):
        ArtQuantScorer(scorer.checkpoint, workers=workers)


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_scores(scorer):
    images = pictures(5)
    compiled = ArtQuantScorer(scorer.checkpoint, batch_size=2, compile=True)
    found = [result.score for result in compiled.score(images)]
    assert found == pytest.approx([result.score for result in scorer.score(images)], abs=1e-5)


def test_workers_are_given_the_processor_and_not_the_model(scorer):
    sent = pickle.dumps(Preparer(scorer._score_inputs))
    weights = sum(value.nbytes for value in scorer.checkpoint.model.parameters())
    assert len(sent) < weights / 4
    assert pickle.loads(sent)(pictures(1)).errors == [None]


def test_the_level_mass_is_what_the_level_words_have_among_all_tokens():
    checkpoint = tiny_checkpoint()
    plain = ArtQuantScorer(checkpoint).score(pictures(3))
    scorer = ArtQuantScorer(checkpoint, level_mass=True, batch_size=2)
    found = scorer.score(pictures(3))
    assert [score.score for score in found] == pytest.approx([score.score for score in plain], abs=1e-6)
    assert {score.level_mass for score in plain} == {None}
    request = scorer.prompter.score_request
    for picture, score in zip(pictures(3), found, strict=True):
        inputs = scorer.prompter.inputs([request.text], [picture])
        position = int(level_positions(inputs["attention_mask"], [request])[0])
        with torch.inference_mode():
            probabilities = checkpoint.model(**inputs).logits[0, position].double().softmax(-1)
        mass = probabilities[list(scorer.prompter.level_ids)].sum().item()
        assert score.level_mass == pytest.approx(mass, rel=1e-4)
