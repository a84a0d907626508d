"""What the campaigns of the laboratory have in common: options, a network, output.

What lives here: the command line's frame, views as replicas tell them. What must not be
known here: what is measured.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byzantine.runners.stores import highest_view
from tests.machines.laboratory import missing
from tests.machines.replicas import TRANSPORTS, Choices, Deployed, deployed
from tetrarch.signals import end_like_interrupt

Figures = dict[str, Any]
"""Units are in the names."""


def options_of(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all campaigns have. `text`: the module's docstring."""
    parser = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--transport", choices=sorted(TRANSPORTS), default="tcp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the network in DIR, and leave it there"
    )
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--request-timeout-ms", type=int, help="of the replicas, instead of the default")
    parser.add_argument("--checkpoint-interval", type=int, help="blocks, instead of the default")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the kernel's net.ipv4.NAME, in all hosts",
    )
    return parser


@contextmanager
def network(options: argparse.Namespace) -> Iterator[Deployed]:
    """A network as the options want it. Its directory stays where the block fails."""
    place = options.keep or Path(tempfile.mkdtemp(prefix="tetrarch-machines-"))
    try:
        with deployed(
            place / "net",
            options.replicas,
            transport=options.transport,
            seed=options.seed,
            choices=Choices(
                options.checkpoint_interval,
                options.request_timeout_ms,
                tuple((name, value) for name, _, value in (text.partition("=") for text in options.set)),
            ),
        ) as net:
            yield net
    except BaseException:
        tell(f"everything lies in {place}")
        raise
    if options.keep is None:
        shutil.rmtree(place)


def views(net: Deployed) -> list[int]:
    """Return each member's view; that of one that does not answer as its log has it."""
    return [
        highest_view(replica.log) if state is None else state.view
        for replica, state in zip(net.network.replicas, net.states(), strict=True)
    ]


def chosen(options: argparse.Namespace) -> Figures:
    """Return what a campaign was run with, as far as all of them have it."""
    return {
        "replicas": options.replicas,
        "transport": options.transport,
        "request_timeout_ms": options.request_timeout_ms or "default",
        "checkpoint_interval": options.checkpoint_interval or "default",
        "settings": options.set,
    }


def tell(text: str) -> None:
    """Tell how far a campaign is, beside its figures."""
    print(text, file=sys.stderr, flush=True)


def main(
    parser: argparse.ArgumentParser, campaign: Callable[[argparse.Namespace], tuple[Figures, bool]]
) -> int:
    """Run one campaign and print its figures; 0 if it holds what it promises, 1 if not, 2 if it cannot be."""
    options = parser.parse_args()
    if missing():
        tell(f"hosts of their own need root, ip, nft, tc and TUN devices: {missing()}")
        return 2
    end_like_interrupt()
    figures, good = campaign(options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value}")
    return 0 if good else 1
