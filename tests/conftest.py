"""Fixtures that several test files share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a folder; read it, do not write there."""
    import tiny

    return tiny.model(dropout=0.1).save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen reviews, in columns ``review`` and ``stars``."""
    import tiny

    return tiny.write_csv(tmp_path_factory.mktemp("reviews") / "reviews.csv")


@pytest.fixture(scope="session")
def squad_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight questions in SQuAD's layout."""
    import tiny

    return tiny.write_squad(tmp_path_factory.mktemp("questions") / "questions.json")
