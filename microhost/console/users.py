"""Serve users to the owner: invite members, invite them again, delete them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request

from microhost.console.models import Given, Taken
from microhost.console.routes import API, Endpoint, Policy
from microhost.console.services import Services
from microhost.records import User

USERS = f"{API}/users"
PAGE = "/invitation"


class NewUser(Taken):
    """Ask for a member."""

    name: str


class MemberShown(Given):
    """Show a user; one without a password has not accepted the invitation yet (or is the owner)."""

    id: str
    name: str
    role: Literal["owner", "member"]
    created_at: datetime
    has_password: bool

    @classmethod
    def of(cls, user: User) -> MemberShown:
        """Show `user`."""
        return cls(
            id=user.id,
            name=user.name,
            role=user.role,
            created_at=user.created_at,
            has_password=user.has_password,
        )


class MemberList(Given):
    """Show all users, the owner first."""

    users: list[MemberShown]


class Invited(Given):
    """Hand out an invitation's address, once; it is valid for a week and until it is used."""

    user: MemberShown
    invitation: str


class Users:
    """Answer for users."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._accounts = services.accounts

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        return [
            Endpoint(
                method="GET",
                path=USERS,
                policy=Policy.OWNER,
                handler=self.show_all,
                summary="List users",
                gives=MemberList,
            ),
            Endpoint(
                method="POST",
                path=USERS,
                policy=Policy.OWNER,
                handler=self.invite,
                summary="Invite a member, who may do everything but manage users",
                takes=NewUser,
                gives=Invited,
                status=201,
            ),
            Endpoint(
                method="POST",
                path=f"{USERS}/{{user}}/invitation",
                policy=Policy.OWNER,
                handler=self.invite_again,
                summary="Invite a member again, who lost the invitation or forgot the password",
                gives=Invited,
                status=201,
            ),
            Endpoint(
                method="DELETE",
                path=f"{USERS}/{{user}}",
                policy=Policy.OWNER,
                handler=self.delete,
                summary="Delete a member with all sessions and tokens",
                status=204,
            ),
        ]

    async def show_all(self, request: Request) -> BaseModel:
        """Give every user."""
        return MemberList(users=[MemberShown.of(each) for each in self._accounts.users.list_users()])

    async def invite(self, request: Request, body: NewUser) -> BaseModel:
        """Make a member. Refuses: 400 for a bad name, 409 for one that is taken."""
        user, code = await self._accounts.invite(body.name)
        return Invited(user=MemberShown.of(user), invitation=_address(request, code))

    async def invite_again(self, request: Request) -> BaseModel:
        """Give another invitation; a password that there is stays valid until it is used. Refuses: 404, 409."""
        user, code = await self._accounts.invite_again(request.path_params["user"])
        return Invited(user=MemberShown.of(user), invitation=_address(request, code))

    async def delete(self, request: Request) -> None:
        """Delete a member; nothing of theirs opens anything when this has answered. Refuses: 404, 409."""
        await self._accounts.delete_user(request.path_params["user"])


def _address(request: Request, code: str) -> str:
    """Give the page's address, under the name that the owner uses; a fragment reaches no log and no referrer."""
    return f"{request.url.scheme}://{request.headers['host']}{PAGE}#{code}"
