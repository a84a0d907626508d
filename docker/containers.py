"""Containers by crun alone, for machines without an engine: what docker/check.py runs the compose files with.

What lives here: from a service of a compose file and an image's root to a process in namespaces of its own: a
root that cannot be written, no capabilities, its volumes, its address. What must not be known here: what is
checked. Needs root, crun and ip. Everything lies below one directory and in network namespaces of one prefix.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from docker.compose import HERE, mounts

NETWORK: Final = "10.213.7"
MEGABYTE: Final = 1024 * 1024

CRUN: Final = (
    *("unshare", "--mount", "sh", "-c"),
    'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=cgroupfs "$@"',
    "crun",
)
"""crun knows cgroups of version 1 and of version 2, but refuses where a system has both mounted."""


def done(*command: str | Path, directory: Path | None = None) -> str:
    """Run a command to its end, and return what it printed. Raises `CalledProcessError`."""
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=directory)
    return str(ended.stdout)


class Containers:
    """The containers of one compose file."""

    def __init__(self, home: Path, compose: Mapping[str, Any], images: Mapping[str, "Image"]) -> None:
        """`images`: by the services' `image`."""
        self._home, self._images = home, images
        self.services: dict[str, dict[str, Any]] = dict(compose["services"])
        self._prefix = f"tetrarch-check-{os.getpid()}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._count = 0
        self.complaint = ""
        """What the last health check said."""
        self.hosts = {name: f"{NETWORK}.{number}" for number, name in enumerate(self.services, start=2)}
        home.mkdir(parents=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.hosts.items())]
        (home / "hosts").write_text("\n".join(lines) + "\n")
        self._switch = f"{self._prefix}-switch"
        done("ip", "netns", "add", self._switch)
        done("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge")
        done("ip", "-n", self._switch, "link", "set", "br0", "up")
        for number, (name, address) in enumerate(self.hosts.items()):
            own = f"{self._prefix}-{name}"
            done("ip", "netns", "add", own)
            done("ip", "-n", own, "link", "set", "lo", "up")
            if self.services[name].get("network_mode") == "none":
                continue
            there = ("type", "veth", "peer", "name", "eth0", "netns", own)
            done("ip", "link", "add", f"v{number}", "netns", self._switch, *there)
            done("ip", "-n", self._switch, "link", "set", f"v{number}", "master", "br0", "up")
            done("ip", "-n", own, "addr", "add", f"{address}/24", "dev", "eth0")
            done("ip", "-n", own, "link", "set", "eth0", "up")

    def close(self) -> None:
        """End every container, and remove everything but the volumes."""
        for name in list(self._running):
            self.kill(name)
        for name in (*self.hosts, "switch"):
            subprocess.run(["ip", "netns", "del", f"{self._prefix}-{name}"], check=False, capture_output=True)

    def volume(self, name: str) -> Path:
        """Return where a volume lies."""
        return self._home.parent / "volumes" / name

    def once(
        self, name: str, *arguments: str, entrypoint: Sequence[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a service's container to its end, as `docker compose run --rm --no-deps` does."""
        identity, bundle = self._bundle(name, arguments, entrypoint)
        return subprocess.run(
            [*CRUN, "run", "--bundle", str(bundle), identity], capture_output=True, text=True, check=False
        )

    def start(self, name: str) -> None:
        """Start a service."""
        identity, bundle = self._bundle(name, (), None)
        with self.log(name).open("ab") as log:
            command = [*CRUN, "run", "--bundle", str(bundle), identity]
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running[name] = started
        self.services[name]["identity"] = identity

    def execute(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside a running container."""
        service = self.services[name]
        command = [*CRUN, "exec", "--user", service["user"], service["identity"], *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def healthy(self, name: str) -> bool:
        """Run the service's health check."""
        ended = self.execute(name, *self.services[name]["healthcheck"]["test"][1:])
        self.complaint = ended.stderr.strip()
        return ended.returncode == 0

    def signal(self, name: str, number: str) -> None:
        """Send a signal to the container's first process."""
        done(*CRUN, "kill", self.services[name]["identity"], number)

    def wait(self, name: str, seconds: float) -> int:
        """Wait for the end, and return the exit code. Raises `TimeoutExpired`."""
        code = self._running[name].wait(seconds)
        del self._running[name]
        return code

    def kill(self, name: str) -> None:
        """End a container as a power cut would."""
        subprocess.run(
            [*CRUN, "kill", self.services[name]["identity"], "KILL"], check=False, capture_output=True
        )
        self.wait(name, 30)

    def log(self, name: str) -> Path:
        """Return where a container's output goes."""
        return self._home / f"{name}.log"

    def _bundle(
        self, name: str, arguments: Sequence[str], entrypoint: Sequence[str] | None
    ) -> tuple[str, Path]:
        self._count += 1
        identity = f"{self._prefix}-{self._count}"
        bundle = self._home / identity
        bundle.mkdir()
        service, image = self.services[name], self._images[self.services[name]["image"]]
        first = entrypoint if entrypoint is not None else service.get("entrypoint", image.entrypoint)
        rest = list(arguments) or ([] if entrypoint is not None else service.get("command", []))
        configuration: dict[str, Any] = {
            "ociVersion": "1.0.0",
            "hostname": name,
            "root": {"path": str(image.root), "readonly": service["read_only"]},
            "process": {
                "user": dict(zip(("uid", "gid"), map(int, service["user"].split(":")), strict=True)),
                "args": [*first, *map(str, rest)],
                "env": [
                    *image.environment,
                    *(f"{key}={value}" for key, value in service.get("environment", {}).items()),
                ],
                "cwd": service.get("working_dir", image.directory),
                "noNewPrivileges": "no-new-privileges:true" in service["security_opt"],
                "capabilities": {} if service["cap_drop"] == ["ALL"] else None,
            },
            "mounts": [*KERNEL, *self._tmpfs(service), *self._volumes(service, image)],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "mount", "ipc", "uts")),
                    {"type": "network", "path": f"/run/netns/{self._prefix}-{name}"},
                ],
                "resources": {
                    "memory": {"limit": int(service["mem_limit"].removesuffix("m")) * MEGABYTE},
                    "pids": {"limit": service["pids_limit"]},
                },
            },
        }
        (bundle / "config.json").write_text(json.dumps(configuration))
        return identity, bundle

    def _tmpfs(self, service: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = [text.partition(":") for text in service.get("tmpfs", ())]
        return [
            {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options.split(",")}
            if options
            else {"destination": target, "type": "tmpfs", "source": "tmpfs"}
            for target, _, options in found
        ]

    def _volumes(self, service: Mapping[str, Any], image: "Image") -> list[dict[str, Any]]:
        listed = [_bind("/etc/hosts", self._home / "hosts", "ro")]
        for target, source in mounts(service).items():
            place = HERE / source if source.startswith(".") else self.volume(source)
            if not place.exists():
                place.mkdir(parents=True)
            inside = image.root / target.lstrip("/")
            if place.is_dir() and not any(place.iterdir()) and inside.is_dir():
                # As engines do: a volume that is empty takes after the directory that it is mounted over.
                status = inside.stat()
                os.chown(place, status.st_uid, status.st_gid)
                place.chmod(status.st_mode & 0o7777)
            only_read = f"{source}:{target}:ro" in service["volumes"]
            listed.append(_bind(target, place, "ro" if only_read else "rw"))
        return listed


class Image:
    """An image that buildah has mounted."""

    def __init__(self, name: str) -> None:
        """Raises `CalledProcessError`."""
        self.container = done("buildah", "from", "--pull-never", name).strip()
        self.root = Path(done("buildah", "mount", self.container).strip())
        told = json.loads(done("buildah", "inspect", "--type", "image", name))["Docker"]["config"]
        self.entrypoint: list[str] = told.get("Entrypoint") or []
        self.environment: list[str] = told.get("Env") or ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        self.directory: str = told.get("WorkingDir") or "/"
        self.configuration = told

    def close(self) -> None:
        """Unmount and forget it."""
        subprocess.run(["buildah", "rm", self.container], check=False, capture_output=True)


def _bind(target: str, source: Path, how: str) -> dict[str, Any]:
    options = ["bind", how, "nosuid", "nodev"]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


KERNEL: Final = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
)


def usable() -> str:
    """Return what is missing to run containers here, or nothing."""
    missing = [name for name in ("buildah", "crun", "ip") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    return ", ".join(missing)
