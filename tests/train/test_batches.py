"""The trainer's loss of whole batches: against the released code, cut into micro-batches, with shared images."""

import json
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from pydantic import ValidationError
from torch.nn import functional

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.train.collate import count_terms
from artquant_plugin.train.config import TrainSection
from artquant_plugin.train.data import Sample
from artquant_plugin.train.losses import moments, pair_fidelity
from artquant_plugin.train.order import PaintingOrder
from artquant_plugin.train.sections import LossSection
from tests.backbones.mplug_owl2.parity import case
from tests.paths import shared
from tests.train.trainers import Gradients, pairs, recorded_part, recorded_trainer, samples, tiny_trainer

RELEASED = LossSection.model_validate({"preset": "released"})


def as_batch(*parts):
    return {"parts": list(parts), "paintings": ["a"]}


def test_the_released_preset_gives_the_released_code_s_losses_and_gradients(tmp_path):
    recorded = case("B")
    trainer = recorded_trainer(tmp_path, recorded, RELEASED)
    batch = as_batch(recorded_part(recorded, [0, 2]), recorded_part(recorded, [1, 3]))
    outputs = trainer.forward_parts(trainer.model, batch["parts"])
    parts = trainer.loss_terms(batch["parts"], [output.logits for output in outputs], count_terms(batch))
    wanted = recorded.expected["losses_train_sh"]
    assert parts.ce_description.item() == pytest.approx(wanted["description_ce"], rel=1e-5)
    assert parts.ce_answer.item() == pytest.approx(wanted["score_ce"], rel=1e-5)
    assert parts.kl.item() == pytest.approx(wanted["kl"], rel=1e-5)

    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(wanted["total"], rel=1e-5)
    loss.backward()
    rounding = 1e-8 * recorded.expected["grad_norm_total"]  # of the keys' biases, whose gradient is zero
    for name, value in trainer.model.named_parameters():
        norm = 0.0 if value.grad is None else value.grad.norm().item()
        assert norm == pytest.approx(recorded.expected["grad_norms"][name], rel=1e-4, abs=rounding), name


def test_the_paper_s_loss_differs_from_the_released_code_s_as_it_says(tmp_path):
    """Softmax over the five levels, by hand from the recorded logits; k_ASL = 1."""
    recorded = case("B")
    logits, expected = recorded.io["train.score_logits"], recorded.expected
    at = expected["losses_train_sh"]["idx_level_logit"]
    predicted = torch.stack([logits[row, place, expected["level_ids"]] for row, place in enumerate(at)])
    targets = recorded.io["train.level_probs"][[0, 2]]
    kl = functional.kl_div(predicted.log_softmax(-1), targets, reduction="batchmean").item()
    wanted = expected["losses_train_sh"]["description_ce"] + expected["losses_train_sh"]["score_ce"] + kl
    trainer = recorded_trainer(tmp_path, recorded, LossSection(preset="paper"))
    batch = as_batch(recorded_part(recorded, [0, 2]), recorded_part(recorded, [1, 3]))
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(wanted, rel=1e-5)

    # With a weight of its own, -log of what the levels have together among all tokens is added.
    whole = torch.stack([logits[row, place] for row, place in enumerate(at)])
    mass = whole.softmax(-1)[:, expected["level_ids"]].sum(-1)
    trainer = recorded_trainer(tmp_path, recorded, LossSection(preset="paper", k_mass=0.3))
    loss = trainer.compute_loss(trainer.model, batch).item()
    assert loss == pytest.approx(wanted - 0.3 * mass.log().mean().item(), rel=1e-5)
    outputs = trainer.forward_parts(trainer.model, batch["parts"])
    parts = trainer.loss_terms(batch["parts"], [output.logits for output in outputs], count_terms(batch))
    assert parts.level_mass.item() == pytest.approx(mass.mean().item(), rel=1e-5)


DEQA = {"ArtQuant": (10.0, 7.5, 5.0, 3.5, 1.0), "DeQA": (5.0, 4.0, 3.0, 2.0, 1.0)}


