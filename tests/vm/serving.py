"""Serve from the machine's data disk as a service of systemd, and say so. Runs inside the machine, as root.

python -m tests.vm.serving PORT [MANNER]        MANNER: one of tests/durability/careless.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.vm.powered import GUEST_ADDRESS

DISK, PLACE = "/dev/vde", Path("/srv/data")
CARELESS = Path(__file__).parents[1] / "durability" / "careless.py"


def open_network() -> None:
    """Give the card the address that the other end expects, as soon as the card is there."""
    subprocess.run(["modprobe", "virtio_net"], check=True)  # nobody loads drivers by themselves here
    cards = Path("/sys/class/net")
    deadline = time.monotonic() + 30
    while not (found := [each.name for each in cards.iterdir() if each.name != "lo"]):
        if time.monotonic() > deadline:
            raise TimeoutError("the machine has no network card")
        time.sleep(0.05)
    subprocess.run(["ip", "address", "add", f"{GUEST_ADDRESS}/24", "dev", found[0]], check=True)
    subprocess.run(["ip", "link", "set", found[0], "up"], check=True)


def main() -> int:
    """Serve until the power goes."""
    port, *manner = sys.argv[1:]
    PLACE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", DISK, PLACE], check=True)
    open_network()
    python = Path(sys.executable)
    command = [str(python), str(CARELESS), *manner] if manner else [str(python.parent / "microhost")]
    service = ["systemd-run", "--quiet", "--pipe", "--wait", "-p", "Delegate=yes", "-p", "KillMode=mixed"]
    data = PLACE / "microhost"
    serve = [*service, *command, "serve", "--data", str(data), "--host", GUEST_ADDRESS, "--port", port]
    with (PLACE / "host.log").open("ab") as log:
        process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "microhost listens on http" in line:
            print("token", (data / "owner.token").read_text().strip())
        print(line, end="", flush=True)
    print(f"the host ended; its log:\n{(PLACE / 'host.log').read_text()[-3000:]}")
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
