"""The single checks of `spatialbot doctor`: each looks at one thing and says how to mend it."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from spatialbot_ros.embedded import ros_is_here

Status = Literal["ok", "note", "fail"]

PYTHON_RANGE = ((3, 10), (3, 13))
TORCH_FIRST = "2.13.0"
FREE_DISK_GB = 5.0
MEMORY_GB = 4.0
CHECKPOINT_MB = 16.0
RENDER_TIMEOUT_S = 90.0
SETUP_COMMAND = "make setup"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: what was looked at.
        status: ok; note = works without, something is just not there; fail = a verb will not work.
        detail: what was found.
        mend: the command or step that mends it; empty when there is nothing to mend.
    """

    name: str
    status: Status
    detail: str
    mend: str = ""


def check_python(found: tuple[int, int] | None = None) -> Check:
    """Whether the running Python is one that the packages support; `found` is (major, minor)."""
    python = sys.version_info[:2] if found is None else found
    detail = f"{python[0]}.{python[1]} at {sys.executable}"
    if PYTHON_RANGE[0] <= python <= PYTHON_RANGE[1]:
        return Check("Python", "ok", detail)
    return Check(
        "Python",
        "fail",
        f"{detail}; 3.10 to 3.13 is needed",
        "rm -rf .venv && SPATIALBOT_PYTHON=/path/to/python3.12 make setup",
    )


def check_torch() -> Check:
    """The version of torch, its threads, its GPU, and whether this processor multiplies bfloat16 itself."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Check("torch", "fail", f"cannot be imported: {error}", f"pip install torch=={TORCH_FIRST}")
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    detail = f"{torch.__version__}, {torch.get_num_threads()} threads, {gpu}, {bf16_support()}"
    return Check("torch", "ok", detail)


def bf16_support(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Say which bfloat16 instructions the processor lists; without any, autocast still works, but slower."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "bf16: unknown"
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    found = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in flags]
    return f"bf16: {', '.join(found)}" if found else "bf16: emulated (slow)"


def check_package(package: str, minimum: tuple[int, ...], mend: str = SETUP_COMMAND) -> Check:
    """Whether a distribution is installed in at least the given version, e.g. (1, 26)."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return Check(package, "fail", "not installed", mend)
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < minimum:
        wanted = ".".join(map(str, minimum))
        return Check(package, "fail", f"{found}, at least {wanted} is needed", mend)
    return Check(package, "ok", found)


