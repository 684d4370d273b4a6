"""In which order the runs of a build go, and what a failure stops."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.errors import DagsterExecutionInterruptedError

from arctic_assets.automation.build import Here, Outcome, Run, execute


def _graph(**parents: str) -> AssetGraph:
    assets = [dg.AssetSpec(key, deps=deps.split()) for key, deps in parents.items()]
    return dg.Definitions(assets=assets).resolve_asset_graph()


def _run(*keys: str) -> Run:
    return Run(tuple(dg.AssetKey(key) for key in keys), {}, 1)


class _ByHand:
    """A runner whose runs end when the test says so, one after each look at what has been started."""

    def __init__(self, outcomes: dict[str, Outcome] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.log: list[str] = []
        self.open: list[tuple[str, Future[Outcome]]] = []

    def submit(self, run: Run, keys: Sequence[dg.AssetKey]) -> Future[Outcome]:
        name = "+".join(key.to_user_string() for key in keys)
        self.log.append(name)
        future: Future[Outcome] = Future()
        self.open.append((name, future))
        return future

    def wait(self, futures: dict[Future[Outcome], int], return_when: str) -> object:
        """In place of `concurrent.futures.wait`: the last that was started ends first."""
        if not futures:
            return type("Waited", (), {"done": set()})
        name, future = self.open.pop()
        self.log.append(f"end of {name}")
        future.set_result(self.outcomes.get(name, Outcome()))
        return type("Waited", (), {"done": {future}})


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[_ByHand]:
    runner = _ByHand()
    monkeypatch.setattr("arctic_assets.automation.build.wait", runner.wait)
    yield runner
    assert not runner.open


def test_runs_that_do_not_need_each_other_are_started_together(by_hand: _ByHand) -> None:
    graph = _graph(a="", b="", of_a="a", of_both="of_a b")
    outcome = execute(graph, [_run("a"), _run("b"), _run("of_a"), _run("of_both")], by_hand)
    assert by_hand.log == ["a", "b", "end of b", "end of a", "of_a", "end of of_a", "of_both", "end of of_both"]
    assert outcome == Outcome()


def test_runs_of_the_same_asset_follow_each_other(by_hand: _ByHand) -> None:
    execute(_graph(a=""), [_run("a"), _run("a")], by_hand)
    assert by_hand.log == ["a", "end of a", "a", "end of a"]


def test_what_lies_downstream_of_a_failure_is_skipped_and_the_rest_is_not(by_hand: _ByHand) -> None:
    by_hand.outcomes = {
        "a+c": Outcome(failed={"a": "no file"}, passed_checks=1),
        "b": Outcome(failed_checks=[("b", "is_there", "WARN")], passed_checks=2),
    }
    graph = _graph(a="", c="a", b="", of_a="a", of_b="b", late="of_a of_b")
    outcome = execute(graph, [_run("a", "c"), _run("b"), _run("of_a", "of_b"), _run("late")], by_hand)
    assert by_hand.log == ["a+c", "b", "end of b", "end of a+c", "of_b", "end of of_b"]
    assert outcome == Outcome({"a": "no file"}, ["c", "of_a", "late"], [("b", "is_there", "WARN")], 3)
    assert not outcome.is_good


def test_a_process_that_is_told_to_end_executes_no_further_run() -> None:
    done: list[str] = []

    @dg.asset
    def first() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    @dg.asset
    def second() -> None:
        done.append("second")

    defs = dg.Definitions(assets=[first, second], executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(DagsterExecutionInterruptedError):
            execute(defs.resolve_asset_graph(), [_run("first"), _run("second")], Here(defs, instance))
        assert [run.is_finished for run in instance.get_runs()] == [True]
    assert done == []
