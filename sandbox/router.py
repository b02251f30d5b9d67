"""Say how packets leave sandboxes: the rules of the router, as text for `nft` and `ip`. Pure; read it downwards.

Theory of operation
    One more network namespace stands between the sandboxes and the machine: the router. Each sandbox has one link into it
    (a veth pair), the router has one uplink out of it (networks.py). Everything is decided there, by one table of
    nftables that no tenant can reach, before a packet touches the machine. What is not accepted is refused at once, so that a
    program fails instead of waiting: TCP with a reset, because an ICMP answer that comes while connect(2) still holds the socket is
    lost (Linux counts it as LockDroppedIcmps) and the program would wait a second for nothing.

    Names do not matter here: a rule sees the address that is really asked for, whatever a resolver said. An allow-list
    of names is made of the addresses that our own resolver gave out, each for a while (`permit`).

    Addresses are out of 198.18.0.0/15 (RFC 2544), which no network routes: the lower half for links, the upper one for
    uplinks. A link's address is the sandbox's own; the router's is the same for all.

Sources: the special-purpose registries of RFC 6890; nft(8).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

TABLE = "microhost"
UPLINK = "uplink"  # the router's interface towards the machine
INSIDE = "eth0"  # a sandbox's interface
GATEWAY4, GATEWAY6 = IPv4Address("198.18.0.1"), IPv6Address("fd73:6d68::1")
LINKS = range(2, 65_535)  # numbers of links
UPLINKS4 = IPv4Network("198.19.0.0/16")  # cut into /30s, one a running host
USER_UPLINK4 = IPv4Network("198.19.0.0/24")  # without root there is one, in a network of its own
CONNECTIONS = 512  # of one sandbox at a time, to the outside

# What is never reached, whatever a name resolves to: this machine, its neighbours, and what has no single owner.
BARRED4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # a cloud's metadata, at a public address
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
# IPv4 in IPv6's clothes (mapped, compatible, NAT64, 6to4, Teredo), local, multicast. RFC 4291, 6052, 3056, 4380, 4193.
BARRED6 = (
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
)

Policy = str | tuple[str, ...]  # "public", "none", or the names that may be reached
Address = IPv4Address | IPv6Address


def address4(link: int) -> IPv4Address:
    """Give the address of a link's sandbox."""
    return IPv4Address("198.18.0.0") + link


def address6(link: int) -> IPv6Address:
    """Give the IPv6 address of a link's sandbox."""
    return IPv6Address("fd73:6d68::") + (link << 16)


