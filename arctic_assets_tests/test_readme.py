"""The README's queries run, and their answers have the columns it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arctic_assets_tests.testkit.platform import Platform

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```\n\n\| (.*?) \|\n", README, flags=re.DOTALL)


def test_there_are_five() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize(("sql", "header"), QUERIES)
def test_query_answers(whole_sample: Platform, sql: str, header: str) -> None:
    answer = whole_sample.warehouse.query(sql)
    assert list(answer.columns) == header.split(" | ")
    assert len(answer) >= 3


def test_files_it_names_exist() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / name).exists(), name
