"""Continents: of countries (ISO 3166-1) and of time zones (IANA). Tables only."""

from __future__ import annotations

UNKNOWN = "unknown"
_CODES = {
    "AF": "africa", "AN": "antarctica", "AS": "asia", "EU": "europe", "NA": "north-america", "OC": "oceania",
    "SA": "south-america",
}  # fmt: skip
_COUNTRIES = {
    "AF": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA "
    "NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "AN": "AQ BV GS HM TF",
    "AS": "AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY "
    "NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE",
    "EU": "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK "
    "MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC "
    "TT US VC VG VI",
    "OC": "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS",
    "SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
CONTINENTS = {country: code for code, countries in _COUNTRIES.items() for country in countries.split()}
"""Country code to continent code."""
_AREAS = {
    "Africa": "AF", "Antarctica": "AN", "Arctic": "EU", "Asia": "AS", "Australia": "OC", "Europe": "EU",
    "Pacific": "OC", "America": "NA", "Atlantic": "EU", "Indian": "AF", "US": "NA", "Canada": "NA", "Brazil": "SA",
    "Chile": "SA", "Mexico": "NA",
}  # fmt: skip
_SOUTH = frozenset("""
    Araguaina Argentina Asuncion Bahia Belem Boa_Vista Bogota Buenos_Aires Campo_Grande Caracas Catamarca
    Cayenne Cordoba Coyhaique Cuiaba Eirunepe Fortaleza Guayaquil Guyana Jujuy La_Paz Lima Maceio Manaus
    Mendoza Montevideo Noronha Paramaribo Porto_Acre Porto_Velho Punta_Arenas Recife Rio_Branco Rosario
    Santarem Santiago Sao_Paulo
""".split())  # noqa: SIM905
_ELSEWHERE = {
    "Atlantic/Bermuda": "NA", "Atlantic/Cape_Verde": "AF", "Atlantic/St_Helena": "AF", "Atlantic/Stanley": "SA",
    "Atlantic/South_Georgia": "AN", "Indian/Chagos": "AS", "Indian/Christmas": "AS", "Indian/Cocos": "AS",
    "Indian/Maldives": "AS", "Indian/Kerguelen": "AN", "Pacific/Galapagos": "SA", "Pacific/Easter": "SA",
    "Pacific/Honolulu": "NA",
}  # fmt: skip


def of_zone(zone: str) -> str:
    """The continent code of a time zone; "" when it has none (`UTC`)."""
    if zone in _ELSEWHERE:
        return _ELSEWHERE[zone]
    area, _, place = zone.partition("/")
    if not place:
        return ""
    if area == "America" and place.partition("/")[0] in _SOUTH:
        return "SA"
    return _AREAS.get(area, "")


def name_of(continent: str) -> str:
    """The continent as a label: words, since `SA` and `NA` are countries too."""
    return _CODES.get(continent, UNKNOWN)
