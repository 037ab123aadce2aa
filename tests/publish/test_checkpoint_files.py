"""What of a checkpoint is published, and what is refused."""

import json
import os
import re

import pytest
import yaml
from safetensors.torch import load_file, save_file

from tests.publish.conftest import TOKEN

TRAINED = {
    "config": {
        "output": "/home/ann/runs/baid",
        "data": [{"name": "/home/ann/data/own", "weight": 1.0}, {"name": "baid", "weight": 0.5}],
        "model": {"pretrained": None, "tiny": {"hidden": 32}},
        "trained": {
            "language": {"method": "lora"},
            "vision": {"method": "full"},
            "projector": {"method": "full"},
            "lora": {"targets": "original", "rank": 4, "alpha": 8, "dropout": 0.05},
        },
        "stages": [{"name": "mat", "samples": ["describe", "score"], "epochs": 2.0}],
        "loss": {"k": 1.0, "k_asl": 1.0, "softmax": "levels"},
        "levels": {"method": "sbde"},
        "train": {
            "learning_rate": 2e-5,
            "lr_scheduler_type": "cosine",
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 2,
        },
        "seed": 3,
    },
    "data": {"own": {}, "baid": {}},
    "trained": {"vision": {"trained": 1000, "all": 1000}},
    "skipped": {"own/7": "image '/home/ann/my pictures/7.jpg' is broken (x); fetch it again"},
    "evaluate": "lmms-eval --model artquant --model_args pretrained=/home/ann/runs/baid --tasks baid",
    "versions": {"torch": "2.15"},
}


def test_a_whole_model_is_published_once(desk):
    out = desk.done("base", "me/whole", "--license", "mit", "--revision", "v1")
    files = desk.files("me/whole")
    assert {"model.safetensors", "config.json", "artquant.json", "tokenizer.json", "README.md"} <= set(files)
    assert "10 of 10 files to upload" in out and ", tag v1: " in out
    assert files["model.safetensors"] == (desk.root / "base" / "model.safetensors").read_bytes()
    assert desk.repo("me/whole")["refs"]["v1"] == desk.repo("me/whole")["refs"]["main"]
    commits, before = desk.commits("me/whole"), len(desk.hub.requests)
    again = desk.done("base", "me/whole", "--license", "mit", "--revision", "v1")
    assert "nothing to do, commit" in again
    assert desk.commits("me/whole") == commits == 2  # the Hub's own first one, and ours
    assert not [request for request in desk.hub.requests[before:] if request[0] not in ("GET", "HEAD")]


