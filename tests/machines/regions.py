"""Where machines of a wide-area network stand, and how far these places are from each other.

What lives here: published round trips between regions, and which members stand where. What must not be known
here: hosts, simulated links.

Source: IBM Cloud's public documentation of its VPC network, "Network latency", inter-region latency: averages
of 27 July to 25 August 2024, in ms, of two directions one. They are of one provider in one month: take them
as an example of a wide-area network, not as a constant of nature.
"""

from typing import Final

NAMES: Final = (
    "Washington DC",
    "Frankfurt",
    "Tokyo",
    "Sao Paulo",
    "London",
    "Dallas",
    "Sydney",
    "Toronto",
    "Madrid",
    "Osaka",
)
"""In the order in which members are placed: four continents first."""

WITHIN_MS: Final = 2.0
"""A round trip between two zones of one region: 0.6 to 2.9 ms in the same tables."""

_ROUND_TRIPS_MS: Final[dict[tuple[str, str], int]] = {
    ("Dallas", "Toronto"): 34,
    ("Dallas", "Washington DC"): 31,
    ("Dallas", "Frankfurt"): 123,
    ("Dallas", "London"): 113,
    ("Dallas", "Madrid"): 122,
    ("Dallas", "Osaka"): 150,
    ("Dallas", "Sydney"): 186,
    ("Dallas", "Tokyo"): 143,
    ("Dallas", "Sao Paulo"): 146,
    ("Toronto", "Washington DC"): 19,
    ("Toronto", "Frankfurt"): 93,
    ("Toronto", "London"): 83,
    ("Toronto", "Madrid"): 108,
    ("Toronto", "Osaka"): 169,
    ("Toronto", "Sydney"): 215,
    ("Toronto", "Tokyo"): 162,
    ("Toronto", "Sao Paulo"): 129,
    ("Washington DC", "Frankfurt"): 91,
    ("Washington DC", "London"): 75,
    ("Washington DC", "Madrid"): 88,
    ("Washington DC", "Osaka"): 172,
    ("Washington DC", "Sydney"): 214,
    ("Washington DC", "Tokyo"): 166,
    ("Washington DC", "Sao Paulo"): 119,
    ("Frankfurt", "London"): 13,
    ("Frankfurt", "Madrid"): 29,
    ("Frankfurt", "Osaka"): 232,
    ("Frankfurt", "Sydney"): 250,
    ("Frankfurt", "Tokyo"): 233,
    ("Frankfurt", "Sao Paulo"): 198,
    ("London", "Madrid"): 27,
    ("London", "Osaka"): 244,
    ("London", "Sydney"): 261,
    ("London", "Tokyo"): 244,
    ("London", "Sao Paulo"): 188,
    ("Madrid", "Osaka"): 257,
    ("Madrid", "Sydney"): 275,
    ("Madrid", "Tokyo"): 258,
    ("Madrid", "Sao Paulo"): 209,
    ("Osaka", "Sydney"): 122,
    ("Osaka", "Tokyo"): 9,
    ("Osaka", "Sao Paulo"): 293,
    ("Sydney", "Tokyo"): 115,
    ("Sydney", "Sao Paulo"): 328,
    ("Tokyo", "Sao Paulo"): 284,
}


def region(member: int) -> str:
    """Return where a member stands: one in each region, then the second ones, and so on."""
    return NAMES[member % len(NAMES)]


def one_way_ms(here: str, there: str) -> float:
    """Return how long a packet takes from one region to another, or within one: half of the round trip."""
    if here == there:
        return WITHIN_MS / 2
    known = _ROUND_TRIPS_MS.get((here, there)) or _ROUND_TRIPS_MS[there, here]
    return known / 2