def mesa_version() -> str:
    """The version of the installed Mesa Vulkan drivers on Debian and Ubuntu, else an empty string."""
    if shutil.which("dpkg-query") is None:
        return ""
    command = ["dpkg-query", "-W", "-f=${Version}", "mesa-vulkan-drivers"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return answer.stdout.strip()


def check_render_device(command: Sequence[str] | None = None, timeout_s: float = RENDER_TIMEOUT_S) -> Check:
    """Whether SAPIEN renders a picture on the CPU, tried in a process of its own.

    Args:
        command: the program that renders and prints JSON; `render_probe` when None.
        timeout_s: after so many seconds the driver counts as stuck.
    """
    name, mesa = "render device", mesa_version()
    found = f"Mesa {mesa}" if mesa else "no Mesa package found"
    mend = "scripts/setup_system.sh   (Mesa Vulkan drivers 23 or newer)"
    if command is None and importlib.util.find_spec("sapien") is None:
        return Check(name, "fail", "SAPIEN is not installed", "pip install -e '.[sim]'")
    run = command or [sys.executable, "-m", "spatialbot_cli.render_probe"]
    environment = {"LP_NUM_THREADS": "1"} | os.environ
    try:
        answer = subprocess.run(
            run, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return Check(name, "fail", f"no picture within {timeout_s:g} s ({found})", mend)
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"])[-1]
        return Check(name, "fail", f"{reason} ({found})", mend)
    try:
        result = json.loads(answer.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return Check(name, "fail", f"the test picture gave no answer ({found})", mend)
    if not result["sees_box"]:
        return Check(name, "fail", f"{result['device']} renders a wrong picture ({found})", mend)
    return Check(name, "ok", f"{result['device']}, {found}")


def check_ros2(root: Path = Path("/opt/ros")) -> Check:
    """Whether ROS 2 is installed and sourced; its absence is a note, since only the robot needs it."""
    distributions = sorted(path.parent.name for path in root.glob("*/setup.bash")) if root.is_dir() else []
    if ros_is_here():
        return Check("ROS 2", "ok", f"rclpy importable, ROS_DISTRO={os.environ.get('ROS_DISTRO', 'not set')}")
    if distributions:
        names = ", ".join(distributions)
        mend = f". {root}/{distributions[-1]}/setup.bash"
        return Check("ROS 2", "note", f"installed but not sourced: {names}", mend)
    detail = "not installed; only a robot needs it: `spatialbot graph` runs the nodes without"
    return Check("ROS 2", "note", detail, "https://docs.ros.org/en/jazzy/Installation.html")


def check_camera_libraries() -> Check:
    """Whether a RealSense camera could be read: pyrealsense2 and libusb; needed on the robot only."""
    missing: list[str] = []
    if importlib.util.find_spec("pyrealsense2") is None:
        missing.append("pip install pyrealsense2")
    usb = ctypes.util.find_library("usb-1.0")
    if usb is None:
        missing.append("sudo apt-get install -y libusb-1.0-0")
    if not missing:
        return Check("camera libraries", "ok", f"pyrealsense2 {version('pyrealsense2')}, {usb}")
    detail = "needed for a RealSense camera only; pyrealsense2 or libusb is missing"
    return Check("camera libraries", "note", detail, " && ".join(missing))


def check_disk(folder: Path = Path(), needed_gb: float = FREE_DISK_GB) -> Check:
    """Whether the disk of `folder` has room for episodes and runs."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    detail = f"{free_gb:.0f} GB free in {folder.resolve()}"
    if free_gb >= needed_gb:
        return Check("disk", "ok", detail)
    mend = "free some space, or write data sets and runs to another disk (their output options)"
    return Check("disk", "fail", f"{detail}; {needed_gb:g} GB is needed", mend)


def check_memory(needed_gb: float = MEMORY_GB) -> Check:
    """Whether enough memory is available for simulation workers and training."""
    psutil = importlib.import_module("psutil")
    memory = psutil.virtual_memory()
    available_gb = memory.available / 1e9
    detail = f"{available_gb:.0f} of {memory.total / 1e9:.0f} GB available, {os.cpu_count()} processors"
    if available_gb >= needed_gb:
        return Check("memory", "ok", detail)
    mend = "close other programs or use fewer workers (`--workers 1`)"
    return Check("memory", "fail", f"{detail}; {needed_gb:g} GB is needed", mend)


def shipped_checkpoint() -> Path:
    """checkpoints/tiny below the working folder, else below the repository that this file belongs to."""
    relative = Path("checkpoints/tiny")
    return relative if relative.is_dir() else Path(__file__).resolve().parents[2] / relative


def check_checkpoint(folder: Path | None = None) -> Check:
    """Whether the shipped checkpoint is whole: policy.yaml loads, the weights open and are small enough."""
    name, path = "checkpoint", folder or shipped_checkpoint()
    mend = "git checkout -- checkpoints/tiny   (or train one: spatialbot train --help)"
    weights = path / "model.safetensors"
    for file in (path / "policy.yaml", path / "config.json", weights):
        if not file.is_file():
            return Check(name, "fail", f"{file} is missing", mend)
    size_mb = weights.stat().st_size / 1e6
    if size_mb >= CHECKPOINT_MB:
        return Check(name, "fail", f"{weights} has {size_mb:.0f} MB, the limit is {CHECKPOINT_MB:g} MB", mend)
    try:
        tensors = _read_checkpoint(path)
    except Exception as error:  # whatever a damaged file raises is the finding
        return Check(name, "fail", f"{path} cannot be read: {error}", mend)
    return Check(name, "ok", f"{path}: {tensors} tensors, {size_mb:.1f} MB")


def _read_checkpoint(path: Path) -> int:
    # Imported here so that doctor still runs, and says so, where these are missing.
    from safetensors import safe_open

    from spatialbot_policy.config import PolicyConfig, load_yaml

    load_yaml(PolicyConfig, path / "policy.yaml")
    with safe_open(str(path / "model.safetensors"), framework="numpy") as weights:
        return len(list(weights.keys()))
