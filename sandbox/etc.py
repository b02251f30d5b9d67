"""Write the directory that a sandbox sees as /etc: names, resolver, certificates; no settings of the host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sandbox.doors import ADDRESS
from sandbox.policy import HOSTNAME, UID_INSIDE

# Copied as they are where the host has them: facts about installed software, not about the machine.
COPIED = ("ld.so.cache", "mime.types", "services", "protocols")


def etc_files(hostname: str = HOSTNAME, door_names: Sequence[str] = ()) -> dict[str, str]:
    """Give the files by name and their text; `door_names` lead to the sandbox's doors."""
    doors = f"{ADDRESS} {' '.join(door_names)}\n" if door_names else ""
    return {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\n"
        f"micro:x:{UID_INSIDE}:{UID_INSIDE}:Micro:/tmp:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nmicro:x:{UID_INSIDE}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost {hostname}\n::1 localhost {hostname}\n{doors}",
        "hostname": f"{hostname}\n",
        # A door: the host answers, as the sandbox's policy says.
        "resolv.conf": f"nameserver {ADDRESS}\noptions timeout:3 attempts:2\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        "host.conf": "multi on\n",
        "timezone": "Etc/UTC\n",
    }


def write_etc(
    directory: Path,
    *,
    hostname: str = HOSTNAME,
    door_names: Sequence[str] = (),
    host_network: bool = False,
    host: Path = Path("/etc"),
) -> None:
    """Fill `directory` (made if absent) for sandboxes; with `host_network`, with the host's resolver."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    copied = (*COPIED, "resolv.conf", "hosts", "nsswitch.conf") if host_network else COPIED
    contents = {name: text.encode() for name, text in etc_files(hostname, door_names).items()}
    contents |= {name: (host / name).read_bytes() for name in copied if (host / name).is_file()}
    for name, content in contents.items():
        _write(directory / name, content)
    # Mount points for the host's certificates and alternatives, which change while we run.
    for name in ("ssl", "ssl/certs", "alternatives"):
        (directory / name).mkdir(exist_ok=True)
        (directory / name).chmod(0o755)
    openssl = host / "ssl" / "openssl.cnf"
    if openssl.is_file():
        _write(directory / "ssl" / "openssl.cnf", openssl.read_bytes())
    localtime = directory / "localtime"
    if not localtime.is_symlink():
        localtime.symlink_to("/usr/share/zoneinfo/Etc/UTC")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