@pytest.mark.parametrize("code", DEQA)
@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("fixed", [True, False])
def test_the_ranking_loss_is_deqa_s(tmp_path, code, continuous, fixed):
    """Two samples, compared both ways; each way has the same loss, and adds 0.05 of both samples' own."""
    recorded = case("B")
    found = json.loads(shared(f"parity/deqa/pair_loss_{code}.json").read_text())
    wanted = found[f"continuous={continuous},fix_std={fixed}"]
    values = torch.tensor(DEQA[code])
    trainer = recorded_trainer(tmp_path, recorded, RELEASED)
    part = recorded_part(recorded, [0, 2])
    (output,) = trainer.forward_parts(trainer.model, [part])
    own = trainer.loss_terms([part], [output.logits], count_terms(as_batch(part)))
    levels = output.logits[part["is_level"]][:, trainer.level_ids]
    scores, variances = moments(levels.softmax(-1), values)
    ranking = pair_fidelity(
        scores,
        torch.tensor([6.37, 8.1]),
        variances=variances if continuous and not fixed else None,
        true_variances=torch.tensor([1.2, 0.8]) ** 2 if continuous else None,
    )
    loss = ranking + 0.05 * 2 * (own.ce_answer + own.kl)
    assert loss.item() == pytest.approx(wanted["total"], rel=1e-5)
    loss.backward()
    model = trainer.model
    assert model.lm_head.weight.grad.norm().item() == pytest.approx(wanted["lm_head_grad_norm"], rel=1e-4)
    patches = model.model.vision_model.embeddings.patch_embed.weight.grad
    assert patches.norm().item() == pytest.approx(wanted["patch_embed_grad_norm"], rel=1e-4)


def test_binary_ranking_in_training_is_deqa_s(tmp_path):
    recorded = case("B")
    found = json.loads(shared("parity/deqa/pair_loss_ArtQuant.json").read_text())
    loss = LossSection(k_asl=0.1, softmax="vocabulary", k_ranking=1, ranking="binary")
    trainer = recorded_trainer(tmp_path, recorded, loss)
    value = trainer.compute_loss(trainer.model, as_batch(recorded_part(recorded, [0, 2])))
    assert value.item() == pytest.approx(found["continuous=False,fix_std=True"]["total"], rel=1e-5)


@pytest.mark.parametrize("kinds", [["score"], ["describe"], ["score", "describe"]])
@pytest.mark.parametrize("loss", [LossSection(k_ranking=1), RELEASED])
def test_no_batch_gives_nan(tmp_path, kinds, loss):
    trainer = tiny_trainer(tmp_path, samples(tmp_path, kinds), batch=len(kinds), loss=loss)
    batch = next(iter(trainer.get_train_dataloader()))
    value = trainer.compute_loss(trainer.model, batch)
    value.backward()
    assert value.item() > 0
    assert all(p.grad.isfinite().all() for p in trainer.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kinds", ["score", "describe"])
def test_an_empty_label_row_changes_nothing_and_gives_no_nan(tmp_path, kinds):
    recorded = case("B")
    trainer = recorded_trainer(tmp_path, recorded, RELEASED)
    rows = [0, 2] if kinds == "score" else [1, 3]
    alone = trainer.compute_loss(trainer.model, as_batch(recorded_part(recorded, rows[:1])))
    part = recorded_part(recorded, rows)
    first = int(part["supervised"][0].sum())
    part["supervised"][1] = False
    for name in ("next_ids", "is_level", "is_description"):
        part[name] = part[name][:first]
    part["level_targets"] = part["level_targets"][:1]
    assert trainer.compute_loss(trainer.model, as_batch(part)).item() == pytest.approx(alone.item(), rel=1e-5)
    part["supervised"][0] = False
    for name in ("next_ids", "is_level", "is_description", "level_targets"):
        part[name] = part[name][:0]
    nothing = trainer.compute_loss(trainer.model, as_batch(part))
    nothing.backward()
    assert nothing.item() == 0
    assert all((p.grad == 0).all() for p in trainer.model.parameters() if p.grad is not None)


KINDS = ["score", "describe", "describe", "describe", "describe", "score", "describe", "score"]


def step(folder, batch, accumulation, **options):
    gradients = Gradients()
    trainer = tiny_trainer(
        folder,
        samples(folder, KINDS),
        batch=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,
        callbacks=[gradients],
        **options,
    )
    trainer.train()
    assert trainer.state.global_step == 1
    return gradients.steps[0], trainer.state.log_history[0]


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 2), (2, 4), (3, 3)])
def test_micro_batches_give_the_gradients_of_the_large_batch(tmp_path, batch, accumulation):
    whole, line = step(tmp_path, 8, 1)
    cut, cut_line = step(tmp_path, batch, accumulation)  # 3 + 3 + 2: micro-batches of different sizes
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-5, atol=1e-6, msg=name)
    for name in ("loss", "ce_description", "ce_answer", "kl", "ce_mass", "level_mass"):
        assert cut_line[name] == pytest.approx(line[name], rel=1e-5), name
    parts = line["ce_description"] + line["ce_answer"] + line["kl"] + LossSection().k_mass * line["ce_mass"]
    assert line["loss"] == pytest.approx(parts, rel=1e-4)


