"""Serve Micros, their settings, environments, API keys and schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.console.models import (
    ApiKeyGiven,
    ApiKeyList,
    ApiKeyShown,
    MicroChange,
    MicroList,
    MicroShown,
    NewApiKey,
    NewMicro,
    NewSchedule,
    RunShown,
    ScheduleShown,
    VariableNames,
    Variables,
)
from microhost.console.projects import PROJECT
from microhost.console.routes import API, Endpoint, Policy, answer
from microhost.console.services import Services
from microhost.errors import NotFoundError
from microhost.micros import invoke, keys
from microhost.micros.catalog import Settings
from microhost.micros.scheduler import Plan
from microhost.records import Micro
from microhost.settings import HTTPS_PORT

MICROS = f"{PROJECT}/micros"
MICRO = f"{MICROS}/{{micro}}"


def find_micro(services: Services, request: Request) -> Micro:
    """Give the Micro that the request's address names. Raises: NotFoundError."""
    project = services.catalog.get_project(request.path_params["project"])
    return services.catalog.get_micro(project, request.path_params["micro"])


class Micros:
    """Answer for Micros."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._catalog = services.catalog
        self._meta = services.stores.meta

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="GET",
                path=MICROS,
                policy=user,
                handler=self.show_all,
                summary="List Micros",
                gives=MicroList,
            ),
            Endpoint(
                method="POST",
                path=MICROS,
                policy=user,
                handler=self.create,
                summary="Make a Micro",
                takes=NewMicro,
                gives=MicroShown,
                status=201,
            ),
            Endpoint(
                method="GET",
                path=MICRO,
                policy=user,
                handler=self.show,
                summary="Show a Micro",
                gives=MicroShown,
            ),
            Endpoint(
                method="PATCH",
                path=MICRO,
                policy=user,
                handler=self.change,
                summary="Change a Micro's settings",
                takes=MicroChange,
                gives=MicroShown,
            ),
            Endpoint(
                method="DELETE",
                path=MICRO,
                policy=user,
                handler=self.delete,
                summary="Delete a Micro with its code and records",
                status=204,
            ),
            *self._environment_endpoints(),
            *self._key_endpoints(),
            *self._schedule_endpoints(),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give a project's Micros, oldest first."""
        project = self._catalog.get_project(request.path_params["project"])
        return MicroList(micros=[self._show(request, each) for each in self._meta.list_micros(project.id)])

    async def create(self, request: Request, body: NewMicro) -> BaseModel:
        """Make a Micro, closed to the public. Refuses: 400 for a bad name or runtime, 409 when the name is
        taken.
        """
        project = self._catalog.get_project(request.path_params["project"])
        micro, warnings = await self._catalog.create_micro(project, body.name, runtime=body.runtime)
        return self._show(request, micro, warnings)

    async def show(self, request: Request) -> BaseModel:
        """Show a Micro."""
        return self._show(request, find_micro(self._services, request))

    async def change(self, request: Request, body: MicroChange) -> BaseModel:
        """Change the settings that the body names, all or none.

        Refuses: 400 for what a setting cannot be, 409 when a name or sub-domain is taken.
        """
        chosen = {name: getattr(body, name) for name in body.model_fields_set}
        micro, warnings = await self._catalog.change_micro(
            find_micro(self._services, request).id, Settings(**chosen)
        )
        return self._show(request, micro, warnings)

    async def delete(self, request: Request) -> None:
        """Delete a Micro; no request reaches it any more when this has answered."""
        await self._catalog.delete_micro(find_micro(self._services, request))

    # Environment

    def _environment_endpoints(self) -> list[Endpoint]:
        path = f"{MICRO}/env"
        return [
            Endpoint(
                method="GET",
                path=path,
                policy=Policy.USER,
                handler=self.list_variables,
                summary="List the names of environment variables",
                gives=VariableNames,
            ),
            Endpoint(
                method="PUT",
                path=path,
                policy=Policy.USER,
                handler=self.change_variables,
                summary="Set environment variables, or delete them with null; live when answered",
                takes=Variables,
                gives=VariableNames,
            ),
        ]

    async def list_variables(self, request: Request) -> BaseModel:
        """Give the names; values are never shown."""
        micro = find_micro(self._services, request)
        return VariableNames(names=self._services.environments.names(micro.id))

    async def change_variables(self, request: Request, body: Variables) -> BaseModel:
        """Set and delete variables, all or none; the app runs with them when this has answered.

        Refuses: 400 for what cannot be set, 422 with the log when the app does not start with them.
        """
        micro = find_micro(self._services, request)
        return VariableNames(names=await self._services.deployer.change_environment(micro.id, body.root))

    # API keys

    def _key_endpoints(self) -> list[Endpoint]:
        path = f"{MICRO}/api-keys"
        return [
            Endpoint(
                method="GET",
                path=path,
                policy=Policy.USER,
                handler=self.list_keys,
                summary="List a Micro's API keys",
                gives=ApiKeyList,
            ),
            Endpoint(
                method="POST",
                path=path,
                policy=Policy.USER,
                handler=self.create_key,
                summary="Make an API key; it is shown once",
                takes=NewApiKey,
                gives=ApiKeyGiven,
                status=201,
            ),
            Endpoint(
                method="DELETE",
                path=f"{path}/{{name}}",
                policy=Policy.USER,
                handler=self.delete_key,
                summary="Delete an API key",
                status=204,
            ),
        ]

    async def list_keys(self, request: Request) -> BaseModel:
        """Give what is known of the Micro's keys, which is not the keys."""
        micro = find_micro(self._services, request)
        return ApiKeyList(
            api_keys=[
                ApiKeyShown(
                    name=key.name, description=key.description, prefix=key.prefix, created=key.created_at
                )
                for key in self._meta.list_api_keys(micro.id)
            ]
        )

    async def create_key(self, request: Request, body: NewApiKey) -> BaseModel:
        """Make a key, `prefix.secret`. Source: Deta docs, Micros > API Keys."""
        micro = find_micro(self._services, request)
        key, text = keys.new_api_key(micro.id, body.name, body.description, now=self._services.clock())
        await asyncio.to_thread(self._meta.add_api_key, key)
        self._catalog.announce(self._meta.get_micro(micro.id))
        return ApiKeyGiven(
            name=key.name,
            description=key.description,
            prefix=key.prefix,
            api_key=text,
            created=key.created_at,
        )

    async def delete_key(self, request: Request) -> None:
        """Delete a key; it opens nothing any more when this has answered."""
        micro = find_micro(self._services, request)
        await asyncio.to_thread(self._meta.delete_api_key, micro.id, request.path_params["name"])
        self._catalog.announce(self._meta.get_micro(micro.id))

    # Schedules

    def _schedule_endpoints(self) -> list[Endpoint]:
        path = f"{MICRO}/cron"
        return [
            Endpoint(
                method="GET",
                path=path,
                policy=Policy.USER,
                handler=self.show_schedule,
                summary="Show a Micro's schedule and its next times",
                gives=ScheduleShown,
            ),
            Endpoint(
                method="PUT",
                path=path,
                policy=Policy.USER,
                handler=self.set_schedule,
                summary="Set a Micro's schedule: a rate or a cron expression of six fields",
                takes=NewSchedule,
                gives=ScheduleShown,
            ),
            Endpoint(
                method="DELETE",
                path=path,
                policy=Policy.USER,
                handler=self.remove_schedule,
                summary="Remove a Micro's schedule",
                status=204,
            ),
            Endpoint(
                method="POST",
                path=f"{path}/run",
                policy=Policy.USER,
                handler=self.run_cron,
                summary="Call a Micro's cron handler now and give what it returned and printed",
                gives=RunShown,
            ),
            Endpoint(
                method="GET",
                path=f"{API}/cron",
                policy=Policy.USER,
                handler=self.check_expression,
                summary="Show what a rate or a cron expression means, and when it would run, without setting it",
                gives=ScheduleShown,
                query=("expression",),
            ),
        ]

    async def show_schedule(self, request: Request) -> BaseModel:
        """Show a Micro's schedule. Refuses: 404 when it has none."""
        plan = self._services.schedules.get(find_micro(self._services, request).id)
        if plan is None:
            raise NotFoundError("The Micro has no schedule.")
        return _show_plan(plan)

    async def check_expression(self, request: Request) -> BaseModel:
        """Show what `?expression=` would be if it were set now. Refuses: 400 with the reason."""
        return _show_plan(self._services.schedules.check(request.query_params.get("expression", "")))

    async def set_schedule(self, request: Request, body: NewSchedule) -> BaseModel:
        """Set a Micro's schedule and show its next times. Refuses: 400 with the reason."""
        await self._services.schedules.set(find_micro(self._services, request).id, body.expression)
        return await self.show_schedule(request)

    async def remove_schedule(self, request: Request) -> None:
        """Remove a Micro's schedule; nothing happens when it has none."""
        await self._services.schedules.remove(find_micro(self._services, request).id)

    async def run_cron(self, request: Request) -> Response:
        """Call the cron handler, whether there is a schedule or not. Refuses: 502 {"errors", "cause", "log"}."""
        micro = find_micro(self._services, request)
        done = await invoke.tick(self._services.pool, micro.id, now=self._services.clock())
        return answer({"response": msgspec.Raw(done.result.encode()), "logs": done.log})

    def _show(self, request: Request, micro: Micro, warnings: Sequence[str] = ()) -> MicroShown:
        return show_micro(self._services, request, micro, warnings)


