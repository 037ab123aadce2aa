"""Every family through the whole way: score, describe, train a step, save, load, the same score."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from artquant_plugin.backbones.interface import (
    check_token_logits,
    last_hidden_states,
    takes_encoded_images,
    token_logits,
)
from artquant_plugin.checkpoint import Checkpoint, ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec, level_positions, until_level
from artquant_plugin.scoring.generation import generate
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.collate import AnswerCollator
from artquant_plugin.train.config import ArtQuantConfig
from artquant_plugin.train.data import Sample
from artquant_plugin.train.trainer import ArtQuantTrainer
from tests.backbones.families import FAMILIES, family
from tests.backbones.tokenizers import DESCRIPTION
from tests.tiny import pictures

SIZES = [(40, 48), (30, 64), (64, 30), (50, 50), (33, 77)]  # height, width
IMAGES = [pictures(1, seed=index, size=size)[0] for index, size in enumerate(SIZES)]
PARTS = {"vision": ("vision", "visual"), "language": ("language_model", "text_model", "model.layers")}


@pytest.fixture(params=FAMILIES)
def name(request) -> str:
    if request.param == "smolvlm":
        pytest.importorskip("num2words", reason="SmolVLM's processor needs num2words")
    return request.param


def checkpoint(name: str) -> Checkpoint:
    model, processor = family(name)
    return Checkpoint(model=model, processor=processor, spec=ScoringSpec(), name=name)


def prompter(name: str) -> Prompter:
    return Prompter(family(name)[1], PromptSpec(), LevelScale())


def scores(checkpoint: Checkpoint, batch_size: int = 2) -> list[float]:
    return [result.score for result in ArtQuantScorer(checkpoint, batch_size=batch_size).score(IMAGES)]


def test_scores_do_not_depend_on_the_batch(name):
    alone = scores(checkpoint(name), 1)
    assert len({round(score, 3) for score in alone}) > 1  # the image is seen
    for size in (2, 5):
        assert scores(checkpoint(name), size) == pytest.approx(alone, abs=1e-5)


def test_level_logits_are_the_models_own(name):
    asks = prompter(name)
    inputs = asks.inputs([asks.score_request.text], IMAGES[:1])
    inputs = until_level(inputs, level_positions(inputs["attention_mask"], [asks.score_request]))
    assert check_token_logits(family(name)[0], inputs, torch.tensor(asks.level_ids)) <= 1e-5


def test_the_token_that_is_scored_is_the_token_that_is_trained(name):
    """The ids before the level are those of the request, whichever level is trained, image tokens included."""
    asks, count = prompter(name), len(LevelScale().names)
    images = [IMAGES[1]] * count
    request = asks.inputs([asks.score_request.text], images[:1])
    scored = until_level(request, level_positions(request["attention_mask"], [asks.score_request]))["input_ids"][0]
    samples = [Sample("score", "s", None, label=label) for label in torch.eye(count).numpy()]
    part = AnswerCollator(asks).part(
        [{"sample": sample, "image": image} for sample, image in zip(samples, images, strict=True)]
    )
    ids = part["inputs"]["input_ids"]
    position = len(scored) - 1
    for row, level in enumerate(asks.level_ids):
        assert ids[row, : position + 1].tolist() == scored.tolist()
        assert ids[row, position + 1] == level
        assert part["supervised"][row, position]
    assert part["next_ids"][part["is_level"]].tolist() == list(asks.level_ids)


def test_a_score_does_not_depend_on_what_stands_behind_the_level(name):
    """Neither the level word that follows, nor a longer neighbour's padding, nor whether they are cut off."""
    asks, model = prompter(name), family(name)[0]
    level_ids = torch.tensor(asks.level_ids)

    def logits(texts, images, answer, cut):
        inputs = asks.inputs(texts, images)
        at = level_positions(inputs["attention_mask"][:1], [answer])
        with torch.inference_mode():
            hidden = last_hidden_states(model, until_level(inputs, at) if cut else inputs)
            return token_logits(model, hidden[0, at[0]], level_ids)

    first, last = asks.score_answer(0), asks.score_answer(4)
    longer = asks.describe_answer(DESCRIPTION * 2)
    expected = logits([first.text], IMAGES[:1], first, cut=True)
    for texts, images, answer in [
        ([first.text], IMAGES[:1], first),
        ([last.text], IMAGES[:1], last),
        ([first.text, longer.text], [IMAGES[0], IMAGES[4]], first),
    ]:
        torch.testing.assert_close(logits(texts, images, answer, cut=False), expected, atol=1e-5, rtol=0)


