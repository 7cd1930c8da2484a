"""The models in service: found in folders, opened, checked, and replaced while they answer.

MODEL is one of

    models/export/model.onnx   or the folder that holds it: one version, named by the first digits of its sha256
    models/registry/flights    a folder of numbered folders (1, 2, ...) with a model each: the newest few versions, and
                               the champion of aliases.json, which is the default where there is one

A model that is refused never takes the place of one that works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.errors import ArtifactError, ParamsError
from trunkline.service.datatypes import OF_ONNX
from trunkline.service.refusal import Refusal
from trunkline.serving.aliases import ALIASES, version_in_service
from trunkline.serving.session import Model, open_model

MODEL, CARD, ENTRY = "model.onnx", "card.json", "entry.json"
NEWEST = 3  # versions of a numbered folder that are served
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
DIGITS = 12  # of the sha256 that name a version

Say = Callable[[str], None]
Glance = tuple[object, ...]
"""What a look at the files shows without reading them; it differs when one was replaced."""


@dataclass(frozen=True)
class Served:
    """One version of a model, ready to answer."""

    name: str
    version: str
    model: Model
    datatypes: Mapping[str, str]
    """The protocol's datatype of every input and output."""


class Versions(NamedTuple):
    """The versions of one model."""

    default: str
    served: dict[str, Served]


class Place(NamedTuple):
    """Where a model comes from."""

    name: str | None
    """What the command line calls it; else its card does."""

    path: Path


def read_place(word: str) -> Place:
    """Read MODEL or NAME=MODEL from the command line.

    Raises:
        ParamsError: The name cannot stand in a URL.
    """
    name, equals, path = word.partition("=")
    if not equals or "/" in name:
        return Place(None, Path(word))
    if not NAME.fullmatch(name):
        raise ParamsError(f"{word}: '{name}' cannot name a model; use up to 64 letters, digits, '_', '.' and '-'")
    return Place(name, Path(path))


class Shelf:
    """All models in service.

    Args:
        places: Where they come from.
        threads: CPU threads of one call.
        newest: Versions of a numbered folder that are served.
        say: Told a line per model that was loaded or refused.

    Raises:
        ArtifactError: A model is refused, or two have one name.
    """

    def __init__(self, places: list[Place], threads: int, say: Say, newest: int = NEWEST) -> None:
        self.places, self.threads, self.say, self.newest = places, threads, say, newest
        self.reloads, self.refused = 0, 0
        self._glances = [self._glance(place) for place in places]
        self._changed: dict[int, Glance] = {}
        found = [self._open(place) for place in places]
        self._by_place = [name for name, _ in found]
        self.models: dict[str, Versions] = dict(found)
        if twice := {name for name in self._by_place if self._by_place.count(name) > 1}:
            raise ArtifactError(f"two models are called '{min(twice)}'; give one another name: NAME={places[-1].path}")
        for place, name in zip(places, self._by_place, strict=True):
            say(f"serving {name} {self.models[name].default} from {place.path}")

    def find(self, name: str, version: str | None = None) -> Served:
        """Return the model that shall answer.

        Raises:
            Refusal: 404, there is none of that name or version.
        """
        models = self.models  # one look: a reload may replace it at any moment
        if name not in models:
            raise Refusal(404, f"model '{name}' is not served; {', '.join(models)} is")
        versions = models[name]
        if version is not None and version not in versions.served:
            raise Refusal(404, f"model '{name}' has no version '{version}'; {', '.join(versions.served)} is served")
        return versions.served[versions.default if version is None else version]

    def look(self) -> None:
        """Reload what changed since the last look and stands still since: files are copied one after the other."""
        for number, place in enumerate(self.places):
            glance = self._glance(place)
            if glance == self._glances[number] or not glance:
                self._changed.pop(number, None)
            elif self._changed.get(number) == glance:
                self._glances[number] = self._changed.pop(number)
                self._reload(number)
            else:
                self._changed[number] = glance

    def reload(self) -> None:
        """Reload everything."""
        for number, place in enumerate(self.places):
            self._glances[number] = self._glance(place)
            self._reload(number)

    def _reload(self, number: int) -> None:
        name, place = self._by_place[number], self.places[number]
        try:
            _, versions = self._open(Place(name, place.path))
        except Exception as fault:  # whatever a folder in the making leads to: the service goes on
            self.refused += 1
            self.say(f"kept {name} {self.models[name].default}; the new one is refused: {fault}")
            return
        self.reloads += 1
        self.models = {**self.models, name: versions}
        self.say(f"now serving {name} {versions.default} from {place.path}")

    def _open(self, place: Place) -> tuple[str, Versions]:
        files, champion = self._files(place)
        opened = []
        for version, path in files:
            try:
                opened.append((version, open_model(path, threads=self.threads, words=True)))
            except ArtifactError as fault:
                if version == (champion or files[-1][0]):
                    raise  # only what answers by default must be whole
                self.say(f"version {version} of {place.path} is not served: {fault}")
        name = place.name or _name(opened[-1][1])
        served = [_serve(name, version or model.sha256[:DIGITS], model) for version, model in opened]
        return name, Versions(champion or served[-1].version, {one.version: one for one in served})

    def _files(self, place: Place) -> tuple[list[tuple[str | None, Path]], str | None]:
        """Return the versions to serve, the newest last, with the default where one is named."""
        path = place.path
        if path.suffix == ".onnx" or (path / MODEL).exists():
            return [(None, path if path.suffix == ".onnx" else path / MODEL)], None
        numbers = _numbers(path)
        if not numbers:
            raise ArtifactError(f"{path}: holds no {MODEL}, nor folders 1, 2, ... that do; give an exported model")
        champion = version_in_service(path)
        if champion is None and any((path / str(n) / ENTRY).exists() for n in numbers):
            raise ArtifactError(f"{path}: no version is in service; `trunkline promote` puts one there")
        if champion is not None and champion not in numbers:
            raise ArtifactError(f"{path / ALIASES}: names version '{champion}'; there are {_listed(numbers)}")
        kept = [n for n in numbers if n in numbers[-self.newest :] or n == champion]
        return [(str(n), path / str(n) / MODEL) for n in kept], None if champion is None else str(champion)

    def _glance(self, place: Place) -> Glance:
        try:
            versions, champion = self._files(place)
            files = (file for _, path in versions for file in (path, path.with_name(CARD)))
            return (champion, *((str(file), _stamp(file)) for file in files))
        except (OSError, ValueError, ArtifactError):
            return ()  # a pipeline that runs has removed its files; they come back


def _stamp(path: Path) -> tuple[int, int, int]:
    seen = path.stat()
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def _numbers(path: Path) -> list[int]:
    folders = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return sorted(
        int(name) for name in folders if re.fullmatch(r"[1-9][0-9]*", name) and (path / name / MODEL).exists()
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _name(model: Model) -> str:
    name: Any = model.card.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ArtifactError(f"{model.path}: its card calls it {name!r}, which cannot stand in a URL; use NAME=MODEL")
    return name


def _serve(name: str, version: str, model: Model) -> Served:
    tensors = [*model.session.get_inputs(), *model.session.get_outputs()]
    return Served(name, version, model, {tensor.name: OF_ONNX[tensor.type] for tensor in tensors})
