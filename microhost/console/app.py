"""Put the console's application together: everything that it serves stands in one table."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from microhost.console.access import Access
from microhost.console.bases import BaseEndpoints
from microhost.console.deployments import Deployments
from microhost.console.domains import Domains
from microhost.console.drives import DriveEndpoints
from microhost.console.entering import Entering
from microhost.console.guard import Guard
from microhost.console.logins import LoginEndpoints
from microhost.console.micros import Micros
from microhost.console.openapi import describe
from microhost.console.projects import Projects
from microhost.console.repositories import RepositoryEndpoints
from microhost.console.routes import API, Endpoint, Policy, answer, build
from microhost.console.running import Running
from microhost.console.sample import Sample
from microhost.console.services import Services
from microhost.console.sessions import Sessions
from microhost.console.site import Site
from microhost.console.streams import Streams
from microhost.console.users import Users
from microhost.console.visor import VisorEndpoints


def create_app(services: Services) -> Starlette:
    """Make the application that serves the JSON API, the host's health and the console's pages."""
    return build(list_endpoints(services), Guard(services.accounts), Site())


def list_endpoints(services: Services) -> list[Endpoint]:
    """Give the table of everything that is served, the table's own description included."""
    streams = Streams()
    endpoints = [
        endpoint
        for part in (
            Projects(services),
            Micros(services),
            Deployments(services),
            RepositoryEndpoints(services),
            VisorEndpoints(services, streams),
            Sample(services),
            Domains(services),
            Running(services, streams),
            BaseEndpoints(services),
            DriveEndpoints(services),
            Access(services),
            LoginEndpoints(services),
            Sessions(services),
            Users(services),
            Entering(services),
        )
        for endpoint in part.endpoints()
    ]

    async def openapi(request: Request) -> Response:
        return answer(document)

    endpoints.append(
        Endpoint(
            method="GET",
            path=f"{API}/openapi.json",
            policy=Policy.PUBLIC,
            handler=openapi,
            summary="Describe this API",
        )
    )
    document = describe(endpoints)
    return endpoints