def test_a_batch_s_loss_is_that_of_its_samples_whatever_they_are_padded_to(tmp_path):
    """Parts of one sample each give what parts by kind give."""
    trainer = tiny_trainer(tmp_path, samples(tmp_path, KINDS), batch=8)
    collator, items = trainer.data_collator, trainer.train_dataset.__getitems__(range(8))
    together = trainer.compute_loss(trainer.model, collator(items))
    alone = as_batch(*[part for item in items for part in collator([item])["parts"]])
    assert trainer.compute_loss(trainer.model, alone).item() == pytest.approx(together.item(), rel=1e-6)


def test_shared_images_give_the_same_loss_and_gradients(tmp_path):
    chosen = pairs(tmp_path, 3)
    found = []
    for share in (False, True):
        trainer = tiny_trainer(tmp_path, chosen[:-1], batch=6, share_images=share)  # the last has a score alone
        encoded = []
        trainer.model.model.vision_tower.register_forward_hook(lambda _, args, __, seen=encoded: seen.append(args[0]))
        batch = trainer.data_collator(trainer.train_dataset.__getitems__(range(5)))
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in trainer.model.named_parameters()}))
        assert sum(len(images) for images in encoded) == (3 if share else 5)
    (loss, gradients), (shared_loss, shared_gradients) = found
    assert shared_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        if gradient is not None:
            torch.testing.assert_close(shared_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_images_of_mplug_owl2_give_the_same_loss_and_gradients(tmp_path, checkpointing):
    recorded = case("B")
    found = []
    for share in (False, True):
        trainer = recorded_trainer(tmp_path, recorded, RELEASED)
        if checkpointing:
            trainer.model.activation_checkpointing_enable()
        describes = recorded_part(recorded, [1, 3], image_rows=[0, 2])
        if share:
            del describes["inputs"]["pixel_values"]
            describes["reuses_images"] = True
        loss = trainer.compute_loss(trainer.model, as_batch(recorded_part(recorded, [0, 2]), describes))
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in trainer.model.named_parameters()}))
    (loss, gradients), (shared_loss, shared_gradients) = found
    assert shared_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        if gradient is not None:
            torch.testing.assert_close(shared_gradients[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


def test_a_model_that_takes_no_encoded_images_cannot_share_them(tmp_path, monkeypatch):
    monkeypatch.setattr("artquant_plugin.train.trainer.takes_encoded_images", lambda _: False)
    with pytest.raises(ArtQuantError, match="does not take images that are encoded already; set share_images=False"):
        tiny_trainer(tmp_path, pairs(tmp_path, 1), batch=2, share_images=True)


def test_every_pair_meets_in_a_batch(tmp_path):
    trainer = tiny_trainer(tmp_path, pairs(tmp_path, 6)[:-3], batch=4, share_images=True)
    batches = [batch["paintings"] for batch in trainer.get_train_dataloader()]
    assert sorted(map(len, batches)) == [1, 4, 4]
    for name in "012":
        (holder,) = [batch for batch in batches if name in batch]
        assert holder.count(name) == 2


def test_the_order_follows_from_seed_and_epoch_and_misses_nothing(tmp_path):
    made = [Sample(kind, str(i), tmp_path / str(i)) for i in range(20) for kind in ("score", "describe")][:-3]
    orders = []
    for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0)):
        order = PaintingOrder(made, seed)
        order.set_epoch(epoch)
        orders.append(list(order))
        assert sorted(orders[-1]) == list(range(len(made))) == list(range(len(order)))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]


