"""GPUs, kernels, compiler."""

from artquant_plugin.common.kernel_packages import KernelPackage
from artquant_plugin.environment.machine import (
    KERNELS,
    check_compiler,
    check_machine,
    device_finding,
    kernel_finding,
    no_device_finding,
)
from artquant_plugin.environment.probes import ProbeError, probe

GPU = {
    "place": "cuda:0",
    "name": "Painter 80",
    "capability": "9.0",
    "memory": 80 * 2**30,
    "failure": None,
    "bfloat16": True,
}


def test_this_machine_is_described():
    found = check_machine()
    assert [finding.area for finding in found].count("kernel") == len(KERNELS)
    assert found[0].area == "gpu"
    assert found[0].state != "problem"


def test_a_gpu_says_what_it_can_do():
    finding = device_finding(GPU)
    assert (finding.state, finding.found) == ("ok", "Painter 80, capability 9.0, 80.0 GiB, bfloat16 yes")
    old = device_finding(GPU | {"capability": "7.5", "bfloat16": False})
    assert old.state == "note"
    assert "dtype=float16" in old.remedy
    apple = device_finding(GPU | {"place": "mps", "name": "Apple GPU", "capability": None})
    assert apple.found == "Apple GPU, 80.0 GiB, bfloat16 yes"


def test_a_gpu_that_torch_cannot_compute_on_is_a_problem():
    finding = device_finding(GPU | {"failure": "no kernel image is available for execution on the device"})
    assert finding.state == "problem"
    assert "no kernel image" in finding.message


def test_a_missing_kernel_is_missed_on_a_gpu_alone():
    kernel = KernelPackage("no-such-kernel", "no_such_kernel", "all is slow", "pip install no-such-kernel")
    assert kernel_finding(kernel, cuda=False).state == "ok"
    finding = kernel_finding(kernel, cuda=True)
    assert (finding.state, finding.remedy) == ("note", "pip install no-such-kernel")
    assert finding.message == "no-such-kernel is not installed: all is slow"


def test_a_driver_whose_gpu_torch_does_not_see_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert no_device_finding(None).message.startswith("there is no GPU")
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert "torch is built without CUDA" in no_device_finding(None).message
    assert "torch, built for CUDA 13.0, finds no GPU" in no_device_finding("13.0").message


def test_a_compiler_is_looked_for_as_builds_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (absent,) = check_compiler()
    assert absent.state == "note"
    (tmp_path / "mine").touch(mode=0o755)
    monkeypatch.setenv("CXX", "mine")
    (present,) = check_compiler()
    assert (present.state, present.found) == ("ok", str(tmp_path / "mine"))


def test_a_torch_that_ends_the_process_is_a_problem_and_not_our_end(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = check_machine()
    assert (finding.state, finding.name) == ("problem", "torch")
    assert "torch cannot be used" in finding.message


def test_what_a_broken_import_says_last_is_the_reason(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('libpaint.so.9: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    try:
        probe("probe_torch")
    except ProbeError as error:
        assert str(error) == "ImportError: libpaint.so.9: cannot open shared object file"
    else:
        raise AssertionError("a broken torch answered")
