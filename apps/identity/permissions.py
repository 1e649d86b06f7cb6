"""What may be done, and which role may do it. Services ask; pages only hide."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """`resource:action`, in alphabetical order."""

    ACCOUNT_MANAGE = "account:manage"
    AUDIT_READ = "audit:read"
    BREAK_GLASS = "break_glass:use"
    CA_DELETE = "ca:delete"
    CA_READ = "ca:read"
    CA_UPLOAD = "ca:upload"
    COVERAGE_READ = "coverage:read"
    DRIFT_IGNORE = "drift:ignore"
    REQUEST_APPROVE = "request:approve"
    REQUEST_CREATE = "request:create"
    REQUEST_CREATE_ANY_TEAM = "request:create_any_team"
    RUN_RETRY = "run:retry"
    TOKEN_CREATE = "token:create"  # noqa: S105  (a permission's name)
    WRITES_STOP = "writes:stop"


class Role(StrEnum):
    """Everyone signed in is a viewer; the other roles add to that."""

    VIEWER = "viewer"
    OWNER = "owner"
    ENGINEER = "engineer"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"
    RESPONDER = "responder"


READ = {Permission.CA_READ, Permission.COVERAGE_READ, Permission.TOKEN_CREATE}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset(READ),
    Role.OWNER: frozenset(READ | {Permission.REQUEST_CREATE}),
    Role.ENGINEER: frozenset(
        READ
        | {
            Permission.AUDIT_READ,
            Permission.CA_DELETE,
            Permission.CA_UPLOAD,
            Permission.DRIFT_IGNORE,
            Permission.REQUEST_APPROVE,
            Permission.REQUEST_CREATE,
            Permission.REQUEST_CREATE_ANY_TEAM,
            Permission.RUN_RETRY,
            Permission.WRITES_STOP,
        }
    ),
    Role.APPROVER: frozenset(READ | {Permission.AUDIT_READ, Permission.REQUEST_APPROVE}),
    Role.AUDITOR: frozenset(READ | {Permission.AUDIT_READ}),
    Role.ADMIN: frozenset(
        READ | {Permission.ACCOUNT_MANAGE, Permission.AUDIT_READ, Permission.RUN_RETRY, Permission.WRITES_STOP}
    ),
    Role.RESPONDER: frozenset(READ | {Permission.BREAK_GLASS}),
}

ROLE_LABELS: dict[Role, str] = {
    Role.VIEWER: "Viewer",
    Role.OWNER: "App owner",
    Role.ENGINEER: "Security engineer",
    Role.APPROVER: "Reviewer",
    Role.AUDITOR: "Auditor",
    Role.ADMIN: "Administrator",
    Role.RESPONDER: "Responder",
}

WHO_CAN: dict[Permission, str] = {
    Permission.ACCOUNT_MANAGE: "an administrator",
    Permission.AUDIT_READ: "an auditor, a reviewer, a security engineer or an administrator",
    Permission.BREAK_GLASS: "a responder on call",
    Permission.CA_DELETE: "a security engineer",
    Permission.CA_UPLOAD: "a security engineer",
    Permission.DRIFT_IGNORE: "a security engineer",
    Permission.REQUEST_APPROVE: "a security engineer or a reviewer who did not ask for the change",
    Permission.REQUEST_CREATE: "an app owner or a security engineer",
    Permission.RUN_RETRY: "a security engineer or an administrator",
    Permission.WRITES_STOP: "a security engineer or an administrator",
}


def allowed(roles: frozenset[Role], permission: Permission) -> bool:
    """Whether any of the roles grants the permission."""
    return any(permission in ROLE_PERMISSIONS[role] for role in roles | {Role.VIEWER})
