"""What the OpenAPI document cannot read from the code by itself. Loaded when the app is ready."""

from __future__ import annotations

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Every call needs a bearer token. Loading the class registers it with drf-spectacular."""

    target_class = "apps.api.authentication.BearerAuthentication"
    name = "apiToken"

    def get_security_definition(self, _auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made under Settings, API tokens."}