def test_a_loss_that_is_not_finite_names_the_paintings(tmp_path):
    trainer = tiny_trainer(tmp_path, samples(tmp_path, ["score", "describe"]), batch=2)
    torch.nn.init.constant_(trainer.model.lm_head.weight, float("nan"))
    batch = trainer.data_collator(trainer.train_dataset.__getitems__([0, 1]))
    # A weight that is NaN before the first step was so in the checkpoint; later, training has made it so.
    with pytest.raises(ArtQuantError, match="at step 0 with 0, 1; .* numbers in its weight lm_head.weight are NaN"):
        trainer.compute_loss(trainer.model, batch)
    trainer.state.global_step = 3
    with pytest.raises(ArtQuantError, match="the loss became nan at step 3 with 0, 1; lower learning_rate"):
        trainer.compute_loss(trainer.model, batch)


def test_soft_labels_stay_float32_where_deepspeed_has_inputs_cast(tmp_path, monkeypatch):
    trainer = tiny_trainer(tmp_path, samples(tmp_path, ["score"]), batch=1)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer.is_deepspeed_enabled = True
    config = SimpleNamespace(dtype=lambda: torch.bfloat16)
    plugin = SimpleNamespace(selected=True, hf_ds_config=config)  # what of DeepSpeed decides
    monkeypatch.setattr(trainer.accelerator.state, "deepspeed_plugins", {"own": plugin}, raising=False)
    monkeypatch.setattr(trainer.accelerator.state, "distributed_type", DistributedType.DEEPSPEED)
    (part,) = trainer._prepare_inputs(batch)["parts"]
    assert part["inputs"]["pixel_values"].dtype == torch.bfloat16
    assert torch.equal(part["level_targets"], batch["parts"][0]["level_targets"])
    assert part["level_targets"].dtype == torch.float32


def test_presets_fill_what_is_not_given():
    assert (RELEASED.k, RELEASED.k_asl, RELEASED.softmax) == (1, 0.05, "vocabulary")
    given = LossSection.model_validate({"preset": "released", "k_asl": 0.5})
    assert (given.k_asl, given.softmax) == (0.5, "vocabulary")
    assert LossSection.model_validate(given.model_dump()) == given
    paper = LossSection.model_validate({"preset": "paper"})
    assert (paper.k, paper.k_asl, paper.softmax, paper.k_mass) == (1, 1, "levels", 0)
    assert LossSection() == LossSection.model_validate({"preset": "default"})
    assert LossSection(level_mass=0).model_dump(exclude={"preset"}) == paper.model_dump(exclude={"preset"})
    assert (LossSection().level_mass, RELEASED.level_mass) == (0.95, 0)
    with pytest.raises(ValidationError, match="k_mass is 0.5 with softmax vocabulary, which counts the level words'"):
        LossSection(softmax="vocabulary", k_mass=0.5)
    assert LevelScale().values == DEQA["ArtQuant"]
    for unknown in ("deqa", ["released"]):
        with pytest.raises(ValidationError, match="'paper' or 'released'"):
            LossSection.model_validate({"preset": unknown})


def test_an_odd_batch_cannot_hold_pairs():
    with pytest.raises(ValidationError, match="per_device_train_batch_size 3 is odd; share_images .* make it even"):
        TrainSection(share_images=True, per_device_train_batch_size=3)
