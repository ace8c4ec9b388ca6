"""Sign-in with a password chosen at first use, for people who are declared; nobody else gets in.

FirstUseAuthenticator's pages and rules, over `PasswordStore`: hashing takes a good part of a second and is done beside
the event loop, and a hub killed in the middle of a sign-in leaves a whole store.
"""

from __future__ import annotations

import asyncio
import dbm
from typing import Any

from firstuseauthenticator import FirstUseAuthenticator
from traitlets import default

from hubd.hubside.passwords import LONGEST, PasswordStore, hash_password, is_password


class HubdAuthenticator(FirstUseAuthenticator):  # type: ignore[misc]  # firstuseauthenticator has no types
    """Everybody whom the daemon has made a user of the hub may sign in."""

    @default("allow_all")
    def _allow_all(self) -> bool:
        return False

    @default("allow_existing_users")
    def _allow_existing_users(self) -> bool:
        return True

    @default("create_users")
    def _create_users(self) -> bool:
        return False

    @default("check_passwords_on_startup")
    def _check_passwords_on_startup(self) -> bool:
        # It mends stores older than any of ours, in place, so that a kill could leave half of it.
        return False

    def _user_exists(self, username: str) -> bool:
        # The base class asks the hub's database, which JupyterHub will not let it do for long; the hub tells us each
        # user it has, at its start and when one is added.
        return username in self.allowed_users

    @property
    def _store(self) -> PasswordStore:
        return PasswordStore(self.dbm_path)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The user's name when the password is right or is the first one; None otherwise."""
        name: str = self.normalize_username(data["username"])
        if not self.create_users and not self._user_exists(name):
            return None
        try:
            hashed = self._store.get(name)
            if hashed is not None:
                return name if await asyncio.to_thread(is_password, data["password"], hashed) else None
            problem = await self._choose(name, data["password"])
        except (OSError, *dbm.error) as error:
            self.log.error("The store of passwords %s cannot be used: %s", self.dbm_path, error)
            problem = "Passwords cannot be checked at the moment. Please tell whoever runs this hub."
        if problem:
            handler.custom_login_error = problem
        return None if problem else name

    def delete_user(self, user: Any) -> None:
        """Forget the password, and that the name was allowed in (the base class's own method does the latter only)."""
        self._store.remove(user.name)
        self.allowed_users.discard(user.name)

    def reset_password(self, username: str, new_password: str) -> str:
        """Store another password; the sentence is shown to the user, and "success" in it is looked for."""
        problem = self._problem(new_password)
        if problem:
            return problem
        self._store.put(username, hash_password(new_password), replace=True)
        return "Your password has been changed successfully!"

    def _problem(self, password: str) -> str:
        if not self._validate_password(password):
            return f"Please choose a password of at least {self.min_password_length} characters."
        if len(password.encode()) > LONGEST or "\0" in password:
            return f"Please choose a shorter password: at most {LONGEST} characters."
        return ""

    async def _choose(self, name: str, password: str) -> str:
        problem = self._problem(password)
        if problem:
            return problem
        hashed = await asyncio.to_thread(hash_password, password)
        if self._store.put(name, hashed, replace=False):
            return ""
        return "Somebody has just chosen a password for this name. Please sign in with it."
