"""Writes the facts that `cadenza::domain::holidays` reads: dates.txt and zones.txt beside this file.

`make holidays` runs it with the packages that requirements.txt pins. Whoever takes a newer release of them changes
the pins, runs it, and looks through what changed: a diff of this text is a diff of the calendars.
"""

import warnings
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import holidays

HERE = Path(__file__).parent
FIRST_YEAR, LAST_YEAR = 2026, 2035
OFFSETS = {"CET", "CST6CDT", "EET", "EST", "EST5EDT", "HST", "MET", "MST", "MST7MDT", "PST8PDT", "WET"}
# Old names of zones that the database links to a clock of another country because it shows the same time.
LINKED_ABROAD = {
    "Africa/Asmera": "ER",
    "Africa/Timbuktu": "ML",
    "America/Coral_Harbour": "CA",
    "America/Virgin": "VI",
    "Antarctica/South_Pole": "AQ",
    "Atlantic/Jan_Mayen": "SJ",
    "Iceland": "IS",
    "Pacific/Ponape": "FM",
    "Pacific/Truk": "FM",
    "Pacific/Yap": "FM",
}


def dates():
    """One line for each country and year: the days that are public holidays in the whole country. A country of which
    none are known has a line of its own."""
    for country in sorted(holidays.list_supported_countries(include_aliases=False)):
        known = False
        for year in range(FIRST_YEAR, LAST_YEAR + 1):
            days = holidays.country_holidays(country, years=year)
            days = sorted(day for day in days if day.year == year)
            if days:
                known = True
                yield f"{country} {year} " + " ".join(f"{day:%m%d}" for day in days)
        if not known:
            yield country


def zones():
    """One line for each zone that belongs to one country, the old names included."""
    folder = files("tzdata") / "zoneinfo"
    country_of = {}
    for line in (folder / "zone.tab").read_text().splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            assert zone not in country_of, zone
            country_of[zone] = country
    links = {}
    for line in (folder / "tzdata.zi").read_text().splitlines():
        if line.startswith("L "):
            _, zone, alias = line.split()
            links[alias] = zone
    # A link that stands for an offset, such as EST, is no place, even where its target is one.
    places = links.keys() - country_of.keys() - OFFSETS
    named = dict(country_of)
    for alias in places:
        zone = links[alias]
        while zone not in country_of and zone in links:
            zone = links[zone]
        country = LINKED_ABROAD.get(alias, country_of.get(zone))
        if country:
            named[alias] = country
    yield from (f"{zone} {named[zone]}" for zone in sorted(named))


def write(name, about, lines):
    head = "".join(f"# {line}\n" for line in [*about, "Written by generate.py; do not edit."])
    (HERE / name).write_text(head + "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    # Some calendars warn that years from 2036 on are not known; none of those is asked for.
    warnings.simplefilter("ignore")
    write(
        "dates.txt",
        [
            f"Public holidays of whole countries, {FIRST_YEAR} to {LAST_YEAR}: country (ISO 3166-1), year, days as MMDD.",
            f"Reckoned with the Python package holidays {version('holidays')} (MIT licence, Vacanza Team and contributors).",
        ],
        dates(),
    )
    write(
        "zones.txt",
        [
            "The country (ISO 3166-1) of each time zone that belongs to one.",
            f"From the IANA time zone database as packaged in tzdata {version('tzdata')} (public domain).",
        ],
        zones(),
    )
