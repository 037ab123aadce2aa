"""Files that are not what their names promise: each is one line with its cause, through the whole of loading."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures, tiny_llava

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b\nsize 15024\n"
PAGE = (
    b"\n<!-- proxy -->\n<!DOCTYPE html>\n<html><head><title>\nSign in  to the Hub</title></head><body></body></html>"
)
FILES = ("model.safetensors", "config.json", "tokenizer.json", "processor_config.json", "artquant.json")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    return folder


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def refused(folder: Path, *parts: str) -> str:
    with pytest.raises(ArtQuantError) as raised:
        load_checkpoint(str(folder))
    message = str(raised.value)
    for part in parts:
        assert part in message
    assert message.isprintable() and len(message) < 600
    return message


@pytest.mark.parametrize("name", [*FILES, "tokenizer_config.json", "generation_config.json", "chat_template.jinja"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty (0 bytes); fetch it again, and look whether the disk is full"),
        (LFS, "is a Git LFS pointer, which only names a file of 15,024 bytes; run `git lfs pull` in its folder"),
        (
            b"/annex/objects/SHA256E-s15--00.bin\n",
            "is a git-annex pointer, which only names a file; run `git annex get`",
        ),
        (PAGE, "is a web page titled 'Sign in to the Hub', which a server sent in the place of the file"),
        (b"\xef\xbb\xbf<html>", "is a web page, which a server sent in the place of the file"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page, which a server sent"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_told(name, content, told, copy):
    (copy / name).write_bytes(content)
    refused(copy, f"{copy / name} {told}")


@pytest.mark.parametrize("name", FILES)
def test_a_link_that_leads_nowhere_is_told(name, copy):
    (copy / name).unlink()
    (copy / name).symlink_to(copy / "blobs" / "0123")
    message = refused(copy)
    assert "is a link to a file that is not there" in message or name == "config.json"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", [*FILES, "extra_weights.safetensors"])
def test_a_pipe_in_the_place_of_a_file_does_not_wait(name, copy):
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    refused(copy)


@pytest.mark.parametrize(
    "name", ["config.json", "processor_config.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1]", "holds no JSON object, but a list"),
        (b'"text"', "holds no JSON object, but a text"),
        (b"null", "holds no JSON object, but a null"),
        (b'{"a": 1', "is not JSON (Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b'{"a":' * 100_000, "is not JSON (nested too deeply"),
        (b'{"a": "sch\xf6n"}', "is not UTF-8 (byte 0xf6 at 10); write it as UTF-8"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark; write it as UTF-8 without one"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "is not JSON ("),
    ],
)
def test_json_that_is_none_is_told(name, content, told, copy):
    (copy / name).write_bytes(content)
    refused(copy, f"{copy / name} {told}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda data: data[:-200], "is cut off after "),
        (lambda data: data[: len(data) // 2] + b"}", "cannot be loaded ("),
        (lambda data: b"[]", "holds no JSON object, it begins with '['"),
        (lambda data: b"{}", "cannot be loaded ("),
        (lambda data: b'{"version": "1.0", "model": {"type": "BPE", "vocab": [], "merges": 3}}', "cannot be loaded ("),
        (lambda data: data.replace(b'"vocab"', b'"v\xffcab"'), "cannot be loaded ("),
    ],
)
def test_a_broken_tokenizer_is_told(content, told, copy):
    path = copy / "tokenizer.json"
    path.write_bytes(content(path.read_bytes()))
    refused(copy, told)


def test_a_broken_chat_template_is_told(copy):
    (copy / "chat_template.jinja").write_bytes(b"{{ 'sch\xf6n' }}")
    refused(copy, "chat_template.jinja is not UTF-8")


def header(content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if length is None else length) + content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda data: data[:1000], "is cut off: 1,000 bytes are there, its header alone has "),
        (lambda data: data[:-1], "is cut off: "),
        (lambda data: data + b"\0", "is longer than its header says: "),
        (lambda data: data[:5], "is no safetensors file, it begins with "),
        (lambda data: b"Entry not found", "is no safetensors file, it begins with 'Entry not found'"),
        (lambda data: b'{"error": "Repository not found"}', 'is no safetensors file, it begins with \'{"error": '),
        (lambda data: b"PK\x03\x04" + bytes(100), "is a ZIP archive, as `torch.save` writes it, under the name of"),
        (lambda data: b"\x80\x02}q\x00." + bytes(100), "is a pickle of Python, under the name of safetensors"),
        (lambda data: b"GGUF\x03" + bytes(100), "is a GGUF file, under the name of safetensors"),
        (lambda data: bytes(100), "is no safetensors file, it begins with "),
        (lambda data: header(b"{}", 2**62), "is no safetensors file, it begins with "),
        (lambda data: header(b'{"a": 1}'), "has a header that is none of safetensors ("),
        (lambda data: header(b'{"a"'), "has a header that is none of safetensors ("),
        (lambda data: header(b'{"a":' * 10_000 + b"1" + b"}" * 10_000), "has a header that is none of safetensors ("),
        (lambda data: header(b"{\xff}"), "has a header that is none of safetensors ("),
        (lambda data: header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'), "is cut off: "),
        (
            lambda data: header(b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}') + bytes(4),
            "its files hold 1 tensors",
        ),
    ],
)
def test_weights_that_are_none_are_told(content, told, copy):
    path = copy / "model.safetensors"
    path.write_bytes(content(path.read_bytes()))
    refused(copy, told)


def in_shards(folder: Path) -> list[str]:
    """Split the weights into two shards with their index; the shards' names."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {key: names[number % 2] for number, key in enumerate(weights)}
    for name in names:
        part = {key: value for key, value in weights.items() if weight_map[key] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return names


def test_shards_are_loaded_and_a_missing_one_is_named(copy):
    names = in_shards(copy)
    assert load_checkpoint(str(copy)).model.num_parameters() == tiny_llava()[0].num_parameters()
    (copy / names[1]).unlink()
    refused(copy, f"lacks {names[1]}, of 2 files that model.safetensors.index.json names; fetch or save it again")
    (copy / names[1]).write_bytes(LFS)
    refused(copy, f"{names[1]} is a Git LFS pointer", "git lfs pull")


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ({}, "has no weight_map of names and files"),
        ({"weight_map": ["a"]}, "has no weight_map of names and files"),
        ({"weight_map": {"a": 1}}, "has no weight_map of names and files"),
        ({"weight_map": {"a": "../other/model.safetensors"}}, "which is no safetensors file beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "which is no safetensors file beside it"),
        ({"weight_map": {"a": "model.bin"}}, "names 'model.bin', which is no safetensors file beside it"),
    ],
)
def test_an_index_that_is_none_is_told(index, told, copy):
    in_shards(copy)
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(copy, told)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_may_not_be_read_is_told(name, copy):
    (copy / name).chmod(0)
    refused(copy, "Permission denied", "mend the permissions of the file")


