"""`manage.py add_person NAME --role ROLE`: a local account, with a password that is shown once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.errors import PortalError
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Role
from apps.identity.services import create_person


class Command(BaseCommand):
    help = "Add a person who signs in with a local password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", action="append", choices=[role.value for role in Role], required=True)
        parser.add_argument("--team", action="append", default=[], help="slug of a team, made when it is new")
        parser.add_argument("--display-name", default="")
        parser.add_argument("--email", default="", help="where notices go")

    def handle(self, *_args: Any, **options: Any) -> None:
        password = secrets.token_urlsafe(18)
        teams = [Team.objects.get_or_create(slug=slug, defaults={"name": slug})[0] for slug in options["team"]]
        try:
            create_person(
                by=Actor("portal", "portal:cli", "Portal (command line)", "cli"), username=options["name"],
                password=password, display_name=options["display_name"], roles=[Role(r) for r in options["role"]],
                teams=teams, email=options["email"],
            )  # fmt: skip
        except PortalError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"{options['name']} may sign in with the password {password}. It is not shown again.")
