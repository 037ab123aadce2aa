"""The level words' probability: raised without a change of scores, and then enough for a server to list the words."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from artquant_plugin.bulk.endpoint import EndpointEngine
from artquant_plugin.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.data import MixedSamples
from artquant_plugin.train.level_mass import raise_level_mass
from artquant_plugin.train.tiny import build_tiny_model
from tests.bulk.test_inputs import encoded
from tests.peers.logprob_server import LogprobServer, checkpoint_answer
from tests.tiny import SIZES, pictures, tiny_texts
from tests.train.trainers import samples, tiny_trainer


def mixed(folder: Path, kind: str) -> MixedSamples:
    return MixedSamples([(samples(folder / kind, [kind] * 8), 1.0)], seed=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkpoint after 40 steps of the paper's loss on the scores and descriptions of eight paintings."""
    folder = tmp_path_factory.mktemp("trained")
    chosen = samples(folder / "images", ["score", "describe"] * 4)
    trainer = tiny_trainer(folder, chosen, batch=8, optim="adamw_torch", learning_rate=1e-2, max_steps=40, seed=0)
    trainer.train()
    trainer.save_model(str(folder / "checkpoint"))
    return folder / "checkpoint"


def scored(checkpoint: Checkpoint) -> list:
    return ArtQuantScorer(checkpoint, level_mass=True).score(pictures(8))


def through_a_server(checkpoint: Checkpoint) -> list:
    """What a server that lists 20 tokens gives for eight images."""
    with LogprobServer(checkpoint_answer(checkpoint.model, checkpoint.processor, limit=20)) as server:
        return list(EndpointEngine(server.url, "m", checkpoint.spec).results(map(encoded, pictures(8))))


def test_raised_words_are_scored_through_a_server_as_the_checkpoint_scores_before_and_after(trained, tmp_path):
    checkpoint = load_checkpoint(str(trained))
    checkpoint.model.requires_grad_(True)
    before, rows = scored(checkpoint), checkpoint.model.lm_head.weight.detach().clone()
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    change = raise_level_mass(
        checkpoint.model, prompter, mixed(tmp_path, "score"), mixed(tmp_path, "describe"), wanted=0.95
    )
    assert change.reason is None
    assert change.before < 0.5
    assert change.after >= 0.95
    added = checkpoint.model.lm_head.weight.detach() - rows
    changed = added.abs().amax(dim=1).nonzero().flatten().tolist()
    assert sorted(changed) == sorted(prompter.level_ids)
    torch.testing.assert_close(added[list(prompter.level_ids)], added[[prompter.level_ids[0]] * 5], atol=1e-5, rtol=0)
    save_checkpoint(tmp_path / "raised", checkpoint.model, checkpoint.processor, checkpoint.spec)

    again = load_checkpoint(str(tmp_path / "raised"))
    after, found = scored(again), through_a_server(again)
    assert len({round(score.score, 3) for score in before}) > 1
    for old, new, result in zip(before, after, found, strict=True):
        assert new.score == pytest.approx(old.score, abs=1e-4)
        assert new.level_mass >= 0.9
        assert result["extras"]["level_mass"] >= 0.9
        assert abs(result["score"] - new.score) <= result["extras"]["score_bound"] + 1e-4


def test_as_the_papers_loss_leaves_them_a_server_shows_little_of_the_words(trained):
    checkpoint = load_checkpoint(str(trained))
    assert max(score.level_mass for score in scored(checkpoint)) < 0.5
    for result in through_a_server(checkpoint):
        refused = isinstance(result, ArtQuantError)
        assert "the level words have a probability" in str(result) if refused else result["extras"]["score_bound"] > 0


def test_descriptions_stay_as_likely_as_they_can(trained, tmp_path):
    """The vector is turned away from where descriptions are written; without them it is not."""
    found = []
    for descriptions in (None, mixed(tmp_path, "describe")):
        checkpoint = load_checkpoint(str(trained))
        checkpoint.model.requires_grad_(True)
        prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
        change = raise_level_mass(checkpoint.model, prompter, mixed(tmp_path, "score"), descriptions, wanted=0.95)
        assert change.after >= 0.95
        trainer = tiny_trainer(tmp_path, samples(tmp_path / "again", ["describe"] * 8), batch=8)
        batch = trainer.data_collator(trainer.train_dataset.__getitems__(range(8)))
        outputs = trainer.forward_parts(checkpoint.model, batch["parts"])
        counts = torch.ones(4)
        terms = trainer.loss_terms(batch["parts"], [output.logits for output in outputs], counts)
        found.append(terms.ce_description.item())
    assert found[1] < found[0]


def raised(folder: Path, change, spec: PromptSpec | None = None, wanted: float = 0.95):
    """What becomes of a model of random weights that `change` has changed."""
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    model = change(model) or model
    prompter = Prompter(processor, spec or PromptSpec(), LevelScale())
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    found = raise_level_mass(model, prompter, mixed(folder, "score"), None, wanted=wanted)
    same = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return found, same


def tie(model):
    model.lm_head.weight = model.get_input_embeddings().weight


def adapt(model):
    return get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"]))


@pytest.mark.parametrize(
    ("change", "question", "wanted", "reason"),
    [
        (lambda model: model.lm_head.requires_grad_(False) and None, "How good?", 0.95, "output head is not trained"),
        (adapt, "How good?", 0.95, "its output head is adapted or quantised"),
        (tie, "Is it good or bad?", 0.95, "its output head is its embedding, and the question holds a level word"),
        (lambda model: None, "How good?", 1e-9, "the level words have it already"),
    ],
)
def test_weights_stay_where_the_words_cannot_be_raised(change, question, wanted, reason, tmp_path):
    found, same = raised(tmp_path, change, PromptSpec(question=question), wanted)
    assert reason in found.reason
    assert found.before == found.after
    assert "not raised, as " in found.line and reason in found.line
    assert same


def test_a_head_that_is_the_embedding_is_raised_where_the_prompt_holds_no_level_word(tmp_path):
    found, same = raised(tmp_path, tie)
    assert (found.reason, same) == (None, False)
    assert found.after >= 0.95


def test_images_that_cannot_be_read_are_passed_over(tmp_path):
    chosen = mixed(tmp_path, "score")
    for path in sorted((tmp_path / "score").glob("*.png"))[:7]:
        path.write_text("<html>")
    model, processor = build_tiny_model(SIZES, tiny_texts(), seed=0)
    prompter = Prompter(processor, PromptSpec(), LevelScale())
    assert raise_level_mass(model, prompter, chosen, None, wanted=0.95).after >= 0.95
    for path in (tmp_path / "score").glob("*.png"):
        path.write_text("<html>")
    nothing = raise_level_mass(model, prompter, chosen, None, wanted=0.95)
    assert (nothing.before, nothing.line) == (
        None,
        "level words: not raised, as no image of a score sample could be read",
    )
