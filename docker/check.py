"""Check the image and the compose files by all that this machine can do: `make image`, or

    python -m docker.check [--base IMAGE] [--build-base IMAGE]

With buildah, crun, ip and root, the image is built, and the networks of the compose files are run by crun as
the files say, each service in a container of its own (`docker.containers`). --base: the image to build on,
which buildah must be able to get; without it debootstrap makes one of Debian with its own Python, a stand-in.
With `docker compose`, the files are also given to it. What a machine lacks is said, and skipped. Exit codes:
0 nothing is wrong, 1 something is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from docker.compose import FILES, HERE, load
from docker.containers import Containers, Image, done, usable
from tetrarch.cli.output import INTERRUPTED
from tetrarch.signals import end_like_interrupt

ROOT: Final = HERE.parent
NAME: Final = "localhost/tetrarch-check"
REPLICAS: Final = [f"replica-{number}" for number in range(4)]
PATIENCE: Final = 60.0
PUT: Final = '{"op": "put", "key": "a", "value": "%d"}'
GENESIS: Final = "/network/genesis.json"
CA: Final = Path("/etc/ssl/certs/ca-certificates.crt")
PIP: Final = Path("/etc/pip.conf")


class Wrong(Exception):
    """A check that failed."""


def say(verdict: str, what: str) -> None:
    """Print one line."""
    print(f"{verdict:5} {what}", flush=True)


def check(holds: bool, what: str, why: object = "") -> None:
    """Print a line for what holds. Raises `Wrong` for what does not."""
    if not holds:
        raise Wrong(f"{what}: {why}")
    say("ok", what)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Print a line once something holds. Raises `Wrong` where it never does."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise Wrong(f"not within {PATIENCE:.0f} s: {what}")
    say("ok", what)


def check_compose() -> None:
    """Let Compose read the files, if it is here."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        say("skip", "docker compose config: the plugin is not installed")
        return
    for name in FILES:
        ended = subprocess.run(
            ["docker", "compose", "-f", str(HERE / name), "--profile", "client", "config", "--quiet"],
            capture_output=True,
            text=True,
            check=False,
        )
        check(ended.returncode == 0, f"docker compose config takes {name}", ended.stderr)


def make_base(work: Path) -> str:
    """Make a stand-in for the base image: Debian with its own Python, and what the building stage needs."""
    root = work / "debian"
    say("…", "making a Debian with Python by debootstrap")
    done("debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", root)
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
    container = done("buildah", "from", "scratch").strip()
    done("buildah", "add", "--quiet", container, root, "/")
    done("buildah", "commit", "--quiet", container, f"{NAME}:base")
    done("buildah", "rm", container)
    shutil.rmtree(root)
    return f"{NAME}:base"


def make_broker(base: str) -> str:
    """Make a stand-in for eclipse-mosquitto: the base with Debian's Mosquitto and netcat."""
    container = done("buildah", "from", "--pull-never", base).strip()
    command = "apt-get update -qq && apt-get install -qq --no-install-recommends mosquitto netcat-openbsd"
    environment = ["--env", "DEBIAN_FRONTEND=noninteractive"]
    done("buildah", "run", "--isolation", "chroot", *environment, container, "--", "sh", "-c", command)
    done("buildah", "config", "--entrypoint", "[]", "--workingdir", "/", container)
    done("buildah", "commit", "--quiet", container, f"{NAME}:broker")
    done("buildah", "rm", container)
    return f"{NAME}:broker"


