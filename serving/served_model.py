"""Which bundle is served: found, loaded off the event loop, and changed when another one lies there.

A bundle that cannot be loaded, or does not answer as it must, never takes the place of the one that is
served; why is logged and kept. The directory is looked at again and again, so what is put right is served
without a restart.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crm.errors import BundleError
from serving.bundle import ModelBundle
from serving.probing import probe

#: Names the directory of the bundle; without it, the one that was built into the bento is served.
LOCATION_VARIABLE = "VIGIE_BUNDLE"
#: Where a build finds the bundle, beside the packages.
BUILT_IN = Path(__file__).resolve().parent.parent / "bundle"
#: Seconds between two looks at the directory.
PAUSE = 2.0
#: Looks at a bundle that could not be loaded, with nothing about it changed, until it is tried again.
PATIENCE = 15

_LOG = logging.getLogger("vigie.model")
#: What tells one writing of a manifest from another; None where there is none.
_Signature = tuple[int, int, int] | None


def location(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the directory of the bundle to serve."""
    named = environment.get(LOCATION_VARIABLE, "")
    return Path(named) if named else BUILT_IN


@dataclass(frozen=True)
class NotServed:
    """Why the bundle in the directory is not the one that is served.

    Parameters
    ----------
    message : str
    """

    message: str


class ServedModel:
    """The bundle that answers, once it is loaded.

    Attributes
    ----------
    bundle : ModelBundle or None
    directory : Path
        Where it was found.
    refused : NotServed or None
        What is wrong with the bundle that lies there now, where it is not the one that answers.
    """

    def __init__(self) -> None:
        self.bundle: ModelBundle | None = None
        self.directory = BUILT_IN
        self.refused: NotServed | None = None
        self._listeners: list[Callable[[ModelBundle], None]] = []
        self._seen: _Signature = None

    def tell(self, listener: Callable[[ModelBundle], None]) -> None:
        """Tell a function of each bundle that begins to be served, on the event loop."""
        self._listeners.append(listener)

    async def serve(self, directory: Path) -> None:
        """Load the bundle in a directory, and whatever takes its place there, for ever."""
        await self.load(directory)
        looks = 0
        while True:
            await asyncio.sleep(PAUSE)
            looks += 1
            is_new = await asyncio.to_thread(_signature, directory) != self._seen
            if is_new or (self.refused is not None and looks % PATIENCE == 0):
                await self.look()

    async def load(self, directory: Path) -> None:
        """Load a bundle; where it cannot be, say so and try again until it can."""
        self.directory = directory
        while not await self.look():
            await asyncio.sleep(PAUSE)

    async def look(self) -> bool:
        """Serve what lies in the directory, if it can be; say whether anything is served now."""
        try:
            found = await asyncio.to_thread(self._read)
        except BundleError as error:
            self._refuse(str(error))
            return self.bundle is not None
        except Exception as error:
            # Whatever a bundle does to its reader, the one that is served goes on, and so does the looking.
            self._refuse(f"{self.directory}: {error!r}; train again")
            return self.bundle is not None
        self.refused = None
        if found is not None:
            self._take(found)
        return True

    def facts(self) -> dict[str, Any]:
        """Say what is served, and what is not and why; for whoever runs the service."""
        return {
            "served": None if self.bundle is None else self.bundle.version,
            "refused": None if self.refused is None else self.refused.message,
        }

    def _read(self) -> ModelBundle | None:
        """Give the bundle that lies there, proven; None where it is the one that is served already."""
        while True:
            self._seen = _signature(self.directory)
            try:
                found = ModelBundle.load(self.directory)
                if self.bundle is not None and found.version == self.bundle.version:
                    return None
                probe(found, self.bundle)
                return found
            except BundleError:
                # Read in the moment in which it was replaced: half of one and half of the other.
                if _signature(self.directory) == self._seen:
                    raise

    def _refuse(self, message: str) -> None:
        if self.refused != NotServed(message):
            self.refused = NotServed(message)
            going_on = {} if self.bundle is None else {"served": self.bundle.version}
            _LOG.error("bundle_not_loaded", extra={"facts": {"message": message, **going_on}})

    def _take(self, found: ModelBundle) -> None:
        before, self.bundle = self.bundle, found
        version = None if before is None else before.version
        del before
        # What lives as long as the model need not be looked through at every collection; what lived as long
        # as the last one has to be, once.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        facts = {"version": found.version, "instead_of": version}
        _LOG.info("bundle_loaded", extra={"facts": {name: fact for name, fact in facts.items() if fact}})
        for listener in self._listeners:
            listener(found)


def _signature(directory: Path) -> _Signature:
    try:
        found = (directory / "manifest.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