def test_too_few_open_files_are_this_machines_fault(copy):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = os.dup(0)
    os.close(number)
    load_checkpoint(str(copy))  # imports what loading needs
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        refused(copy, "Too many open files", "let a process open more files (ulimit -n)")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "holds no JSON object"),
        (b'{"base_model_name_or_path": "\xff"}', "is not UTF-8"),
        (b'{"base_model_name_or_path": 3}', "names no base"),
        (b'{"base_model_name_or_path": "a/b", "revision": 3}', "has revision 3, which is no text"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (LFS, "git lfs pull"),
    ],
)
def test_an_adapters_configuration_that_is_none_is_told(content, told, copy):
    (copy / "adapter_config.json").write_bytes(content)
    refused(copy, told)


def changed(folder: Path, **entries) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"text_config": []}, "the config.json of "),
        ({"vision_config": {"hidden_size": -1}}, "the config.json of "),
        ({"model_type": ["llava"]}, "the config.json of "),
        ({"auto_map": 3}, "the config.json of "),
        ({"quantization_config": 4}, "the config.json of "),
        ({"image_token_index": "x"}, "the config.json of "),
        ({"dtype": "nonsense"}, "the config.json of "),
        # The default text model has 32 layers of width 4,096; nothing of it is made up before this is said.
        (
            {"text_config": None},
            "describes a language model of 32 layers of width 4,096, and its files hold 39 tensors",
        ),
        ({"text_config": {}}, "describes a language model of 32 layers of width 4,096"),
    ],
)
def test_a_configuration_that_is_none_is_told_as_such(entries, told, copy):
    changed(copy, **entries)
    assert "copy the processor" not in refused(copy, told)


def test_weights_that_match_nothing_in_the_configuration_are_told(copy):
    text = json.loads((copy / "config.json").read_text())["text_config"]
    changed(copy, text_config=text | {"num_hidden_layers": 0})
    with pytest.warns(
        ArtQuantWarning, match=r"layers.0.input_layernorm.weight.* and 7 more, which match nothing in the"
    ):
        load_checkpoint(str(copy))


@pytest.mark.parametrize("entries", [{"image_token_index": 1_000_000}, {"vision_feature_layer": 99}])
def test_a_configuration_that_does_not_fit_the_processor_is_told(entries, copy):
    changed(copy, **entries)
    with pytest.raises(
        ArtQuantError, match="LlavaForConditionalGeneration cannot compute the inputs of LlavaProcessor"
    ):
        ArtQuantScorer(load_checkpoint(str(copy))).score(pictures(1))


def test_a_processor_that_cannot_process_a_picture_is_told(copy):
    path = copy / "processor_config.json"
    content = json.loads(path.read_text())
    content["image_processor"]["size"] = {"height": -1, "width": -1}
    path.write_text(json.dumps(content))
    with pytest.raises(ArtQuantError, match=r"LlavaProcessor (cannot process the picture|does not take the prompt)"):
        ArtQuantScorer(load_checkpoint(str(copy))).score(pictures(1))


def test_a_configuration_of_a_million_layers_is_told_at_once(copy):
    text = json.loads((copy / "config.json").read_text())["text_config"]
    changed(copy, text_config=text | {"num_hidden_layers": 1_000_000})
    refused(copy, "describes a language model of 1,000,000 layers of width 32, and its files hold 39 tensors")