def build(base: str, build_base: str) -> None:
    """Build the image from this source tree."""
    options = ["--secret", f"id=pip.conf,src={PIP}"] if PIP.is_file() else []
    if CA.is_file():  # pip.conf may name it, and a slim base comes without
        options += ["--volume", f"{CA}:{CA}:ro"]
    began = time.monotonic()
    done(
        *("buildah", "bud", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never"),
        *(
            "--file",
            "docker/Dockerfile",
            "--build-arg",
            f"BASE={base}",
            "--build-arg",
            f"BUILD_BASE={build_base}",
        ),
        *(*options, "--tag", f"{NAME}:image", "."),
        directory=ROOT,
    )
    say("ok", f"docker/Dockerfile is built by buildah in {time.monotonic() - began:.0f} s")


def check_image(image: Image, base: str) -> None:
    """Look at what is in the image."""
    sizes = [
        json.loads(done("buildah", "images", "--json", name))[0]["size"] for name in (f"{NAME}:image", base)
    ]
    say("…", f"sizes: the image {sizes[0]}, of which the base {sizes[1]}")
    place = image.root / "opt/tetrarch"
    mine = sum(path.lstat().st_size for path in place.rglob("*"))
    say("…", f"/opt/tetrarch: {mine / 1e6:.0f} MB")
    told = image.configuration
    check(told["User"] == "10001:10001" and told["Entrypoint"] == ["tetrarch"], "its user and entry point")
    check(told["Healthcheck"]["Test"] == ["CMD", "/opt/tetrarch/share/healthy"], "its health check")
    unwanted = [
        str(path.relative_to(image.root))
        for where in ("opt", "usr/bin", "usr/local", "usr/lib/python3/dist-packages")
        for name in ("pip", "pip3", "setuptools", "gcc", "cc", "ld", "uv", "*.key")
        for path in (image.root / where).rglob(name)
    ]
    check(not unwanted, "it holds no pip, no setuptools, no compiler and no key", unwanted)
    uncompiled = [
        str(path)
        for path in place.rglob("site-packages/**/*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ]
    check(not uncompiled, "all modules are compiled", uncompiled[:3])


def bring_up(here: Containers, name: str) -> None:
    """`up`: the network is made once, then everything starts."""
    made = here.once("init")
    check(
        made.returncode == 0, f"{name}: init makes the network: {made.stdout.splitlines()[-1:]}", made.stderr
    )
    genesis = here.volume("client") / "genesis.json"
    before = genesis.read_bytes()
    again = here.once("init")
    kept = again.returncode == 0 and genesis.read_bytes() == before
    check(kept, f"{name}: a second init keeps it: {again.stdout.strip()}", again.stderr)
    check(not list(here.volume("making").iterdir()), f"{name}: nothing is left where it was made")
    for replica in REPLICAS:
        held = sorted(
            str(path.relative_to(here.volume(replica))) for path in here.volume(replica).rglob("*.key")
        )
        expected = [f"{replica}/signing.key", f"{replica}/tls.key"]
        check(held == expected, f"{name}: {replica} holds its own keys alone", held)
    silent = here.once("replica-0", entrypoint=["/opt/tetrarch/share/healthy"])
    check(silent.returncode != 0, f"{name}: unhealthy where nothing runs: {silent.stderr.splitlines()[-1:]}")
    starting = [service for service in here.services if service not in ("init", "client")]
    for service in starting:
        here.start(service)
        if service.startswith("broker"):
            wait_for(lambda: here.healthy("broker-0"), f"{name}: the broker is healthy")
    for replica in REPLICAS:
        wait_for(partial(here.healthy, replica), f"{name}: {replica} is healthy")


def committed(here: Containers, value: int) -> dict[str, object]:
    """Submit one transaction, and return its outcome. Raises `Wrong`."""
    ended = here.once("client", "tx", "submit", "/network", PUT % value, "--json")
    if ended.returncode:
        raise Wrong(f"tx submit ended with {ended.returncode}: {ended.stdout} {ended.stderr}")
    outcome: dict[str, object] = json.loads(ended.stdout)
    return outcome


def check_confined(here: Containers, name: str) -> None:
    """What a process in a container may do."""
    status = here.execute("replica-1", "cat", "/proc/1/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    check(fields["Uid"].split()[0] == "10001", f"{name}: it runs as 10001")
    check(int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0, f"{name}: without any capability")
    check(fields["NoNewPrivs"] == "1", f"{name}: and cannot gain any")
    wrote = here.execute("replica-1", "sh", "-c", "echo > /opt/written")
    check(wrote.returncode != 0 and "Read-only" in wrote.stderr, f"{name}: its root cannot be written")


def check_service(here: Containers, name: str) -> None:
    """Transactions, reads, a frozen replica, a killed one, a stop, an audit."""
    outcome = committed(here, 1)
    check(outcome["outcome"] == "committed", f"{name}: a transaction is committed at {outcome['height']}")
    read = json.loads(here.once("client", "get", "/network", "a", "--json").stdout)
    check(read["value"] == "1", f"{name}: and read")
    rows = json.loads(here.once("client", "status", "/network", "--json").stdout)
    memory = [row["memory_mb"] for row in rows]
    check(all(row["reachable"] for row in rows), f"{name}: status reaches all four; memory {memory} MB")
    check_confined(here, name)
    here.signal("replica-2", "STOP")
    check(not here.healthy("replica-2"), f"{name}: a frozen replica is unhealthy")
    here.signal("replica-2", "CONT")
    wait_for(lambda: here.healthy("replica-2"), f"{name}: and healthy when it goes on")
    here.kill("replica-0")
    check(
        committed(here, 2)["outcome"] == "committed", f"{name}: the others commit while the primary is gone"
    )
    here.start("replica-0")
    wait_for(lambda: here.healthy("replica-0"), f"{name}: it is healthy when it is back")
    wait_for(lambda: level(here), f"{name}: and catches up")
    stop(here, name)


def level(here: Containers) -> bool:
    """Return whether all four are at one height."""
    rows = json.loads(here.once("client", "status", "/network", "--json").stdout or "[]")
    return len({row["height"] for row in rows}) == 1


def stop(here: Containers, name: str) -> None:
    """`down`, and an audit of what is left."""
    began = time.monotonic()
    for replica in REPLICAS:
        here.signal(replica, "TERM")
    codes = [here.wait(replica, 20) for replica in REPLICAS]
    check(
        codes == [0] * 4, f"{name}: SIGTERM stops all in {time.monotonic() - began:.1f} s with code 0", codes
    )
    heights = []
    for replica in REPLICAS:
        entry = ["tetrarch", "audit", f"/network/{replica}", "--genesis", GENESIS, "--json"]
        told = here.once(replica, entrypoint=entry)
        report = json.loads(told.stdout)
        if report["verdict"] != "valid":
            raise Wrong(f"{name}: audit of {replica}: {report}")
        heights.append((report["height"], report["head"][:12]))
    check(len(set(heights)) == 1, f"{name}: every store is valid, all at {heights[0]}", heights)


def check_liar(here: Containers, name: str, attack: str) -> None:
    """One lies, the others go on, and hold the proof."""
    liar = next(
        (each for each in REPLICAS if f"{each} lies: {attack}" in here.log(each).read_text()), "nobody"
    )
    check(liar != "nobody", f"{name}: {liar} is the liar, with {attack}")
    outcomes = {committed(here, number)["outcome"] for number in range(6)}
    check(outcomes == {"committed"}, f"{name}: all that clients submit is committed nevertheless")
    told = f'"lied":"{attack}"'
    wait_for(lambda: told in here.log(liar).read_text(), f"{name}: its log tells each lie")
    honest = [each for each in REPLICAS if each != liar]

    def caught() -> bool:
        return any(liar in listed(here, each) for each in honest)

    wait_for(caught, f"{name}: an honest replica holds evidence against {liar}")


def listed(here: Containers, replica: str) -> str:
    """Return what `evidence list` says of a running replica's store."""
    command = ("tetrarch", "evidence", "list", f"/network/{replica}", "--genesis", GENESIS)
    return here.execute(replica, *command).stdout


def check_network(work: Path, file: str, images: dict[str, Image], attacks: tuple[str, ...]) -> None:
    """Run one compose file from `up` to `down`."""
    for attack in attacks or ("",):
        place = work / f"{Path(file).stem}-{attack or 'run'}"
        name = f"{file} {attack}".strip()
        here = Containers(place / "run", load(HERE / file, {"TETRARCH_ATTACK": attack}), images)
        try:
            bring_up(here, name)
            if attack:
                check_liar(here, name, attack)
            else:
                check_service(here, name)
        except Wrong:
            print(f"--- the last health check: {here.complaint}", file=sys.stderr)
            for log in sorted((place / "run").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-1500:]}", file=sys.stderr)
            raise
        finally:
            here.close()


def check_containers(options: argparse.Namespace, work: Path) -> None:
    """Build the image, and run everything in containers."""
    missing = usable()
    if options.base is None and shutil.which("debootstrap") is None:
        missing = f"{missing}{', ' if missing else ''}debootstrap (or --base IMAGE)"
    if missing:
        say("skip", f"the image and its containers: this machine lacks {missing}")
        return
    (work / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{work}/graph"\nrunroot = "{work}/state"\n'
    )
    os.environ |= {"CONTAINERS_STORAGE_CONF": str(work / "storage.conf"), "TMPDIR": str(work)}
    base = options.base
    if base is None:
        base = make_base(work)
    else:
        done("buildah", "pull", "--quiet", "--policy", "missing", base)
    build(base, options.build_base or base)
    images = {"tetrarch:local": Image(f"{NAME}:image")}
    try:
        check_image(images["tetrarch:local"], base)
        check_network(work, "tcp.yaml", images, ())
        check_network(work, "byzantine.yaml", images, ("equivocate", "two-prepares"))
        if options.base is None:
            images["eclipse-mosquitto:2"] = Image(make_broker(base))
            check_network(work, "mqtt.yaml", images, ())
        else:
            say("skip", "mqtt.yaml in containers: only the stand-in base has Debian's Mosquitto")
    finally:
        for image in images.values():
            image.close()
        subprocess.run(["buildah", "rmi", "--all", "--force"], check=False, capture_output=True)


def main() -> int:
    """Run all that can be; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="docker/check.py", description="Check the image and the compose files."
    )
    parser.add_argument("--base", help="the base image; without it a stand-in is made")
    parser.add_argument("--build-base", help="the base of the building stage, if it is another one")
    options = parser.parse_args()
    end_like_interrupt()  # containers and their networks would stay behind
    with tempfile.TemporaryDirectory(prefix="tetrarch-check-") as work:
        try:
            check_compose()
            check_containers(options, Path(work))
        except Wrong as wrong:
            say("WRONG", str(wrong))
            return 1
        except subprocess.CalledProcessError as error:
            say("WRONG", f"{' '.join(map(str, error.cmd))}: {error.stderr}")
            return 1
        except KeyboardInterrupt:
            say("…", "interrupted: what was started has been removed")
            return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
