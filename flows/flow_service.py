"""The running schedule: Prefect's runner, with whatever starts runs beside the clock, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

from flow_notice import answer_of, code_of, say
from flow_remains import crash, crash_killed_runs
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron, Interval, Schedule

from trunkline.cli.app import say_why
from trunkline.errors import EnvironmentFault
from trunkline.pipeline.incoming import INCOMING, Watch

if TYPE_CHECKING:
    from schedule import Asked
    from temporary_server import TemporaryServer

HERE = Path(__file__).resolve().parent
NAME = "schedule"
SHOWN = 3  # next runs that are told
PATIENCE = 60.0  # seconds in which the server must have created them; 5 on an idle machine
GLANCE = 1.0  # seconds between two looks at a run, at the server, or at data/incoming/


def serve(asked: Asked, server: TemporaryServer | None) -> int:
    """Serve until told to end; see `schedule.main`."""
    when = _schedule(asked)
    if server:
        server.wait()
    crash_killed_runs(Path(asked.root))
    return asyncio.run(_Service(asked, server, when).run())


def _schedule(asked: Asked) -> Schedule | None:
    if asked.once:
        return None
    if asked.cron:
        return Cron(asked.cron, timezone=asked.timezone or "UTC")
    return Interval(asked.every) if asked.every else None


class _Runner(Runner):
    """Prefect's own, but a signal is left to whoever serves."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the loop hears of the signal too."""


class _Service:
    def __init__(self, asked: Asked, server: TemporaryServer | None, when: Schedule | None) -> None:
        self._asked = asked
        self._root = Path(asked.root)
        self._server = server
        self._when = when
        self._deployment = UUID(int=0)

    async def run(self) -> int:
        """Serve; return the exit code."""
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _end, told, number)
        runner = _Runner(name=NAME, limit=1, pause_on_shutdown=False)
        missed = await _is_missed()
        self._deployment = await runner.aadd_deployment(self._described())
        self._tidy()
        jobs: list[Coroutine[Any, Any, int]] = [
            self._until(told),
            self._serve(runner),
            self._watch_server(),
            self._show(),
        ]
        if self._asked.once:
            jobs.append(self._once())
        if self._asked.watch:
            jobs.append(self._watch())
        if missed and self._when:
            jobs.append(self._make_up())
        try:
            return await _first_end(jobs, runner)
        except BaseExceptionGroup as faults:
            raise EnvironmentFault(f"Prefect: {faults.exceptions[0]}") from faults

    def _described(self) -> RunnerDeployment:
        return RunnerDeployment.from_entrypoint(
            f"{HERE / 'pipeline.py'}:pipeline",
            NAME,
            schedule=self._when,
            parameters={"root": str(self._root), "promote": self._asked.promote},
            tags=[NAME],
        )

    def _tidy(self) -> None:
        """Mark what an earlier schedule left unfinished as crashed; there is no other one that could be at it."""
        begun = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
        ours = DeploymentFilter.model_validate({"id": {"any_": [self._deployment]}})
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=begun, deployment_filter=ours):
                if crash(client, run.id):
                    say(f"{run.name}: had been killed; is marked as crashed")

    async def _until(self, told: asyncio.Future[int]) -> int:
        number = await told
        return 128 + number if self._asked.once else 0  # a service that is told to end has done its work

    async def _serve(self, runner: Runner) -> int:
        await runner.start()
        raise EnvironmentFault("Prefect's runner has ended; see what it printed above")

    async def _watch_server(self) -> int:
        while self._server is None or not self._server.has_ended:
            await asyncio.sleep(GLANCE)
        _leave(EnvironmentFault(f"Prefect's server has ended; see {self._server.log}"))

    async def _show(self) -> int:
        """Tell where the dashboard is and when the next runs are, as soon as the server has created them."""
        if self._server:
            say(f"dashboard  {self._server.address.removesuffix('/api')}")
        if self._when:
            for moment in await self._next_runs():
                say(f"next run   {moment}")
        if self._asked.watch:
            say(f"watching   {self._root / INCOMING}")
        return await _for_ever()

    async def _next_runs(self) -> Sequence[str]:
        zone, end = ZoneInfo(self._asked.timezone or "UTC"), time.monotonic() + PATIENCE
        async with get_client() as client:
            while time.monotonic() < end:
                found = await client.get_scheduled_flow_runs_for_deployments([self._deployment], limit=SHOWN)
                times = sorted(run.expected_start_time for run in found if run.expected_start_time)
                if times:
                    return [f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" for moment in times]
                await asyncio.sleep(GLANCE)
        raise EnvironmentFault(
            f"Prefect's server has created no scheduled run within {PATIENCE:g} s; `pip install -r requirements.lock` "
            f"gives versions that do, and its log may say more"
        )

    async def _once(self) -> int:
        state = await self._run_now("once")
        return code_of(state)

    async def _make_up(self) -> int:
        say("a run was missed while no schedule was there; it is made up for now")
        await self._run_now("missed")
        return await _for_ever()

    async def _watch(self) -> int:
        watch = Watch(self._root, self._asked.settle)
        while True:
            if names := await asyncio.to_thread(watch.look):
                say(f"{INCOMING}: {', '.join(names)}")
                watch.answer(answer_of(await self._run_now("watch")))
            await asyncio.sleep(GLANCE)

    async def _run_now(self, why: str) -> State[Any]:
        """Let the runner do a run as it does those of the clock, and wait for its end."""
        run: FlowRun = await arun_deployment(self._deployment, timeout=0, as_subflow=False, tags=[why])
        async with get_client() as client:
            while run.state is None or not run.state.is_final():
                await asyncio.sleep(GLANCE)
                run = await client.read_flow_run(run.id)
        return run.state


async def _is_missed() -> bool:
    """Whether the time of a run came while no schedule was there; Prefect forgets such runs when one starts again."""
    async with get_client() as client:
        try:
            before = await client.read_deployment_by_name(f"trunkline/{NAME}")
        except ObjectNotFound:
            return False
        late = await client.get_scheduled_flow_runs_for_deployments([before.id], datetime.now(UTC))
    return any(run.auto_scheduled for run in late)


async def _for_ever() -> int:
    never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    return await never


def _leave(fault: EnvironmentFault) -> NoReturn:
    """End now: Prefect's client would go on asking a server that is gone for minutes. Runs end with their parent."""
    code = say_why(fault)
    sys.stdout.flush()
    os._exit(code)


def _end(told: asyncio.Future[int], number: int) -> None:
    if not told.done():
        told.set_result(number)


async def _first_end(jobs: Sequence[Coroutine[Any, Any, int]], runner: Runner) -> int:
    """Do all jobs until one of them has ended; return or raise what it did."""
    tasks = [asyncio.create_task(job) for job in jobs]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if runner.started:
        await runner.astop()
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return done.pop().result()
