"""What a result says that it was measured on."""

import hashlib

from artquant_plugin.checkpoint.identity import Identity, identify, weights_hash

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_weights_are_told_by_names_and_contents(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"one")
    (tmp_path / "extra_weights.safetensors").write_bytes(b"two")
    (tmp_path / "config.json").write_text("{}")
    lines = [
        f"{name} {hashlib.sha256(content).hexdigest()}\n"
        for name, content in [("adapter_model.safetensors", b"one"), ("extra_weights.safetensors", b"two")]
    ]
    assert weights_hash(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()
    before = weights_hash(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert weights_hash(tmp_path) == before
    (tmp_path / "extra_weights.safetensors").write_bytes(b"TWO")
    assert weights_hash(tmp_path) != before


def test_a_folder_has_a_name_and_a_snapshot_of_the_hub_its_commit(tmp_path):
    folder = tmp_path / "models--me--x" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    nothing = hashlib.sha256().hexdigest()
    assert identify("me/x@v1", folder) == Identity("me/x", COMMIT, nothing)
    assert identify(str(tmp_path), tmp_path) == Identity(tmp_path.name, None, nothing)
