"""Reading, merging and converting checkpoints of the paper's code."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from artquant_plugin.backbones.mplug_owl2.layout import PUBLISHED_BASE, base_name, is_original
from artquant_plugin.backbones.mplug_owl2.original import read_original
from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint
from artquant_plugin.checkpoint.original import convert
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.mplug_owl2.original_folders import ALPHA, RANK, TARGETS, write_base, write_lora
from tests.backbones.mplug_owl2.parity import IMAGES
from tests.paths import shared
from tests.tiny import pictures

SCORED = ["rgb_300x200.png", "rgba_120x180.png", "gray_150x151.png"]


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


@pytest.fixture
def lora(tmp_path, base):
    return write_lora(tmp_path / "lora", base)


def test_a_recorded_base_model_is_scored_as_the_original_does(tmp_path):
    """Loaded as it is, and converted; expected scores as recorded (rounded to 1e-5)."""
    source = shared("parity/A_h8_v32000")
    convert(source, tmp_path / "converted")
    for folder in (source, tmp_path / "converted"):
        scorer = ArtQuantScorer.from_pretrained(str(folder), device="cpu", batch_size=2)
        found = [result.score for result in scorer.score([IMAGES / name for name in SCORED])]
        assert found == pytest.approx([4.32095, 4.28290, 4.80768], abs=1e-5)


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_recorded_lora_checkpoint_gives_the_recorded_results(stage, tmp_path):
    base, folder = shared("parity/A_h8_v32000"), shared(f"parity/C_lora_checkpoint/{stage}")
    convert(folder, tmp_path / "converted", base)
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    wanted = torch.tensor([list(row["logits"].values()) for row in rows]).double().softmax(-1)
    for pretrained, options in ((folder, {"base": str(base)}), (tmp_path / "converted", {})):
        checkpoint = load_checkpoint(str(pretrained), dtype="float32", **options)
        results = ArtQuantScorer(checkpoint).score([IMAGES / row["image"] for row in rows])
        found = torch.tensor([list(result.levels.values()) for result in results])
        assert (found - wanted).abs().max() <= 1e-6
        assert [result.score for result in results] == pytest.approx(
            (wanted @ torch.tensor([10, 7.5, 5, 3.5, 1.0]).double()).tolist(), abs=1e-5
        )


def test_merging_adds_the_scaled_product_in_float32(base, lora):
    before, after = read_original(base).weights, read_original(lora, base).weights
    adapter = torch.load(lora / "adapter_model.bin", weights_only=True)
    for target in TARGETS:
        down, up = (adapter[f"base_model.model.{target}.lora_{side}.weight"] for side in "AB")
        expected = before[f"{target}.weight"] + ALPHA / RANK * (up @ down)
        torch.testing.assert_close(after[f"{target}.weight"], expected)
    changed = {name for name, value in after.items() if not torch.equal(value.float(), before[name].float())}
    assert changed == {
        *(f"{target}.weight" for target in TARGETS),
        "model.vision_model.post_layernorm.bias",
        "model.visual_abstractor.vit_eos",
    }


def test_a_converted_checkpoint_stands_alone_and_gives_the_same_scores(base, lora, tmp_path):
    direct = ArtQuantScorer.from_pretrained(str(lora), device="cpu").score(pictures(3))
    assert main(["convert", str(lora), str(tmp_path / "out")]) == 0
    shutil.rmtree(lora)
    shutil.rmtree(base)
    scorer = ArtQuantScorer.from_pretrained(str(tmp_path / "out"), dtype="float32", device="cpu")
    assert scorer.score(pictures(3)) == direct
    assert len({result.score for result in direct}) == 3
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "artquant.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".py", ".model"))]
    assert ScoringSpec.load(tmp_path / "out").images == "as_stored"
    assert not ScoringSpec.load(tmp_path / "out").prompt.image_first


def test_conversion_rounds_nothing(base, lora, tmp_path):
    weights = load_file(base / "model.safetensors")
    halves = {name: value if "pos_embed" in name else value.half() for name, value in weights.items()}
    save_file(halves, base / "model.safetensors")
    original = convert(lora, tmp_path / "out", base)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in original.weights.items())
    assert stored["lm_head.weight"].dtype == torch.float16
    assert stored[f"{TARGETS[0]}.weight"].dtype == torch.float32
    # Stored as float16, computed as float32 where there is no GPU.
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"
    assert load_checkpoint(str(tmp_path / "out")).model.dtype == torch.float32


def test_transparent_and_rotated_images_are_seen_as_the_original_saw_them(base, tmp_path):
    image = pictures(1)[0]
    turned = image.getexif()
    turned[0x0112] = 6
    image.save(tmp_path / "rotated.png", exif=turned)
    clear = image.copy()
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    with Image.open(tmp_path / "rotated.png") as stored:
        assert stored.getexif()[0x0112] == 6
    scorer = ArtQuantScorer.from_pretrained(str(base), device="cpu")
    plain = scorer.score([image])
    assert scorer.score([tmp_path / "rotated.png"]) == plain
    assert scorer.score([tmp_path / "clear.png"]) == plain


def test_shards_are_read(base):
    weights = load_file(base / "model.safetensors")
    whole = read_original(base).weights
    names = sorted(weights)
    places = {}
    for index, part in enumerate((names[:40], names[40:])):
        torch.save({name: weights[name] for name in part}, base / f"pytorch_model-{index}.bin")
        places |= dict.fromkeys(part, f"pytorch_model-{index}.bin")
    (base / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (base / "model.safetensors").unlink()
    found = read_original(base).weights
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def test_the_base_is_found_by_the_name_in_the_adapter(base, lora):
    assert is_original(base)
    assert base_name(base) is None
    assert base_name(lora) == str(base)
    settings = json.loads((lora / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "/home/them/zoo/mplug-owl2-llama2-7b"
    (lora / "adapter_config.json").write_text(json.dumps(settings))
    assert base_name(lora) == PUBLISHED_BASE


class Trap:
    """Unpickled, it would run code."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


