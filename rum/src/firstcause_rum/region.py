"""Where a visitor is: edge header, then database, then time zone, each only when the one before says nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from firstcause._guard import guard

from .address import Address
from .continents import CONTINENTS, UNKNOWN, name_of, of_zone

_COUNTRY = re.compile("[A-Z]{2}")
_NOWHERE = ("XX", "T1", "ZZ")
"""What edges say for unknown, Tor, and unknown."""
CHECK_S = 60.0


class Place(NamedTuple):
    """Country code (may be empty), continent code (may be empty), and who says so."""

    country: str
    continent: str
    source: str


class Regions:
    """Finds places, and the bounded label of each."""

    def __init__(self, mmdb: str = "", regions: Collection[str] = ()) -> None:
        self._database = Database(mmdb) if mmdb else None
        self._own = frozenset(regions)

    def find(self, edge: str, address: Address | None, zone: str) -> Place:
        """`edge` is what a trusted proxy said of the country, "" without one."""
        country = edge.strip().strip('"').upper()
        if _COUNTRY.fullmatch(country) and country not in _NOWHERE:
            return Place(country, CONTINENTS.get(country, ""), "edge")
        if self._database is not None and address is not None:
            country = self._database.country(address)
            if country:
                return Place(country, CONTINENTS.get(country, ""), "database")
        continent = of_zone(zone)
        return Place("", continent, "timezone" if continent else UNKNOWN)

    def label(self, place: Place) -> str:
        """A country that was asked for, else the continent, else `unknown`."""
        return place.country if place.country in self._own else name_of(place.continent)


class Database:
    """An `.mmdb` file, opened once, and again when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reader: Any = None
        self._changed = self._checked = 0.0

    def country(self, address: Address) -> str:
        """The country code of an address, "" when the file does not know."""
        with guard("rum.mmdb"):
            found = self._open().get(address)
            code = _code(found) if isinstance(found, dict) else ""
            return code if _COUNTRY.fullmatch(code) else ""
        return ""

    def _open(self) -> Any:
        now = monotonic()
        if self._reader is None or now - self._checked > CHECK_S:
            with self._lock:
                # Before the look: a file that has gone must not be looked for at every beacon.
                self._checked = now
                changed = Path(self._path).stat().st_mtime
                if self._reader is None or changed != self._changed:
                    import maxminddb

                    # In memory: a file replaced in place under a mapping ends the process.
                    self._reader, self._changed = maxminddb.open_database(self._path, maxminddb.MODE_MEMORY), changed
        return self._reader


def _code(found: dict[str, Any]) -> str:
    """Of both shapes in use: `country.iso_code` (MaxMind's, DB-IP's) and `country_code` (ip-location-db's)."""
    country = found.get("country")
    return str((country.get("iso_code") if isinstance(country, dict) else None) or found.get("country_code") or "")