def test_only_what_changed_is_sent(desk, copy):
    folder = copy("base")
    desk.done(folder, "me/changing", "--license", "mit")
    weights = load_file(folder / "model.safetensors")
    weights["multi_modal_projector.linear_1.bias"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    out = desk.done(folder, "me/changing", "--license", "mit")
    assert "2 of 10 files to upload" in out  # the weights, and the list of hashes
    assert desk.commits("me/changing") == 3


def test_an_adapter_names_its_base_on_the_hub_by_commit(desk):
    desk.done(desk.folders["extra"], "me/extra", "--base", "me/base")
    files = desk.files("me/extra")
    config = json.loads(files["adapter_config.json"])
    assert config["base_model_name_or_path"] == "me/base"
    assert config["revision"] == desk.repo("me/base")["refs"]["main"]
    assert "extra_weights.safetensors" in files and "config.json" not in files
    card = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert card["base_model"] == "me/base" and card["license"] == "apache-2.0"  # the base's own


def test_a_base_that_is_a_folder_is_refused_with_two_ways_out(desk):
    error = desk.publish("adapter", "me/x").error
    assert "a folder of this machine that nobody else has; publish it and pass --base ID[@REVISION], or" in error


def test_a_base_with_other_weights_is_refused(desk, copy):
    other = copy("base")
    weights = load_file(other / "model.safetensors")
    weights["multi_modal_projector.linear_1.bias"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    desk.done(other, "me/other-base", "--license", "mit")
    for options in ((), ("--merge",)):
        assert "has other weights than" in desk.publish("adapter", "me/x", "--base", "me/other-base", *options).error
    assert (
        "the Hub has no model 'me/none' that you may see" in desk.publish("adapter", "me/x", "--base", "me/none").error
    )
    assert "(404)" in desk.publish("adapter", "me/x", "--base", "me/base@v9").error


def test_a_license_must_be_known(desk):
    error = desk.publish("base", "me/x").error
    assert error == (
        "the license of 'base' is not known; pass --license with its id, such as apache-2.0, or --license other with "
        "--license-name"
    )
    options = ("--license-name", "own")
    assert "describe --license other; pass it, or leave them out" in desk.publish("base", "me/x", *options).error
    desk.done("base", "me/own", "--license", "other", "--license-name", "own", "--license-link", "https://x.org")
    card = yaml.safe_load(desk.files("me/own")["README.md"].decode().split("---")[1])
    assert (card["license"], card["license_name"], card["license_link"]) == ("other", "own", "https://x.org")


STRANGERS = ["optimizer.pt", "pytorch_model.bin", ".env", "rng_state.pth", "notes.txt", "modeling_own.py", "a/b.json"]


@pytest.mark.parametrize("name", STRANGERS)
def test_what_does_not_belong_is_refused_by_name(name, desk, copy):
    folder = copy("base")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("secret")
    error = desk.publish(folder, "me/refused", "--license", "mit").error
    assert f"holds {name.split('/')[0]}" in error and "not belong to a checkpoint" in error
    assert not desk.hub.store.path("models", "me/refused").exists()


def test_a_link_out_of_the_folder_is_refused(desk, copy, tmp_path):
    folder = copy("base")
    (tmp_path / "secret.json").write_text("{}")
    (folder / "vocab.json").symlink_to(tmp_path / "secret.json")
    assert "vocab.json (a link out of the folder)" in desk.publish(folder, "me/x", "--license", "mit").error
    (folder / "vocab.json").unlink()
    (folder / "stages").symlink_to(tmp_path)
    assert "stages (a link out of the folder)" in desk.publish(folder, "me/x", "--license", "mit").error


def test_a_run_that_is_not_through_is_refused(desk, copy):
    folder = copy("base")
    (folder / "stages" / "mat").mkdir(parents=True)
    (folder / "stages" / "config.yaml").write_text("seed: 0")
    assert "holds stages/, which does not belong to a checkpoint" in desk.publish(folder, "me/x").error


def test_results_and_logs_beside_a_checkpoint_stay_here(desk, copy):
    folder = copy("base")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_text("log")
    (folder / "README.md").write_text("mine")
    desk.done(folder, "me/beside", "--license", "mit")
    files = desk.files("me/beside")
    assert "tensorboard/events" not in files and files["README.md"] != b"mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors; save the checkpoint as"),
        (lambda folder: os.truncate(folder / "model.safetensors", 1000), "model.safetensors' cannot be read"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json and no adapter_config.json"),
        (lambda folder: (folder / "artquant.json").write_text("{"), "artquant.json is not JSON"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "training.json").write_text("[]"), "is no record of a training"),
        (lambda folder: (folder / "processor_config.json").unlink(), "no whole processor|cannot be loaded"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter and a model of its own"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(change, message, desk, copy):
    folder = copy("base")
    change(folder)
    assert re.search(message, desk.publish(folder, "me/refused", "--license", "mit").error)
    assert not desk.hub.store.path("models", "me/refused").exists()


def test_records_are_published_without_places_of_this_machine(desk, copy):
    folder = copy("base")
    (folder / "training.json").write_text(json.dumps(TRAINED))
    (folder / "config.train.yaml").write_text(yaml.safe_dump(TRAINED["config"]))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"name_or_path": "/home/ann/models/base"}))
    desk.done(folder, "me/records", "--license", "mit")
    files = desk.files("me/records")
    assert not [name for name, content in files.items() if b"/home" in content or b"ann/" in content]
    record = json.loads(files["training.json"])
    assert record["config"]["output"] == "baid"
    assert record["skipped"] == {"own/7": "image '7.jpg' is broken (x); fetch it again"}
    assert record["evaluate"] == "lmms-eval --model artquant --model_args pretrained=baid --tasks baid"
    assert yaml.safe_load(files["config.train.yaml"])["data"][0] == {"name": "own", "weight": 1.0}
    assert json.loads(files["tokenizer_config.json"]) == tokenizer | {"name_or_path": "base"}
    card = files["README.md"].decode()
    assert "| trained weights | language lora, vision full (1,000 of 1,000), projector full |" in card
    assert "| LoRA | original, rank 4, alpha 8, dropout 0.05 |" in card
    assert "- Terms of the data, which forbid commercial use: BAID: CC BY-NC-ND 4.0." in card
    assert yaml.safe_load(card.split("---")[1])["datasets"] == ["baid"]


