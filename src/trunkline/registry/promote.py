"""Who is in service: a version takes over where every promise holds, and steps back by one command.

A version takes over when its run was deployable (evaluation.gates), no task loses more against the version in service
than it may (registry/compare.py), nobody took the same model back before, and nothing else is said against it. The
first version needs to be deployable alone. `because` overrules all of that, and the reason is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError, ParamsError
from trunkline.evaluation.wording import broken_gate
from trunkline.files import read_json
from trunkline.registry.compare import Compared, Comparison, compare_in_service
from trunkline.registry.publish import now
from trunkline.registry.store import CANDIDATE, CHAMPION, PREVIOUS, Registry
from trunkline.registry.wanted import Wanted

KEPT, ROLLED_BACK = "kept out", "rolled back"


@dataclass(frozen=True)
class Decision:
    """What was decided on a version.

    Attributes:
        name: The model's name.
        version: The version decided upon.
        champion: The version in service from now on; None where there is none.
        before: The version that was in service.
        promoted: Whether `version` is in service now.
        why: The reason, one sentence.
        gates: What it was judged by: those of its run, and its tasks against the version in service.
        comparison: The two versions beside each other, None where nothing was compared.
    """

    name: str
    version: int
    champion: int | None
    before: int | None
    promoted: bool
    why: str
    gates: list[dict[str, Any]]
    comparison: Comparison | None

    def __str__(self) -> str:
        """Return the decision as a sentence."""
        return f"{'In service' if self.promoted else 'Kept out'}: version {self.version} of {self.name}; {self.why}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def promote(
    root: Path,
    project: Wanted,
    version: int | None = None,
    *,
    because: str | None = None,
    objections: Sequence[str] = (),
) -> Decision:
    """Put a version into service, or keep it out; either is recorded in its entry.

    Args:
        root: The project's folder; the caller holds its lock.
        project: What is declared.
        version: The version. Default: the registry's candidate.
        because: Why it shall be in service whatever speaks against it; only that its files are whole is demanded.
        objections: What else speaks against it, a phrase each.

    Raises:
        ParamsError: There is no such version, or no candidate.
        ArtifactError: Its files, or those of the version in service, are missing or altered; nothing was changed.
    """
    registry = Registry(root, project.export.name)
    aliases = registry.aliases()
    version = _chosen(registry, aliases, version)
    _demand_whole(registry, version)
    before = aliases.get(CHAMPION)
    if version == before:
        return Decision(registry.name, version, before, before, True, "it is in service already", [], None)
    comparison, damage = _compared(root, project, version, before, because)
    evaluation = read_json(registry.path(version) / "evaluation.json")
    against = [*damage, *objections, *_objections(registry, version, evaluation, comparison)]
    gates = [*evaluation["gates"], *(comparison.gates if comparison else ())]
    decision = Decision(registry.name, version, before, before, False, _why_not(against, before), gates, comparison)
    if against and because is None:
        _record(registry, decision, KEPT)
        return decision
    why = _why(before, comparison) if because is None else _forced(because, against)
    decision = replace(decision, champion=version, promoted=True, why=why)
    _record(registry, decision, CHAMPION)
    left = None if aliases.get(CANDIDATE) == version else aliases.get(CANDIDATE)
    registry.set_aliases({CHAMPION: version, PREVIOUS: _usable(registry, before), CANDIDATE: left})
    return decision


def _chosen(registry: Registry, aliases: dict[str, int], version: int | None) -> int:
    if version is None:
        version = aliases.get(CANDIDATE)
        if version is None:
            raise ParamsError(f"'{registry.name}': no version waits for service; `trunkline run` makes one")
    return registry.known(version)


def _demand_whole(registry: Registry, version: int) -> None:
    """Demand that the files of a version are as published, and the model answers as it did when it was exported."""
    from trunkline.serving.session import open_model

    registry.check(version)
    open_model(registry.path(version) / "model.onnx")


def _compared(
    root: Path, project: Wanted, version: int, before: int | None, because: str | None
) -> tuple[Comparison | None, list[str]]:
    if before is None:
        return None, []
    try:
        return compare_in_service(root, project, version), []
    except ArtifactError as fault:
        if because is None:
            raise
        return None, [str(fault).splitlines()[0]]


def _objections(
    registry: Registry, version: int, evaluation: dict[str, Any], comparison: Comparison | None
) -> list[str]:
    """Return what speaks against a version, a phrase each."""
    found = [broken_gate(gate) for gate in evaluation["gates"] if not gate["passed"]]
    against = (
        [f"its run is not deployable ({', '.join(found) or 'a gate failed'})"] if not evaluation["deployable"] else []
    )
    if taken := _taken_back(registry, version):
        against.append(f"version {taken['version']} with the same model was taken back on {taken['when']}")
    if comparison and comparison.problem:
        against.append(comparison.problem)
    elif comparison and not comparison.gates:
        against.append("none of the tasks that decide is predicted by both models")
    lost = [each for each in comparison.tasks if each.decides and not each.passed] if comparison else []
    return against + [_loss(each) for each in lost]


def _taken_back(registry: Registry, version: int) -> dict[str, Any] | None:
    """Return which version was taken back, and when, if that is the last that happened to a model of these bytes."""
    model = registry.check(version)["sha256"]
    for other in reversed(registry.versions()):
        served = [each for each in registry.entry(other)["promoted"] if each["alias"] in (CHAMPION, ROLLED_BACK)]
        if served and _model(registry, other) == model:
            last = served[-1]
            return {"version": other, "when": last["when"]} if last["alias"] == ROLLED_BACK else None
    return None


def _model(registry: Registry, version: int) -> str:
    return str(read_json(registry.path(version) / "card.json").get("sha256"))


def _loss(each: Compared) -> str:
    if each.interval is None or each.limit is None:
        return f"{each.task} {each.metric} cannot be told: too few labelled test rows"
    return f"{each.task} {each.metric} may be {-each.interval[0]:.3g} worse, more than {each.limit:.3g}"


def _why_not(against: list[str], before: int | None) -> str:
    stays = f"version {before} stays in service" if before else "nothing is put into service"
    return f"{stays}: {'; '.join(against)}" if against else ""


def _why(before: int | None, comparison: Comparison | None) -> str:
    if comparison is None:
        return "it is the first in service, and its run is deployable"
    return f"no task that decides loses more against version {before} than it may, and its run is deployable"


def _forced(because: str, against: list[str]) -> str:
    return f"forced: {because}" + (f" (against it: {'; '.join(against)})" if against else "")


def _record(registry: Registry, decision: Decision, alias: str) -> None:
    tasks = [asdict(each) for each in decision.comparison.tasks] if decision.comparison else []
    registry.record(
        decision.version,
        alias,
        {
            "when": now(),
            "alias": alias,
            "why": decision.why,
            "gates": decision.gates,
            "over": decision.before,
            "compared": tasks,
        },
    )


def _usable(registry: Registry, version: int | None) -> int | None:
    """Return a version that can be gone back to, None where it is gone or damaged."""
    try:
        return version if version and registry.check(version) else None
    except ArtifactError:
        return None


def rollback(root: Path, project: Wanted, because: str = "") -> Decision:
    """Put the version back into service that was there before; the one taken back is promoted by force only.

    Args:
        root: The project's folder; the caller holds its lock.
        project: What is declared.
        because: The reason, kept in the entry of the version that is taken back.

    Raises:
        ParamsError: There was none before.
        ArtifactError: Its files are missing or altered; nothing was changed.
    """
    registry = Registry(root, project.export.name)
    aliases = registry.aliases()
    champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
    if champion is None or previous is None:
        held = f"no version before {champion} can be gone back to" if champion else "nothing is in service"
        raise ParamsError(f"'{registry.name}': {held}; `trunkline promote VERSION` puts another one there")
    _demand_whole(registry, previous)
    why = f"version {champion} was taken back" + (f": {because}" if because else "")
    taken = {"when": now(), "alias": ROLLED_BACK, "why": why, "gates": [], "over": previous}
    with contextlib.suppress(ArtifactError):  # a version that is damaged is what one goes back from
        registry.record(champion, ROLLED_BACK, taken)
    registry.set_aliases({CHAMPION: previous, PREVIOUS: _before(registry, previous)})
    return Decision(registry.name, previous, previous, champion, True, why, [], None)


def _before(registry: Registry, version: int) -> int | None:
    """Return the version that `version` took over from, if it can still be gone back to."""
    taken = [each for each in registry.entry(version)["promoted"] if each["alias"] == CHAMPION]
    return _usable(registry, taken[-1].get("over")) if taken else None
