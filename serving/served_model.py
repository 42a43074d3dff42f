"""Which bundle is served: found, loaded off the event loop, and tried again while it cannot be loaded."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from crm.errors import BundleError
from serving.bundle import ModelBundle

#: Names the directory of the bundle; without it, the one that was built into the bento is served.
LOCATION_VARIABLE = "VIGIE_BUNDLE"
#: Where a build finds the bundle, beside the packages.
BUILT_IN = Path(__file__).resolve().parent.parent / "bundle"
#: Seconds until a bundle that could not be loaded is tried again.
PAUSE = 2.0

_LOG = logging.getLogger("vigie.model")


def location(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the directory of the bundle to serve."""
    named = environment.get(LOCATION_VARIABLE, "")
    return Path(named) if named else BUILT_IN


class ServedModel:
    """The bundle that answers, once it is loaded.

    Attributes
    ----------
    bundle : ModelBundle or None
    """

    def __init__(self) -> None:
        self.bundle: ModelBundle | None = None

    async def load(self, directory: Path) -> None:
        """Load a bundle; where it cannot be, say so and try again until it can."""
        while self.bundle is None:
            try:
                self.bundle = await asyncio.to_thread(ModelBundle.load, directory)
            except BundleError as error:
                _LOG.error("bundle_not_loaded", extra={"facts": {"message": str(error)}})
                await asyncio.sleep(PAUSE)
        # What lives as long as the model need not be looked through at every collection.
        gc.collect()
        gc.freeze()
        _LOG.info("bundle_loaded", extra={"facts": {"version": self.bundle.version}})
