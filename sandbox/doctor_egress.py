"""Look whether Micros of this machine can reach the internet; a part of the doctor (doctor.py)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from sandbox import plumbing, router, uplink
from sandbox.client import Guard

_CLOSED = re.compile(r"type filter hook forward priority [^;]+; policy drop;")
_TABLE = re.compile(r"^table (\S+) (\S+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)


def try_egress() -> Guard:
    """Load the router's rules into a network that ends at once, and look whether another firewall is in the way."""
    if os.geteuid() != 0:
        return Guard("egress", "degraded", "Micros reach no network", "Run as root.")
    if missing := plumbing.missing_programs():
        advice = "Install them: apt-get install iproute2 nftables"
        return Guard("egress", "degraded", f"Micros reach no network: no '{missing[0]}'", advice)
    if complaint := _try_in_network(["ip", "link", "set", "lo", "up"]):
        advice = "Give the outer container the capability NET_ADMIN."
        return Guard("egress", "missing", f"a sandbox cannot get a network: {complaint}", advice)
    if complaint := _try_in_network(["nft", "--file", "-"], router.rules()):
        advice = "Use a kernel with nftables: nft_fib_inet, nft_connlimit, nft_reject_inet, nft_masq."
        return Guard("egress", "degraded", f"Micros reach no network: {complaint}", advice)
    if not plumbing.may_change_network():
        if shutil.which(uplink.PROGRAM, path=plumbing.PROGRAMS) is None:
            advice = f"Install it: apt-get install {uplink.PROGRAM}"
            return Guard("egress", "degraded", f"Micros reach no network: no '{uplink.PROGRAM}'", advice)
        if not os.access(uplink.DEVICE, os.R_OK | os.W_OK):
            detail = f"Micros reach no network: {uplink.DEVICE} may not be opened"
            return Guard("egress", "degraded", detail, f"chmod 666 {uplink.DEVICE}")
    elif table := _find_closed_forwarding():
        detail = f"Micros reach no network: the table '{table}' drops what the machine forwards"
        advice = "Let it accept what comes from and goes to interfaces 'mh-*'."
        return Guard("egress", "degraded", detail, advice)
    return Guard(
        "egress", "enforced", "Micros reach what their policy says, never this machine or its networks", ""
    )


def _try_in_network(command: list[str], words: str = "") -> str:
    """Run a command in a network that ends with it; gives its complaint, or nothing when it went well."""
    tried = subprocess.run(
        ["unshare", "--net", *command],
        input=words,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": plumbing.PROGRAMS, "LC_ALL": "C"},
    )
    if tried.returncode == 0:
        return ""
    return " ".join(tried.stderr.split())[: plumbing.COMPLAINT_CHARACTERS] or f"status {tried.returncode}"


def _find_closed_forwarding() -> str:
    """Name the table of another firewall, as Docker makes one, that forwards only what it knows; else nothing.

    Its rules may let ours through all the same; then they name our interfaces.
    """
    listed = plumbing.run_nft("list ruleset\n")
    for family, table, rules in _TABLE.findall(listed):
        if family in ("ip", "inet") and _CLOSED.search(rules) and "mh-" not in rules:
            return str(table)
    return ""