def uplink4(place: int) -> tuple[IPv4Address, IPv4Address]:
    """Give the two ends of an uplink, the router's and the machine's. `place` counts the /30s of UPLINKS4."""
    first = UPLINKS4.network_address + 4 * (place % (UPLINKS4.num_addresses // 4))
    return first + 2, first + 1


def rules() -> str:
    """Give the router's whole table. It replaces the one that is there."""
    return f"""
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  set barred4 {{ type ipv4_addr; flags interval; elements = {{ {", ".join(BARRED4)} }}; }}
  set barred6 {{ type ipv6_addr; flags interval; elements = {{ {", ".join(BARRED6)} }}; }}
  set own4 {{ type ipv4_addr; }}
  set own6 {{ type ipv6_addr; }}
  set public {{ type ifname; }}
  set names4 {{ type ifname . ipv4_addr; flags timeout; }}
  set names6 {{ type ifname . ipv6_addr; flags timeout; }}
  set busy {{ type ifname; flags dynamic; size 65535; }}

  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "{UPLINK}" iifname != "lo" fib saddr . iif oif missing drop
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    ct state established,related accept
    iifname "{UPLINK}" drop
    jump refuse
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "{UPLINK}" drop
    oifname != "{UPLINK}" jump refuse
    ip daddr @barred4 jump refuse
    ip6 daddr @barred6 jump refuse
    ip daddr @own4 jump refuse
    ip6 daddr @own6 jump refuse
    meta l4proto != {{ tcp, udp, icmp, icmpv6 }} jump refuse
    tcp dport 25 jump refuse
    iifname @public jump admit
    iifname . ip daddr @names4 jump admit
    iifname . ip6 daddr @names6 jump admit
    jump refuse
  }}
  chain admit {{
    add @busy {{ iifname ct count over {CONNECTIONS} }} jump refuse
    accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{UPLINK}" masquerade
  }}
}}
"""


def machine_rules(interface: str) -> str:
    """Give the machine's own table for an uplink that ends in it; it holds what comes from there apart from all else."""
    return f"""
table inet {interface}
delete table inet {interface}
table inet {interface} {{
  chain input {{
    type filter hook input priority filter - 1; policy accept;
    iifname "{interface}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname "{interface}" drop
  }}
  chain forward {{
    type filter hook forward priority filter - 1; policy accept;
    oifname "{interface}" ct state established,related accept
    oifname "{interface}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname "{interface}" masquerade
  }}
}}
"""


def forget_machine_rules(interface: str) -> str:
    """Take the machine's table away, also when it is not there."""
    return f"table inet {interface}\ndelete table inet {interface}\n"


def uplink6(place: int) -> tuple[IPv6Address, IPv6Address]:
    """Give the IPv6 addresses of the same two ends."""
    first = IPv6Address("fd73:6d68:1::") + 4 * place
    return first + 2, first + 1


def be_gateway() -> list[str]:
    """Give what `ip` does inside the router before it has an uplink."""
    return ["link set lo up", f"address add {GATEWAY4}/32 dev lo"]


def make_uplink(place: int, interface: str, machine: str, *, ipv6: bool) -> list[str]:
    """Give what `ip` does inside the router for a veth uplink; `machine` is a path of the machine's namespace."""
    ours, theirs = uplink4(place)
    lines = [
        *be_gateway(),
        f"link add {UPLINK} type veth peer name {interface} netns {machine}",
        f"address add {ours}/30 dev {UPLINK}",
        f"link set {UPLINK} up",
        f"route add default via {theirs} dev {UPLINK}",
    ]
    if ipv6:
        ours6, theirs6 = uplink6(place)
        lines += [
            f"address add {ours6}/126 dev {UPLINK} nodad",
            f"route add default via {theirs6} dev {UPLINK}",
        ]
    return lines


def join_uplink(place: int, interface: str, *, ipv6: bool) -> list[str]:
    """Give what `ip` does in the machine's own network for the other end of the uplink."""
    lines = [f"address add {uplink4(place)[1]}/30 dev {interface}", f"link set {interface} up"]
    if ipv6:
        lines += [f"address add {uplink6(place)[1]}/126 dev {interface} nodad"]
    return lines


def own_addresses(addresses: Iterable[Address]) -> str:
    """Replace what is known to be this machine's own."""
    found = list(addresses)
    lines = [f"flush set inet {TABLE} own4", f"flush set inet {TABLE} own6"]
    lines += [f"add element inet {TABLE} own{each.version} {{ {each} }}" for each in found]
    return "\n".join(lines) + "\n"


def make_link(link: int, router: str, *, ipv6: bool) -> list[str]:
    """Give what `ip` does inside a sandbox's network; `router` is a path of the router's namespace."""
    lines = [
        f"link add {INSIDE} type veth peer name {link_name(link)} netns {router}",
        f"link set {INSIDE} up",
        f"address add {address4(link)}/32 dev {INSIDE}",
        f"route add {GATEWAY4} dev {INSIDE} scope link",
        f"route add default via {GATEWAY4} dev {INSIDE}",
    ]
    if ipv6:
        lines += [
            f"address add {address6(link)}/128 dev {INSIDE} nodad",
            f"route add {GATEWAY6} dev {INSIDE}",
            f"route add default via {GATEWAY6} dev {INSIDE}",
        ]
    return lines


def join_link(link: int, *, ipv6: bool) -> list[str]:
    """Give what `ip` does inside the router for the other end of the link."""
    name = link_name(link)
    lines = [f"link set {name} up", f"route add {address4(link)} dev {name} scope link"]
    if ipv6:
        # unlike ARP, neighbour discovery answers only for an address of the very link
        lines += [f"address add {GATEWAY6}/128 dev {name} nodad", f"route add {address6(link)} dev {name}"]
    return lines


def link_name(link: int) -> str:
    """Name the router's end of a link."""
    return f"m{link}"


def admit_all(link: int) -> str:
    """Let a link reach what is public."""
    return f'add element inet {TABLE} public {{ "{link_name(link)}" }}\n'


def admit_none(link: int) -> str:
    """Take `admit_all` back, also when it was never done: deleting what is not there would fail."""
    element = f'inet {TABLE} public {{ "{link_name(link)}" }}'
    return f"add element {element}\ndelete element {element}\n"


def forbid(link: int, addresses: Iterable[Address]) -> str:
    """Take `permit` back, also what has run out."""
    lines = []
    for each in addresses:
        element = f'inet {TABLE} names{each.version} {{ "{link_name(link)}" . {each} }}'
        lines += [f"add element {element}", f"delete element {element}"]
    return "".join(f"{each}\n" for each in lines)


def permit(link: int, addresses: Iterable[Address], *, for_s: int) -> str:
    """Let a link of an allow-list reach addresses for a while from now on."""
    lines = []
    for each in addresses:
        place, key = f"inet {TABLE} names{each.version}", f'"{link_name(link)}" . {each}'
        # deleting an element that is not there would undo the whole batch
        lines += [
            f"add element {place} {{ {key} timeout {for_s}s }}",
            f"delete element {place} {{ {key} }}",
            f"add element {place} {{ {key} timeout {for_s}s }}",
        ]
    return "\n".join(lines) + "\n"
