"""The last lines of a run: they fit a plain terminal and say what matters."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.cli.verdict import COLUMNS, composite_lines, deployable_line, verdict_lines

LONGEST_NAME = 64  # letters that params.yaml takes


def evaluation(names: list[str], **changes: Any) -> dict[str, Any]:
    side = {"average_precision": 0.123456}
    transfer = {"gain": -0.0000123, "interval": [-0.0000456, 0.0000321], "verdict": "inconclusive"}
    task = {"primary": "average_precision", "shared": side, "alone": side, "transfer": transfer}
    composite = {"delta_m_percent": 3.414, "interval": [1.82, 5.16], "worst_task": names[-1], "worst_gain": -0.0213}
    counts = {"helped": 1, "hurt": 0, "equivalent": 0, "inconclusive": 1}
    content = {"composite": composite | {"worst_interval": [-0.03, -0.01]} | counts, "gates": [], "deployable": True}
    return {"tasks": dict.fromkeys(names, task)} | content | changes


def test_the_longest_names_and_numbers_fit_into_100_columns() -> None:
    names = [f"{'a' * (LONGEST_NAME - 2)}_{place}" for place in range(2)]
    content = evaluation(names)
    lines = [*verdict_lines(content), *composite_lines(content)]
    assert max(map(len, lines)) <= COLUMNS
    assert lines[1].split()[0].endswith("a_0")  # what tells the two apart stays
    assert lines[2].split()[0].endswith("a_1")
    assert all(line.isascii() for line in lines)


def test_all_tasks_together_are_summed_up_with_their_intervals() -> None:
    said = " ".join(" ".join(composite_lines(evaluation(["up", "down"]))).split())
    assert said == (
        "all tasks: 1 helped, 0 hurt, 0 equivalent, 1 inconclusive; on average +3.41 % of the score alone "
        "(+1.82 to +5.16); lowest down -0.0213 (-0.03 to -0.01)"
    )
    assert composite_lines(evaluation(["only"])) == []


@pytest.mark.parametrize(("failed", "said"), [(1, "and"), (9, "and 7 more")])
def test_the_refusal_names_as_many_gates_as_one_line_holds(failed: int, said: str) -> None:
    gate = {"rule": "max_regret", "limit": 0.01, "value": 0.0, "bound": 0.0123, "passed": False}
    passed = gate | {"task": "good", "passed": True}
    gates = [passed, *(gate | {"task": f"task_{place}"} for place in range(failed))]
    line = deployable_line(evaluation(["a", "b"], gates=gates, deployable=False))
    assert line.startswith("Not deployable: task_0 max_regret 0.0123 > 0.01")
    assert "good" not in line
    assert (said in line) == (failed > 1)
    assert len(line) <= COLUMNS


def test_a_model_whose_gates_passed_is_deployable() -> None:
    content = evaluation(["a"])
    assert deployable_line(content | {"gates": [{"passed": True}]}) == "Deployable: yes"
    assert deployable_line(content | {"gates": []}) == "Deployable: yes (no gate is declared)"
