"""The replay: months land one after the other, spoilt and half ones between them; what came of each is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from benchmarks.replay.asker import Asker, Heard, asked
from benchmarks.replay.drops import Drops, sample
from benchmarks.replay.place import Ended, Place
from benchmarks.replay.spoil import HARMLESS, POISONS
from trunkline.registry.store import CHAMPION

REFUSED, KEPT_OUT = 3, 6
RUINED = "training.learning_rate=0.0000001"
Tell = Callable[[str], None]


class Stopped(Exception):
    """A real month ended the year."""


class Task(NamedTuple):
    """A task in a month: how its labels lie, and both models on the same test rows."""

    metric: str
    level: float | None
    champion: float | None
    candidate: float | None
    lost: float | None
    """What the candidate may have lost, at the unfavourable end of the interval."""

    limit: float | None


class Month(NamedTuple):
    """What came of a real month.

    Attributes:
        drop: Its name.
        ended: The command.
        stopped: Drops that did not pass.
        windows: Where the sides began.
        training: Rows that trained.
        drifted: What drifted.
        version: The version that was trained.
        champion: The one in service afterwards.
        deployable: Whether every gate of its run held.
        why: The decision's reason.
        tasks: Each task.
        follows: Whether the service answered with the champion afterwards.
        seconds: It took.
    """

    drop: str
    ended: Ended
    stopped: Sequence[str]
    windows: Mapping[str, str]
    training: int
    drifted: Sequence[str]
    version: int
    champion: int | None
    deployable: bool
    why: str
    tasks: Mapping[str, Task]
    follows: bool
    seconds: float


class Refusal(NamedTuple):
    """What came of a spoilt drop.

    Attributes:
        kind: How it was spoilt.
        drop: Its name.
        ended: The command.
        named: Whether file, column and fault were named.
        touched: Whether a model, or who is in service, is another than before.
        heard: What the service answered meanwhile.
        champion: The version in service.
        clean: Whether the run after its removal was good and trained nothing.
    """

    kind: str
    drop: str
    ended: Ended
    named: bool
    touched: bool
    heard: Heard
    champion: int
    clean: bool


class Decided(NamedTuple):
    """What came of a model that was ruined on purpose, or of a rollback."""

    ended: Ended
    before: int
    tried: int
    champion: int
    follows: bool


@dataclass
class Story:
    """All of it; `halves` and `harmless` hold drops that must pass, and how their validation ended."""

    months: list[Month] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    halves: dict[str, Ended] = field(default_factory=dict)
    harmless: dict[str, Ended] = field(default_factory=dict)
    ruined: Decided | None = None
    rollback: Decided | None = None
    heard: Heard = field(default_factory=lambda: Heard(0, [], []))


def replay(place: Place, drops: Drops, tell: Tell) -> Story:
    """Live through the year.

    Args:
        place: The project; its data/incoming/ is empty.
        drops: The months.
        tell: Told a line about each step.

    Raises:
        Stopped: A real month was refused, or its run failed.
    """
    year = _Year(place, drops, tell)
    first, later = list(drops)[: place.size.start], list(drops)[place.size.start :]
    for name in first:
        place.land(name, drops[name])
    year.month(first[-1], place.retrain, None)
    if place.champion is None:
        raise Stopped(f"{first[-1]}: the first model is not deployable: {year.story.months[0].why}")
    with asked(place, drops[first[-1]]) as asker:
        for at, name in enumerate(later):
            year.trouble(name, at, len(later), asker)
            place.land(name, drops[name])
            # The last month comes by Prefect's own server, as all of them do where a schedule runs.
            year.month(name, place.scheduled if name == later[-1] else place.retrain, asker)
        year.ruin(asker)
        year.take_back(asker)
        year.story.heard = asker.since()
    return year.story


class _Year:
    def __init__(self, place: Place, drops: Drops, tell: Tell) -> None:
        self.place, self.drops, self.tell, self.story = place, drops, tell, Story()

    # --- what lands ---------------------------------------------------------------------------------------

    def month(self, name: str, retrain: Callable[[], Ended], asker: Asker | None) -> None:
        """Retrain when a real month has landed."""
        began = time.monotonic()
        ended = retrain()
        found = self._outcome(name, ended, asker, time.monotonic() - began)
        self.story.months.append(found)
        decision = "in service" if found.champion == found.version else "kept out"
        self.tell(f"{name}: version {found.version} {decision}; {found.why} ({found.seconds:.0f} s)")

    def trouble(self, name: str, at: int, months: int, asker: Asker) -> None:
        """Let spoilt versions of a month come first, each month's share of them, and good samples of it."""
        size, whole = self.place.size, self.drops[name]
        for kind in list(POISONS)[: size.poisons][at::months]:
            self.refuse(name, kind, asker)
        for seed in range(size.halves)[at::months]:
            self.story.halves[f"half {seed} of {name}"] = self._validated(name, sample(whole, len(whole) // 2, seed))
        if at == months - 1:
            for what, change in HARMLESS.items():
                self.story.harmless[what] = self._validated(name, change(whole))

    def refuse(self, name: str, kind: str, asker: Asker) -> None:
        """Let a spoilt month land, and take it away again."""
        place, poison, began = self.place, POISONS[kind], time.monotonic()
        models, champion, mark = place.models(), place.champion, asker.mark()
        assert champion is not None
        place.land(name, poison.change(self.drops[name]))
        # The first of them comes by the schedule.
        ended = place.retrain() if self.story.refusals else place.scheduled()
        touched, heard = (models, champion) != (place.models(), place.champion), asker.since(mark)
        place.take_away(name)
        after = place.retrain()
        clean = after.code in (0, KEPT_OUT) and not trained(after.said) and models == place.models()
        named = re.search(f"- {re.escape(name)}.*{poison.sentence}|{re.escape(name)}: {poison.sentence}", ended.said)
        self.story.refusals.append(Refusal(kind, name, ended, bool(named), touched, heard, champion, clean))
        word = "refused" if ended.code == REFUSED else f"ENDED WITH {ended.code}"
        self.tell(f"{name}, {kind}: {word} ({time.monotonic() - began:.0f} s)")

    def _validated(self, name: str, table: pa.Table) -> Ended:
        """Take a drop in, judge it and split; take it away again."""
        self.place.land(name, table)
        ended = self.place.call("dvc", "repro", "split")
        self.place.take_away(name)
        self.tell(f"{name}, {len(table)} rows: {'passed' if not ended.code else f'ENDED WITH {ended.code}'}")
        return ended

    # --- who is in service --------------------------------------------------------------------------------

    def ruin(self, asker: Asker) -> None:
        """Train a model that learns nothing."""
        self.story.ruined = self._decided(asker, "run", "--promote", "--set", RUINED)

    def take_back(self, asker: Asker) -> None:
        """Put the version before back into service."""
        self.story.rollback = self._decided(asker, "rollback")

    def _decided(self, asker: Asker, *words: str) -> Decided:
        before = self.place.champion
        ended = self.place.call("trunkline", *words)
        champion = self.place.champion
        assert before is not None and champion is not None
        self.tell(f"trunkline {words[0]}: version {champion} in service after {before}")
        newest = max(self.place.registry.versions())
        return Decided(ended, before, newest, champion, asker.follows(champion) is not None)

    def _outcome(self, name: str, ended: Ended, asker: Asker | None, seconds: float) -> Month:
        place = self.place
        if ended.code not in (0, KEPT_OUT):
            raise Stopped(f"{name}, a real month: ended with {ended.code}\n{ended.said[-3000:]}")
        version, champion = max(place.registry.versions()), place.champion
        split, evaluation = place.read("data/split/manifest.json"), place.read("reports/evaluation.json")
        drops, drift = place.read("reports/validation.json")["drops"], place.read("reports/drift.json")["found"]
        return Month(
            drop=name,
            ended=ended,
            stopped=[drop["name"] for drop in drops if drop["status"] != "passed"],
            windows=split["windows"],
            training=split["sides"]["train"],
            drifted=[f"{each['of']} {each['name']}" for each in drift if each["drifted"]],
            version=version,
            champion=champion,
            deployable=evaluation["deployable"],
            why=place.registry.entry(version)["promoted"][-1]["why"],
            tasks=dict(self._tasks(version, evaluation)),
            follows=asker is None or (champion is not None and asker.follows(champion) is not None),
            seconds=seconds,
        )

    def _tasks(self, version: int, evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Task]]:
        compared = {each["task"]: each for each in self.place.registry.entry(version)["promoted"][-1]["compared"]}
        newest = self.place.read("reports/drift.json")["by_drop"][-1]["tasks"]
        for name, task in evaluation["tasks"].items():
            of, metric = compared.get(name, {}), task["primary"]
            lost = -of["interval"][0] if of.get("interval") else None
            candidate = task["exported"][metric]
            yield (
                name,
                Task(metric, newest[name]["labels"]["level"], of.get("champion"), candidate, lost, of.get("limit")),
            )


def trained(said: str) -> bool:
    """Whether a run trained anything, by what it said."""
    return bool(re.search(r"^(train|baseline@\w+) +ran\b", said, re.MULTILINE))


def promotions(place: Place) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield every version that took over, with the decision that its entry keeps."""
    registry = place.registry
    for version in registry.versions():
        for decision in registry.entry(version)["promoted"]:
            if decision["alias"] == CHAMPION:
                yield version, decision
