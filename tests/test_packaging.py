"""The project's metadata: one version, bounds on every dependency, no package left out, scripts that run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import metadata, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks import __main__ as benchmarks

ROOT = Path(__file__).resolve().parents[1]


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed"
    return Path(spec.origin).resolve().parent


def test_the_installed_version_is_that_of_package_xml():
    stated = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert metadata("spatialbot")["Version"] == stated
    assert f"[{stated}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", requires("spatialbot") or [])
def test_every_dependency_has_a_lower_and_an_upper_bound(line):
    operators = {specifier.operator for specifier in Requirement(line).specifier}
    assert operators == {"=="} or ({">="} <= operators and {"<"} <= operators), line


@pytest.mark.parametrize(
    ("package", "folder"),
    [
        ("spatialbot_cli", "src/spatialbot_cli"),
        ("spatialbot_policy", "src/spatialbot_policy"),
        ("spatialbot_sim", "sim"),
        ("spatialbot_training", "training"),
    ],
)
def test_each_import_package_is_its_folder(package, folder):
    assert folder_of(package) == ROOT / folder


def test_every_folder_with_modules_is_a_package():
    # find_packages in setup.py skips a folder without __init__.py, and an editable install hides that.
    for top in ("src/spatialbot_cli", "src/spatialbot_policy", "sim", "training"):
        folders = {path.parent for path in (ROOT / top).rglob("*.py")}
        assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_every_make_target_calls_a_script_that_can_run():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = re.findall(r"^\t@(scripts/\S+)", makefile, flags=re.MULTILINE)
    assert (
        len(scripts) == len(re.findall(r"^[a-z-]+: *## ", makefile, flags=re.MULTILINE)) - 1
    )  # help has none
    assert all(os.access(ROOT / script, os.X_OK) for script in [*scripts, ".ci/run"])


def test_find_python_accepts_this_one_and_refuses_what_is_none():
    pytest.importorskip("ensurepip")
    script = str(ROOT / "scripts" / "find_python.sh")

    def find(python: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"SPATIALBOT_PYTHON": python}
        return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)

    assert find(sys.executable).stdout.strip() == sys.executable
    assert find("no-such-python").returncode == 1


def write_benchmark(folder: Path, source: str) -> None:
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "bench_example.py").write_text(source, encoding="utf-8")


@pytest.fixture
def bench_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "HERE", tmp_path / "benchmarks")
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path / "benchmarks" / "results")
    return tmp_path


def test_benchmark_figures_are_kept_with_the_machine(bench_folder):
    write_benchmark(bench_folder, "print('a table')\nprint('{\"speed_hz\": 3}')\n")
    assert benchmarks.main(["example"]) == 0
    text = (bench_folder / "benchmarks" / "results" / "bench_example.json").read_text(encoding="utf-8")
    assert '"speed_hz": 3' in text and '"processor"' in text and '"cores"' in text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("print('no figures')", "last line is not JSON"),
        ("print([1])", "not a JSON object"),
    ],
)
def test_a_benchmark_without_figures_fails_and_writes_nothing(bench_folder, capsys, source, reason):
    write_benchmark(bench_folder, source)
    assert benchmarks.main([]) == 1
    assert reason in capsys.readouterr().err
    assert not list((bench_folder / "benchmarks" / "results").iterdir())


def test_unknown_benchmark_lists_the_known_ones(bench_folder, capsys):
    write_benchmark(bench_folder, "")
    assert benchmarks.main(["no_such"]) == 2
    assert "choose from bench_example" in capsys.readouterr().err
