"""Where a visitor is."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from firstcause_rum import region
from firstcause_rum.continents import CONTINENTS, name_of, of_zone
from firstcause_rum.region import Place, Regions

NOBODY = ip_address("192.0.2.1")
BRAZIL, FRANCE = ip_address("203.0.113.9"), ip_address("2001:db8::1")


def database(path: Path, brazil: str = "BR") -> str:
    """A tiny database with both shapes of records."""
    writer = MMDBWriter(6, "GeoIP2-Country", ipv4_compatible=True)
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": brazil}})
    writer.insert_network(IPSet(["2001:db8::/32"]), {"country_code": "FR"})
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"country": {"iso_code": "not a code"}})
    writer.to_db_file(str(path))
    return str(path)


def test_the_order(tmp_path: Path) -> None:
    """Edge before database before time zone before nothing, and who said so."""
    regions = Regions(database(tmp_path / "countries.mmdb"))
    assert Place("JP", "AS", "edge") == regions.find("JP", BRAZIL, "Europe/Berlin")
    assert Place("BR", "SA", "database") == regions.find("", BRAZIL, "Europe/Berlin")
    assert Place("FR", "EU", "database") == regions.find("", FRANCE, "")
    assert Place("", "EU", "timezone") == regions.find("", NOBODY, "Europe/Berlin")
    assert Place("", "", "unknown") == regions.find("", None, "UTC")


@pytest.mark.parametrize("edge", ["XX", "T1", "", "brazil", "B", "<script>", "B\u00c7", "x" * 9000])
def test_an_edge_that_does_not_know(edge: str) -> None:
    """Its words for unknown and for Tor, and what is no code, count as silence."""
    assert Place("", "SA", "timezone") == Regions().find(edge, None, "America/Sao_Paulo")


def test_quotes_of_the_edge_are_taken_off() -> None:
    """Some send the code as a quoted string, some in lower case."""
    assert ("BR", "BR") == (Regions().find('"BR"', None, "").country, Regions().find("br", None, "").country)


def test_a_database_is_read_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file takes effect without a restart; one that is gone or broken costs the region only."""
    monkeypatch.setattr(region, "CHECK_S", -1)
    path = tmp_path / "countries.mmdb"
    regions = Regions(database(path))
    assert "BR" == regions.find("", BRAZIL, "").country
    database(path, "AR")
    os.utime(path, (1, 1))
    assert "AR" == regions.find("", BRAZIL, "").country
    assert "" == regions.find("", ip_address("198.51.100.1"), "").country
    path.unlink()
    assert Place("", "EU", "timezone") == regions.find("", BRAZIL, "Europe/Paris")


def test_labels_are_few() -> None:
    """Countries that were asked for, and continents by name, since SA and NA are countries as well."""
    regions = Regions(regions=("BR", "SA"))
    places = [Place("BR", "SA", "edge"), Place("AR", "SA", "edge"), Place("SA", "AS", "edge"), Place("QQ", "", "edge")]
    assert ["BR", "south-america", "SA", "unknown"] == [regions.label(place) for place in places]


def test_every_country_has_one_continent() -> None:
    """249 codes of ISO 3166-1, and Kosovo's."""
    assert 250 == len(CONTINENTS)
    assert {"africa", "antarctica", "asia", "europe", "north-america", "oceania", "south-america"} == {
        name_of(code) for code in CONTINENTS.values()
    }


def test_time_zones_tell_their_continent() -> None:
    """Every zone of an area but the universal ones; the Americas are told apart."""
    silent = {zone for zone in available_timezones() if "/" in zone and not of_zone(zone)}
    assert {zone.partition("/")[0] for zone in silent} <= {"Etc", "SystemV", "posix", "right"}
    zones = {"America/Argentina/Salta": "SA", "America/Lima": "SA", "America/Lima2": "NA", "Asia/Tokyo": "AS"}
    assert zones == {zone: of_zone(zone) for zone in zones}