def test_a_description_is_written(name):
    question = [{"type": "image", "url": IMAGES[0]}, {"type": "text", "text": PromptSpec().describe_question}]
    text = generate(
        checkpoint(name), [{"role": "user", "content": question}], {"max_new_tokens": 6, "do_sample": False}
    )
    assert text
    assert "<image" not in text


def test_a_painting_s_samples_share_its_image_with_the_same_loss(name, tmp_path):
    model, processor = family(name)
    if not takes_encoded_images(model):
        pytest.skip(f"{type(model).__name__} takes no encoded images, and sharing is refused")
    asks = prompter(name)
    trainer = ArtQuantTrainer(
        model,
        ArtQuantConfig(output_dir=str(tmp_path / "run"), report_to="none", use_cpu=True),
        processing_class=processor,
    )
    items = []
    for index in (1, 3):
        score = Sample("score", str(index), Path(str(index)), label=LevelScale().soft_labels([2.0 * index])[0])
        describe = Sample("describe", str(index), Path(str(index)), description=DESCRIPTION)
        items += [{"sample": sample, "image": IMAGES[index]} for sample in (score, describe)]
    losses = [
        trainer.compute_loss(model, AnswerCollator(asks, share_images=share)(items)).item() for share in (False, True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_one_step_is_trained_and_the_saved_checkpoint_scores_alike(name, tmp_path):
    model, processor = FAMILIES[name]()
    before = Checkpoint(model, processor, ScoringSpec(), "before")
    untrained = scores(before)
    asks = Prompter(processor, PromptSpec(), LevelScale())
    trainer = ArtQuantTrainer(
        model,
        ArtQuantConfig(output_dir=str(tmp_path / "run"), report_to="none", use_cpu=True),
        processing_class=processor,
    )
    samples = [Sample("score", "a", None, label=LevelScale().soft_labels([8.0])[0])]
    samples += [Sample("describe", "b", None, description=DESCRIPTION)]
    batch = AnswerCollator(asks)(
        [{"sample": sample, "image": image} for sample, image in zip(samples, IMAGES[3:], strict=True)]
    )
    model.train()
    trainer.compute_loss(model, batch).backward()
    for part, words in PARTS.items():
        gradients = [p.grad for key, p in model.named_parameters() if any(word in key for word in words)]
        assert any(gradient is not None and gradient.any() for gradient in gradients), f"none reaches the {part} part"
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval()

    trained = Checkpoint(model, processor, ScoringSpec(), "trained")
    assert scores(trained) != pytest.approx(untrained, abs=1e-4)
    save_checkpoint(tmp_path / "saved", model, processor, ScoringSpec())
    loaded = ArtQuantScorer.from_pretrained(str(tmp_path / "saved"), device="cpu", batch_size=2)
    assert type(loaded.checkpoint.processor) is type(processor)
    assert [result.score for result in loaded.score(IMAGES)] == scores(trained)


def test_adapter_and_trained_projector_score_alike_after_loading(name, tmp_path):
    save_checkpoint(tmp_path / "base", *family(name), ScoringSpec())
    base = load_checkpoint(str(tmp_path / "base"))
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_peft_model(base.model, lora).eval()
        for key, parameter in model.named_parameters():
            if (
                any(word in key for word in ("projector", "merger", "connector", "embed_vision", "abstractor"))
                and "lora" not in key
            ):
                torch.nn.init.normal_(parameter.requires_grad_(True), std=0.15)
    trained = Checkpoint(model, base.processor, ScoringSpec(), "trained")
    assert scores(trained) != pytest.approx(scores(checkpoint(name)), abs=1e-4)
    save_checkpoint(tmp_path / "adapter", model, base.processor, ScoringSpec())
    assert (tmp_path / "adapter" / "extra_weights.safetensors").is_file()
    assert scores(load_checkpoint(str(tmp_path / "adapter"))) == scores(trained)