def test_secrets_under_the_names_of_settings_are_not_published(desk, copy):
    folder = copy("base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auth_token": "first-secret"}))
    (folder / "config.train.yaml").write_text(yaml.safe_dump({"train": {"hub_token": "second-secret", "seed": 1}}))
    desk.done(folder, "me/silent", "--license", "mit")
    files = desk.files("me/silent")
    assert not [name for name, content in files.items() if b"first-secret" in content or b"second-secret" in content]
    assert yaml.safe_load(files["config.train.yaml"]) == {"train": {"hub_token": "***", "seed": 1}}


def test_a_home_that_is_left_in_a_text_stops_the_upload(desk, copy):
    folder = copy("base")
    (folder / "generation_config.json").write_text('{"x": "/home/ann/x"}')
    error = desk.publish(folder, "me/x", "--license", "mit").error
    assert error.startswith("generation_config.json names '/home/ann', a folder of this machine")


def test_a_dry_run_lists_sizes_and_writes_nothing(desk):
    before = len(desk.hub.requests)
    out = desk.done("base", "me/dry", "--license", "mit", "--dry-run", "--private")
    size = (desk.root / "base" / "model.safetensors").stat().st_size
    assert f"+ {size / 1024:5.1f} KiB  model.safetensors" in out
    assert out.endswith("nothing was written; model me/dry would be made, private\n")
    assert not [request for request in desk.hub.requests[before:] if request[0] not in ("GET", "HEAD")]
    assert not desk.hub.store.path("models", "me/dry").exists()
    assert "model me/base exists" in desk.done("base", "me/base", "--license", "apache-2.0", "--dry-run")


def test_a_dry_run_sees_that_the_namespace_is_somebody_elses(desk):
    error = desk.publish("base", "you/dry", "--license", "mit", "--dry-run").error
    assert error.startswith("you may not write to model 'you/dry': the token is that of me; name a repository of your")


def test_merged_and_adapter_replace_each_other(desk):
    """Files of an earlier publication go, since an adapter's configuration may not lie beside a whole model."""
    desk.done(desk.folders["extra"], "me/both", "--base", "me/base")
    desk.put("me/both", {"notes.md": b"of somebody"})
    out = desk.done(desk.folders["extra"], "me/both", "--base", "me/base", "--merge")
    assert "-            adapter_config.json" in out and "1 files of others stay: notes.md" in out
    files = desk.files("me/both")
    assert "model.safetensors" in files and "notes.md" in files
    assert not {"adapter_config.json", "adapter_model.safetensors", "extra_weights.safetensors"} & set(files)


def test_merging_needs_an_adapter(desk):
    assert (
        "is a whole model, with no adapter to merge; leave --merge out"
        in desk.publish("base", "me/x", "--merge", "--license", "mit").error
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("none", "--repo", "me/x"), "'none' is no folder; name the one that training wrote"),
        (("runs/none", "--repo", "me/x", "--merge"), "'runs/none' is no folder; name the one that training wrote"),
        (("adapter", "--repo", "me/x", "--merge"), "the license of 'adapter' is not known; pass --license"),
        (("base", "--repo", "x"), "--repo 'x' has no namespace; use NAMESPACE/NAME"),
        (("base", "--repo", "me/x y"), "--repo 'me/x y' is no repository id"),
        (("base", "--repo", "me/x", "--revision", "a b"), "--revision 'a b' is no name of a tag"),
        (("base", "--repo", "me/x", "--revision", "v1..2"), "--revision 'v1..2' is no name of a tag"),
        (("base", "--repo", "me/x", "--revision", "v1.lock"), "--revision 'v1.lock' is no name of a tag"),
        (("base", "--repo", "me/x", "--revision", "main"), "--revision 'main' is no name of a tag"),
        (("base", "--repo", "me/x", "--license", "mit", "--results", "none"), "'none' does not exist; name the"),
    ],
)
def test_wrong_usage_is_one_line(options, message, desk):
    assert message in desk.client.run("publish", "model", *options).error


def test_an_unknown_option_is_one_line(desk):
    outcome = desk.publish("base", "me/x", "--token", TOKEN)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "unrecognized arguments: --token" in outcome.err


def test_nothing_shows_or_keeps_the_token(desk):
    desk.done("base", "me/secret", "--license", "mit")
    contents = [path.read_bytes() for path in desk.root.rglob("*") if path.is_file()]
    assert contents and not [content for content in contents if TOKEN.encode() in content]