def spoil_pickle(base, lora):
    torch.save({"base_model.model.lm_head.weight": Trap()}, lora / "non_lora_trainables.bin")


def spoil_adapter_shape(base, lora):
    adapter = torch.load(lora / "adapter_model.bin", weights_only=True)
    adapter = {name: value[:, :8] if "lora_A" in name else value for name, value in adapter.items()}
    torch.save(adapter, lora / "adapter_model.bin")


def spoil_adapter_target(base, lora):
    adapter = torch.load(lora / "adapter_model.bin", weights_only=True)
    torch.save(
        {name.replace("layers.0", "layers.7"): value for name, value in adapter.items()}, lora / "adapter_model.bin"
    )


def spoil_other_shape(base, lora):
    torch.save(
        {"base_model.model.model.visual_abstractor.vit_eos": torch.zeros(1, 1, 9)}, lora / "non_lora_trainables.bin"
    )


def spoil_other_name(base, lora):
    torch.save({"base_model.model.model.no_such.weight": torch.zeros(3)}, lora / "non_lora_trainables.bin")


def spoil_weights(base, lora):
    weights = load_file(base / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, base / "model.safetensors")


def spoil_extra_weights(base, lora):
    weights = load_file(base / "model.safetensors")
    save_file({**weights, "model.more.weight": torch.zeros(2)}, base / "model.safetensors")


def change_adapter(**changes):
    def spoil(base, lora):
        path = lora / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def remove(which, name):
    return lambda base, lora: ((base if which == "base" else lora) / name).unlink()


def cut(which, name):
    def spoil(base, lora):
        path = (base if which == "base" else lora) / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return spoil


def write(which, name, content):
    return lambda base, lora: ((base if which == "base" else lora) / name).write_bytes(content)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 15024\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (write("lora", "adapter_model.bin", LFS), "adapter_model.bin is a Git LFS pointer.* run `git lfs pull`"),
        (write("lora", "non_lora_trainables.bin", b"<html>"), "non_lora_trainables.bin is a web page"),
        (write("base", "tokenizer.model", b""), "tokenizer.model is no SentencePiece model"),
        (write("base", "preprocessor_config.json", b"{}"), "cannot be loaded .*image_mean"),
        (change_adapter(lora_alpha="x"), "cannot be loaded "),
        (change_adapter(r=0), "cannot be loaded .*division by zero"),
        (spoil_pickle, "non_lora_trainables.bin holds more than tensors and is not unpickled"),
        (spoil_adapter_shape, r"has shape \(32, 8\), the model's has \(32, 32\); give the base"),
        (spoil_adapter_target, "adapter weight 'model.layers.7.self_attn.q_proj.lora_A.weight' .* no counterpart"),
        (spoil_other_shape, r"vit_eos' .* has shape \(1, 1, 9\), the model's has \(1, 1, 32\)"),
        (spoil_other_name, "no_such.weight' of .* is no weight of the base"),
        (spoil_weights, "lack 1 tensors such as 'model.norm.weight'"),
        (spoil_extra_weights, "hold 1 tensors such as 'model.more.weight', which the architecture has not"),
        (change_adapter(use_dora=True), "uses use_dora, which the paper.s code does not"),
        (change_adapter(bias="all"), "uses bias, which the paper.s code does not"),
        (change_adapter(base_model_name_or_path=None), "names no base model; give it with base="),
        (change_adapter(base_model_name_or_path="./gone"), "base model of .*'./gone' is no folder and no Hub id"),
        (remove("lora", "adapter_model.bin"), "holds no adapter_model.bin or .safetensors"),
        (remove("lora", "non_lora_trainables.bin"), "holds no non_lora_trainables.bin"),
        (remove("base", "tokenizer.model"), "holds no tokenizer.model; copy it from"),
        (remove("base", "preprocessor_config.json"), "preprocessor_config.json is missing"),
        (remove("base", "model.safetensors"), "holds no weights"),
        (cut("base", "model.safetensors"), "model.safetensors is no weights file"),
        (cut("lora", "adapter_model.bin"), "adapter_model.bin is no weights file"),
        (cut("base", "preprocessor_config.json"), "preprocessor_config.json is not JSON"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_one_line(spoil, message, base, lora, tmp_path, capsys):
    spoil(base, lora)
    with pytest.raises(ArtQuantError, match=message) as raised:
        load_checkpoint(str(lora))
    assert "\n" not in str(raised.value)
    assert main(["convert", str(lora), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_what_exists_is_not_written_over(base, tmp_path):
    with pytest.raises(ArtQuantError, match="exists; name a new folder"):
        convert(base, tmp_path)


def test_a_checkpoint_of_another_layout_is_not_converted(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    assert main(["convert", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "is not in the layout of the paper's code" in capsys.readouterr().err