def show_micro(
    services: Services, request: Request, micro: Micro, warnings: Sequence[str] = ()
) -> MicroShown:
    """Show a Micro as the API does, its addresses as the asker reaches it, with what its owner should know."""
    micro_url = partial(services.settings.micro_url, tls_port=_find_tls_port(request))
    plan = services.schedules.get(micro.id)
    return MicroShown(
        id=micro.id,
        name=micro.name,
        project=micro.project_id,
        project_name=services.catalog.get_project(micro.project_id).name,
        runtime=micro.runtime,
        path=micro.path,
        subdomain=micro.subdomain,
        endpoint=micro_url(micro.path),
        subdomain_endpoint=micro_url(micro.subdomain) if micro.subdomain else None,
        http_auth=micro.http_auth,
        visor=micro.visor,
        cron=plan.expression if plan else None,
        state=services.pool.state(micro.id) if micro.live_revision else "new",
        timeout_s=micro.timeout_s,
        memory_mb=micro.memory_mb,
        concurrency=micro.concurrency,
        packages_as_of=micro.packages_as_of,
        egress=micro.egress if isinstance(micro.egress, str) else list(micro.egress),
        live_deployment=micro.live_revision,
        created_at=micro.created_at,
        warnings=list(warnings),
    )


def _show_plan(plan: Plan) -> ScheduleShown:
    return ScheduleShown(
        expression=plan.expression,
        description=plan.description,
        next=list(plan.next_times),
        running=plan.running,
    )


def _find_tls_port(request: Request) -> int | None:
    """Give the port by which the asker reaches us over HTTPS, be it that of a proxy; None over HTTP."""
    return (request.url.port or HTTPS_PORT) if request.url.scheme == "https" else None
