"""Small data sets, a small network and a short schedule, shared by the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.training_samples import record_demos, record_stills, small_recipe

from spatialbot_training.recipe import Recipe


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def train_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demonstrations of seven steps and two episodes of four stills; read only."""
    directory = tmp_path_factory.mktemp("data") / "train"
    record_demos(directory, seeds=(1, 2, 3))
    record_stills(directory, seeds=(4, 5))
    return directory


@pytest.fixture(scope="session")
def validation_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One demonstration and one episode of stills with seeds of their own; read only."""
    directory = tmp_path_factory.mktemp("data") / "validation"
    record_demos(directory, seeds=(101,))
    record_stills(directory, seeds=(102,))
    return directory


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded episodes, shared by all tests that do not look into it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def recipe(train_set: Path, validation_set: Path) -> Recipe:
    return small_recipe(train_set, validation_set)
