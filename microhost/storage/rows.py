"""Say in which columns the records of the meta database stand, and turn rows into records and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from microhost.records import Egress, ImportReport, Micro, Project, Revision, RevisionState, Schedule
from microhost.storage.database import Row
from microhost.storage.moments import from_us, to_us

PROJECT = "id, name, created_at, builds_allowed"
MICRO = (
    "id, project_id, name, runtime, path, created_at, subdomain, http_auth, visor, timeout_s, memory_mb,"
    " concurrency, packages_as_of, live_revision, egress"
)
REVISION = "id, micro_id, number, created_at, runtime, dependencies, code_bytes, files, report"
API_KEY = "micro_id, name, description, prefix, digest, created_at"
PROJECT_KEY = "project_id, name, digest, created_at, micro_id, sealed"
SCHEDULE = "micro_id, expression, anchored_at, next_at, running, running_tick"


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """Open a project's Bases and Drives. `sealed` holds the key itself, encrypted, only when a Micro owns
    it.
    """

    project_id: str
    name: str
    digest: bytes
    created_at: datetime
    micro_id: str | None = None
    sealed: bytes | None = None


def to_project(row: Row) -> Project:
    """Read a project."""
    return Project(row[0], row[1], from_us(row[2]), bool(row[3]))


def micro_values(micro: Micro) -> tuple[str | int | float | bool | None, ...]:
    """Give a Micro's values in the order of MICRO."""
    return (
        *(
            micro.id,
            micro.project_id,
            micro.name,
            micro.runtime,
            micro.path,
            to_us(micro.created_at),
            micro.subdomain,
        ),
        *(micro.http_auth, micro.visor, float(micro.timeout_s), micro.memory_mb, micro.concurrency),
        *(_date_text(micro.packages_as_of), micro.live_revision, _egress_text(micro.egress)),
    )


def to_micro(row: Row) -> Micro:
    """Read a Micro."""
    as_of = None if row[12] is None else date.fromisoformat(row[12])
    return Micro(
        id=row[0],
        project_id=row[1],
        name=row[2],
        runtime=row[3],
        path=row[4],
        created_at=from_us(row[5]),
        subdomain=row[6],
        http_auth=bool(row[7]),
        visor=bool(row[8]),
        timeout_s=row[9],
        memory_mb=row[10],
        concurrency=row[11],
        packages_as_of=as_of,
        live_revision=row[13],
        egress=_to_egress(row[14]),
    )


def _egress_text(egress: Egress) -> str:
    return egress if isinstance(egress, str) else ",".join(egress)


def _to_egress(text: str) -> Egress:
    return text if text in ("public", "none") else tuple(text.split(","))


def _date_text(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def to_revision(row: Row) -> Revision:
    """Read a revision, followed by whether it is live."""
    state: RevisionState = "live" if row[9] else "retired"
    return Revision(
        *(row[0], row[1], row[2], from_us(row[3]), row[4], row[5], row[6], row[7]),
        state=state,
        report=unpack_report(row[8]),
    )


def to_project_key(row: Row) -> ProjectKey:
    """Read a project key."""
    return ProjectKey(row[0], row[1], row[2], from_us(row[3]), row[4], row[5])


def to_schedule(row: Row) -> Schedule:
    """Read a schedule."""
    return Schedule(row[0], row[1], from_us(row[2]), from_us(row[3]), row[4], from_us(row[5]))


def pack_manifest(manifest: Mapping[str, str]) -> bytes:
    """Give {path: sha256} as it is kept."""
    return zlib.compress(json.dumps(manifest, sort_keys=True).encode())


def unpack_manifest(packed: bytes) -> dict[str, str]:
    """Read {path: sha256}."""
    return dict(json.loads(zlib.decompress(packed)))


def pack_log(log: str) -> bytes:
    """Give a deployment's log as it is kept."""
    return zlib.compress(log.encode("utf-8", "surrogatepass"))


def unpack_log(packed: bytes) -> str:
    """Read a deployment's log."""
    return zlib.decompress(packed).decode("utf-8", "surrogatepass")


def pack_report(report: ImportReport | None) -> bytes | None:
    """Give an import's report as it is kept."""
    return None if report is None else msgspec.json.encode(report)


def unpack_report(packed: bytes | None) -> ImportReport | None:
    """Read an import's report."""
    return None if packed is None else msgspec.json.decode(packed, type=ImportReport)
