"""The level words' probability: raised without a change of scores, and then enough for a server to list the words."""

from pathlib import Path

import datasets
import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from artquant_plugin.bulk.endpoint import EndpointEngine
from artquant_plugin.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import Prompter, PromptSpec
from artquant_plugin.publish.merge import merge_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.data import MixedSamples
from artquant_plugin.train.level_mass import raise_after_training, raise_level_mass
from artquant_plugin.train.output_head import add_to_rows
from artquant_plugin.train.parts import choose_trained
from artquant_plugin.train.sections import LoraSection, LossSection, PartSection, TrainedSection
from artquant_plugin.train.tiny import build_tiny_model
from tests.bulk.test_inputs import encoded
from tests.peers.logprob_server import LogprobServer, checkpoint_answer
from tests.tiny import SIZES, pictures, tiny_texts
from tests.train.trainers import pairs, samples, tiny_trainer


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


def adapt(model, **options):
    return get_peft_model(model, LoraConfig(**{"r": 2, "target_modules": ["q_proj"]} | options))


@pytest.mark.parametrize(
    ("change", "question", "wanted", "reason"),
    [
        (
            lambda model: adapt(model, target_modules=["lm_head"]),
            "How good?",
            0.95,
            "its output head is adapted or quantised",
        ),
        (
            lambda model: get_peft_model(model, IA3Config(target_modules=["q_proj"], feedforward_modules=[])),
            "How good?",
            0.95,
            "its output head is not trained, and an adapter of kind IA3 holds no rows of it",
        ),
        (
            lambda model: adapt(model, layers_to_transform=[0], layers_pattern="layers"),
            "How good?",
            0.95,
            "its output head is not trained, and the adapter's configuration leaves modules out",
        ),
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


def test_a_frozen_head_is_raised_where_it_is_saved_with_the_whole_model(trained, tmp_path):
    checkpoint = load_checkpoint(str(trained))
    checkpoint.model.lm_head.requires_grad_(False)
    before = scored(checkpoint)
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    assert raise_level_mass(checkpoint.model, prompter, mixed(tmp_path, "score"), None, wanted=0.95).reason is None
    save_checkpoint(tmp_path / "raised", checkpoint.model, checkpoint.processor, checkpoint.spec)
    raised_and_unchanged(scored(load_checkpoint(str(tmp_path / "raised"))), before)


def raised_and_unchanged(after: list, before: list) -> None:
    for new, old in zip(after, before, strict=True):
        assert new.score == pytest.approx(old.score, abs=1e-4)
        assert old.level_mass < 0.5 < 0.9 <= new.level_mass


TRAINED = TrainedSection(
    language=PartSection(method="lora"), vision=PartSection(method="frozen"), lora=LoraSection(rank=2, alpha=4)
)


@pytest.fixture(scope="module")
def tied(trained, tmp_path_factory) -> Path:
    """The trained checkpoint with its embedding in the place of the output head, as small language models have it."""
    checkpoint = load_checkpoint(str(trained))
    tie(checkpoint.model)
    for config in (checkpoint.model.config, checkpoint.model.config.text_config):
        config.tie_word_embeddings = True
    folder = tmp_path_factory.mktemp("tied")
    save_checkpoint(folder, checkpoint.model, checkpoint.processor, checkpoint.spec)
    return folder


def raised_adapter(base: Path, folder: Path) -> tuple[PeftModel, list]:
    """An adapter of rank 2 on the language model, raised and saved, and the scores that it gave before."""
    checkpoint = load_checkpoint(str(base))
    model = choose_trained(checkpoint.model, TRAINED)
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(value, std=0.02)
    before = scored(Checkpoint(model.eval(), checkpoint.processor, checkpoint.spec, name="adapted"))
    embedding = model.get_base_model().get_input_embeddings().weight.detach().clone()
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    change = raise_level_mass(model, prompter, mixed(folder, "score"), mixed(folder, "describe"), wanted=0.95)
    assert change.reason is None and change.after >= 0.95
    assert {name for name, value in model.named_parameters() if value.requires_grad} == trained
    assert torch.equal(model.get_base_model().get_input_embeddings().weight, embedding)
    save_checkpoint(folder / "raised", model, checkpoint.processor, checkpoint.spec)
    return model, before


@pytest.mark.parametrize("base", ["trained", "tied"])
def test_an_adapter_carries_the_vector_as_a_matrix_of_rank_1(base, request, tmp_path):
    """Our loader, peft alone and the merged model have the same scores and the same mass."""
    model, before = raised_adapter(request.getfixturevalue(base), tmp_path)
    folder = tmp_path / "raised"
    kept = load_file(folder / "adapter_model.safetensors")
    head = {name: value for name, value in kept.items() if "lm_head" in name}
    assert sorted(value.shape[0 if "lora_A" in name else 1] for name, value in head.items()) == [1, 1]
    assert "lm_head.weight" not in load_file(folder / "extra_weights.safetensors")

    again = load_checkpoint(str(folder))
    raised_and_unchanged(scored(again), before)
    merge_checkpoint(folder, tmp_path / "merged")
    merged = load_checkpoint(str(tmp_path / "merged"))
    raised_and_unchanged(scored(merged), before)
    plain = model.get_base_model().get_input_embeddings().weight
    torch.testing.assert_close(merged.model.get_input_embeddings().weight, plain)


def test_training_goes_on_from_a_raised_adapter(trained, tmp_path):
    """The vector stays as it is while the adapter is trained, and is moved where a later training lowers the mass."""
    raised_adapter(trained, tmp_path)
    checkpoint = load_checkpoint(str(tmp_path / "raised"))
    model = choose_trained(checkpoint.model, TRAINED)
    head = model.get_base_model().lm_head
    trained_names = {name for name, value in model.named_parameters() if value.requires_grad}
    assert not any("lm_head" in name for name in trained_names)
    assert any("q_proj.lora_A" in name for name in trained_names)
    with torch.no_grad():
        head.lora_A["default"].weight.mul_(0.5)
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    before = scored(checkpoint)
    change = raise_level_mass(model, prompter, mixed(tmp_path, "score"), mixed(tmp_path, "describe"), wanted=0.95)
    assert change.reason is None and change.before < 0.9 < 0.95 <= change.after
    for new, old in zip(scored(checkpoint), before, strict=True):
        assert new.score == pytest.approx(old.score, abs=1e-4)


def test_scores_in_bfloat16_do_not_round_with_the_vector(trained, tmp_path):
    """Half of the paper's recipe: frozen weights in bfloat16, whose logits alone would move scores by hundredths."""
    checkpoint = load_checkpoint(str(trained), dtype="bfloat16")
    model = choose_trained(checkpoint.model, TRAINED).to(torch.bfloat16)
    checkpoint = Checkpoint(model.eval(), checkpoint.processor, checkpoint.spec, name="adapted")
    before = scored(checkpoint)
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    assert raise_level_mass(model, prompter, mixed(tmp_path, "score"), None, wanted=0.95).reason is None
    raised_and_unchanged(scored(checkpoint), before)


@pytest.mark.parametrize("targets", [["q_proj"], r".*\.q_proj"])
def test_what_was_added_is_taken_away_again(targets):
    model, _ = build_tiny_model(SIZES, tiny_texts(), seed=0)
    wrapped = adapt(model, target_modules=targets)
    before = {name: value.detach().clone() for name, value in wrapped.state_dict().items()}
    config = wrapped.peft_config["default"].to_dict()
    undo = add_to_rows(wrapped, [3, 5], torch.ones(SIZES.hidden))
    hidden = torch.rand(2, SIZES.hidden)
    added = model.lm_head(hidden) - model.lm_head.base_layer(hidden)
    expected = torch.zeros(2, model.config.get_text_config().vocab_size)
    expected[:, [3, 5]] = hidden.sum(dim=1, keepdim=True).expand(2, 2)
    torch.testing.assert_close(added, expected)
    undo()
    assert wrapped.peft_config["default"].to_dict() == config
    assert wrapped.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in wrapped.state_dict().items())


@pytest.mark.parametrize("kind", ["samples", "stream"])
def test_a_trainers_model_is_raised_with_its_own_samples(kind, tmp_path):
    given = pairs(tmp_path / "images", 8) if kind == "samples" else stream()
    trainer = tiny_trainer(tmp_path, given, batch=4, max_steps=2)
    trainer.train()
    checkpoint = Checkpoint(trainer.model, trainer.processing_class, trainer.spec, name="trained")
    before = scored(checkpoint)
    change = raise_after_training(trainer)
    assert change.reason is None and change.after >= 0.95
    raised_and_unchanged(scored(checkpoint), before)


def test_a_trainers_model_stays_where_the_loss_asks_for_no_mass(tmp_path):
    chosen = samples(tmp_path / "images", ["score"] * 4)
    trainer = tiny_trainer(tmp_path, chosen, batch=4, loss=LossSection(level_mass=0))
    assert "loss.level_mass is 0" in raise_after_training(trainer).line


def stream() -> datasets.IterableDataset:
    """Eight paintings with scores and descriptions."""
    rows = [
        {"image": picture, "score": 1.5 + number, "description": "warm reds"}
        for number, picture in enumerate(pictures(8))
    ]
    return datasets.Dataset.from_list(rows).to_iterable_dataset()
