"""What the replay must have shown, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.replay.place import Ended, Place
from benchmarks.replay.year import KEPT_OUT, REFUSED, Decided, Month, Refusal, Story, promotions, trained


class Bar(NamedTuple):
    """One thing that must hold of so many."""

    what: str
    held: int
    of: int
    fault: str = ""

    @property
    def met(self) -> bool:
        """Whether it holds of all of them, and there are some."""
        return self.held == self.of > 0


def bars(story: Story, place: Place, months: int) -> Iterator[Bar]:
    """Yield every bar.

    Args:
        story: What happened.
        place: Where it happened.
        months: Real months that landed.
    """
    stopped = [name for month in story.months for name in month.stopped]
    yield Bar("real months pass", months - len({*stopped}), months, ", ".join(stopped))
    yield _all("windows follow the newest month", story.months, follows_newest)
    yield from _of_refusals(story.refusals)
    yield _all("half months pass", list(story.halves.items()), lambda each: each[1].code == 0)
    yield _all("harmless changes pass", list(story.harmless.items()), lambda each: each[1].code == 0)
    yield _all("the service follows the champion after a month", story.months, lambda month: month.follows)
    yield from _of_decisions(place)
    if story.ruined:
        yield _all("a model that fails a gate is kept out", [story.ruined], kept_out)
    if story.rollback:
        yield _all("rollback takes one command, and the service follows", [story.rollback], taken_back)
    yield _all("Prefect's own server: the last month is Completed", story.months[-1:], completed)
    wrong = len(story.heard.faults)
    yield Bar("questions answered", story.heard.answers - wrong, story.heard.answers, "; ".join(story.heard.faults[:1]))


def _of_refusals(refusals: Sequence[Refusal]) -> Iterator[Bar]:
    yield _all("spoilt drops refused", refusals, lambda each: each.ended.code == REFUSED)
    yield _all("... file, column and fault named", refusals, lambda each: each.named)
    yield _all("... nothing trained, no model touched", refusals, left_alone)
    yield _all("... the champion kept answering", refusals, kept_answering)
    yield _all("... good again once taken away, nothing trained", refusals, lambda each: each.clean)


def _of_decisions(place: Place) -> Iterator[Bar]:
    taken = list(promotions(place))
    yield _all("champions whose gates all hold", taken, lambda each: all(gate["passed"] for gate in each[1]["gates"]))
    lost = [one for _, decision in taken for one in decision["compared"] if one["decides"]]
    yield _all("tasks that lost no more than declared to a new champion", lost, _lost_little)


def _lost_little(one: Any) -> bool:
    return one["interval"] is not None and -one["interval"][0] <= one["limit"]


def _all(what: str, each: Iterable[Any], holds: Callable[[Any], bool]) -> Bar:
    found = [(one, holds(one)) for one in each]
    fault = next((_said(one) for one, held in found if not held), "")
    return Bar(what, sum(held for _, held in found), len(found), fault)


def _said(one: Any) -> str:
    """Return what names a thing that does not hold, and how its command ended."""
    ended = next((part for part in one if isinstance(part, Ended)), None) if isinstance(one, tuple) else None
    if ended is None:
        return str(one)[:600]
    words = [part for part in one if isinstance(part, str)]
    return " ".join([*words[:2], f"code {ended.code}:", ended.said[-600:]])


def follows_newest(month: Month) -> bool:
    """Whether the test rows are those of the month, by its name."""
    return month.windows["test"][:7] in month.drop


def left_alone(refusal: Refusal) -> bool:
    """Whether nothing was trained, and no model or alias is another than before."""
    return not refusal.touched and not trained(refusal.ended.said)


def kept_answering(refusal: Refusal) -> bool:
    """Whether the champion, and nobody else, answered every question, and there were some."""
    heard = refusal.heard
    return heard.answers > 0 and not heard.faults and heard.versions == [str(refusal.champion)]


def kept_out(ruined: Decided) -> bool:
    """Whether the ruined model was published, refused, and the champion goes on."""
    same = ruined.champion == ruined.before != ruined.tried
    return ruined.ended.code == KEPT_OUT and same and ruined.follows and "not deployable" in ruined.ended.said


def taken_back(rollback: Decided) -> bool:
    """Whether another version is in service, and answers."""
    return rollback.ended.code == 0 and rollback.champion != rollback.before and rollback.follows


def completed(month: Month) -> bool:
    """Whether the flow run of the schedule ended as promoted or kept, which Prefect counts as Completed."""
    return month.ended.code in (0, KEPT_OUT) and (": Promoted: " in month.ended.said or ": Kept: " in month.ended.said)
