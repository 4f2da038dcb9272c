"""`spatialbot doctor`: each fault that a machine can have is found, and its mend is printed."""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from spatialbot_cli import doctor, machine_checks
from spatialbot_cli.machine_checks import Check


def program(source: str) -> list[str]:
    return [sys.executable, "-c", source]


@pytest.mark.parametrize("python", [(3, 10), (3, 13)])
def test_supported_python(python):
    assert machine_checks.check_python(python).status == "ok"


@pytest.mark.parametrize("python", [(3, 9), (3, 14)])
def test_unsupported_python_names_the_mend(python):
    check = machine_checks.check_python(python)
    assert check.status == "fail" and "make setup" in check.mend


def test_torch_reports_threads_and_bf16():
    check = machine_checks.check_torch()
    assert check.status == "ok" and "threads" in check.detail and "bf16" in check.detail


def test_torch_that_cannot_be_loaded(monkeypatch):
    def fail(name):
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", fail)
    check = machine_checks.check_torch()
    assert check.status == "fail" and "libtorch.so" in check.detail and "pip install torch" in check.mend


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512_bf16 amx_bf16", "bf16: amx_bf16, avx512_bf16"),
        ("Features : fp asimd bf16", "bf16: bf16"),
        ("flags : fpu avx2", "bf16: emulated (slow)"),
    ],
)
def test_bf16_from_cpuinfo(tmp_path, flags, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\n{flags}\n")
    assert machine_checks.bf16_support(path) == expected


def test_package_missing_and_too_old():
    assert machine_checks.check_package("numpy", (1, 26)).status == "ok"
    missing = machine_checks.check_package("no-such-package-here", (1,))
    assert (missing.status, missing.detail, missing.mend) == ("fail", "not installed", "make setup")
    assert "at least 99.0" in machine_checks.check_package("numpy", (99, 0)).detail


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import sys; sys.exit('RuntimeError: failed to find a rendering device')",
            "failed to find a rendering",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "exit status -11"),
        ("print('no json')", "gave no answer"),
        ('print(\'{"device": "llvmpipe", "sees_box": false}\')', "renders a wrong picture"),
        ("import time; time.sleep(60)", "no picture within 1 s"),
    ],
)
def test_render_device_faults(source, reason):
    check = machine_checks.check_render_device(program(source), timeout_s=1.0 if "sleep" in source else 30.0)
    assert check.status == "fail" and reason in check.detail
    assert "scripts/setup_system.sh" in check.mend


def test_render_device_names_device_and_mesa(monkeypatch):
    monkeypatch.setattr(machine_checks, "mesa_version", lambda: "25.0.7")
    answer = 'print(\'a warning\'); print(\'{"device": "llvmpipe (LLVM 19)", "sees_box": true}\')'
    check = machine_checks.check_render_device(program(answer))
    assert (check.status, check.detail) == ("ok", "llvmpipe (LLVM 19), Mesa 25.0.7")


def test_render_device_without_sapien(monkeypatch):
    monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda name: None)
    check = machine_checks.check_render_device()
    assert check.status == "fail" and ".[sim]" in check.mend


@pytest.mark.slow
def test_render_device_of_this_machine():
    pytest.importorskip("sapien")
    check = machine_checks.check_render_device()
    assert check.status == "ok", check


def test_ros2_absent_is_a_note_and_unsourced_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda name: None)
    assert machine_checks.check_ros2(tmp_path / "none").status == "note"
    (tmp_path / "jazzy").mkdir()
    (tmp_path / "jazzy" / "setup.bash").touch()
    check = machine_checks.check_ros2(tmp_path)
    assert check.status == "note" and check.mend == f". {tmp_path}/jazzy/setup.bash"


def test_camera_libraries_absent_is_a_note(monkeypatch):
    monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(machine_checks.ctypes.util, "find_library", lambda name: None)
    check = machine_checks.check_camera_libraries()
    assert check.status == "note"
    assert "pip install pyrealsense2" in check.mend and "libusb-1.0-0" in check.mend


def test_full_disk_and_little_memory(tmp_path, monkeypatch):
    assert machine_checks.check_disk(tmp_path, needed_gb=0.0).status == "ok"
    assert "needed" in machine_checks.check_disk(tmp_path, needed_gb=1e9).detail
    assert machine_checks.check_memory(needed_gb=0.0).status == "ok"
    tight = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=1e9, total=8e9))
    monkeypatch.setattr(importlib, "import_module", lambda name: tight)
    check = machine_checks.check_memory()
    assert check.status == "fail" and "--workers 1" in check.mend


def write_checkpoint(folder, weights: dict[str, np.ndarray]) -> None:
    for file in ("policy.yaml", "config.json"):
        (folder / file).write_text("{}")
    save_file(weights, folder / "model.safetensors")


def test_checkpoint_faults_name_the_file(tmp_path, monkeypatch):
    assert "policy.yaml is missing" in machine_checks.check_checkpoint(tmp_path).detail
    write_checkpoint(tmp_path, {"w": np.zeros((3_000, 3_000), np.float32)})
    assert "limit is 16 MB" in machine_checks.check_checkpoint(tmp_path).detail
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    check = machine_checks.check_checkpoint(tmp_path)
    assert check.status == "fail" and "cannot be read" in check.detail and "git checkout" in check.mend


def test_checkpoint_with_an_unknown_key_in_policy_yaml(tmp_path):
    write_checkpoint(tmp_path, {"w": np.zeros(3, np.float32)})
    (tmp_path / "policy.yaml").write_text("no_such_key: 1\n")
    check = machine_checks.check_checkpoint(tmp_path)
    assert check.status == "fail" and "no_such_key" in check.detail


FINDINGS = {
    "ok": Check("Python", "ok", "3.12"),
    "note": Check("ROS 2", "note", "not installed", "install ROS 2"),
    "fail": Check("render device", "fail", "no rendering device", "scripts/setup_system.sh [now]"),
}


@pytest.mark.parametrize(("found", "status"), [(["ok", "note"], 0), (["ok", "fail", "note"], 1)])
def test_exit_status_is_1_only_for_a_failure(monkeypatch, capsys, found, status):
    monkeypatch.setattr(doctor, "CHECKS", [lambda kind=kind: FINDINGS[kind] for kind in found])
    assert doctor.main([]) == status
    assert ("scripts/setup_system.sh [now]" in capsys.readouterr().out) == bool(status)


def test_every_mend_is_printed_on_an_unbroken_line():
    console = Console(width=40, record=True)
    long_mend = "sudo sh -c " + "x" * 100
    doctor.report([Check("libusb", "fail", "missing", long_mend), FINDINGS["note"]], console)
    lines = console.export_text().splitlines()
    assert f"  libusb: {long_mend}" in lines and "  ROS 2: install ROS 2" in lines


def test_json_holds_every_field(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", [lambda: FINDINGS["fail"]])
    assert doctor.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "render device",
            "status": "fail",
            "detail": "no rendering device",
            "mend": "scripts/setup_system.sh [now]",
        }
    ]
