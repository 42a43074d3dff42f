"""Keep a directory holding the registry's champion, for services that serve what lies there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from crm.errors import BundleError, TrackingError
from serving.bundle import ModelBundle, version_in
from serving.probing import probe
from training.tracking import champion_of, registered_bundle

_LOG = logging.getLogger("vigie.following")


@dataclass
class Follower:
    """Writes the champion's bundle into a directory whenever another one lies there.

    Parameters
    ----------
    tracking_uri : str
    directory : Path
    name : str
        Of the registered model.
    """

    tracking_uri: str
    directory: Path
    name: str = "vigie"
    _unfit: str | None = None
    _trouble: str | None = None

    def look(self) -> str | None:
        """Write the champion's bundle, where another lies there.

        What goes wrong is logged once, and the directory stays as it is; the next look may find it put right.

        Returns
        -------
        str or None
            The version of the bundle that was written; None where nothing was.
        """
        try:
            number, version = champion_of(self.tracking_uri, name=self.name)
            lying = version_in(self.directory)
            if version is not None and version in (lying, self._unfit):
                self._trouble = self._trouble if version == self._unfit else None
                return None
            bundle = registered_bundle(self.tracking_uri, number, name=self.name)
            if bundle.version in (lying, self._unfit):
                return None
            return self._write(bundle, number)
        except (TrackingError, BundleError) as error:
            self._tell("champion_not_read", str(error))
            return None

    def _write(self, bundle: ModelBundle, number: str) -> str | None:
        """Write a bundle that answers as it must, in one step; one that does not is never looked at again."""
        try:
            probe(bundle)
        except BundleError as error:
            self._unfit = bundle.version
            self._tell("champion_not_written", str(error))
            return None
        bundle.save(self.directory)
        self._trouble = self._unfit = None
        facts = {"version": bundle.version, "number": number, "directory": str(self.directory)}
        _LOG.info("champion_written", extra={"facts": facts})
        return bundle.version

    def _tell(self, event: str, message: str) -> None:
        if message != self._trouble:
            self._trouble = message
            _LOG.error(event, extra={"facts": {"message": message}})
