"""Four eyes in the database: an approval by the requester is refused whatever wrote it, and so is an override by the
requester or the approver.

The check constraints on the rows compare columns of their own; these triggers compare with the request and the
approval themselves, and keep a request's requester from being changed afterwards.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import RunPython
from django.db.migrations.operations.base import Operation

APPROVAL, REQUEST, OVERRIDE = "coverage_approval", "coverage_coveragerequest", "coverage_guardoverride"
SIX_EYES = "an override is given by neither the requester nor the approver"
MESSAGE = "the person who asked cannot approve"
FIXED = "the requester of a request cannot be changed"

SQLITE_INSTALL = [
    f"CREATE TRIGGER IF NOT EXISTS coverage_four_eyes_{verb.lower()} BEFORE {verb} ON {APPROVAL} "  # noqa: S608
    f"WHEN NEW.approved_by_id = (SELECT requested_by_id FROM {REQUEST} WHERE id = NEW.request_id) "
    f"OR NEW.requested_by_id <> (SELECT requested_by_id FROM {REQUEST} WHERE id = NEW.request_id) "
    f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    for verb in ("INSERT", "UPDATE")
] + [
    f"CREATE TRIGGER IF NOT EXISTS coverage_requester_fixed BEFORE UPDATE OF requested_by_id ON {REQUEST} "
    f"WHEN NEW.requested_by_id <> OLD.requested_by_id BEGIN SELECT RAISE(ABORT, '{FIXED}'); END"
]
SQLITE_REMOVE = [
    "DROP TRIGGER IF EXISTS coverage_four_eyes_insert",
    "DROP TRIGGER IF EXISTS coverage_four_eyes_update",
    "DROP TRIGGER IF EXISTS coverage_requester_fixed",
]

POSTGRESQL_INSTALL = [
    f"""CREATE OR REPLACE FUNCTION coverage_four_eyes() RETURNS trigger AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM {REQUEST} r WHERE r.id = NEW.request_id
                   AND (r.requested_by_id = NEW.approved_by_id OR r.requested_by_id <> NEW.requested_by_id)) THEN
            RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$ LANGUAGE plpgsql""",  # noqa: S608
    f"CREATE OR REPLACE TRIGGER coverage_four_eyes BEFORE INSERT OR UPDATE ON {APPROVAL} "
    "FOR EACH ROW EXECUTE FUNCTION coverage_four_eyes()",
    f"""CREATE OR REPLACE FUNCTION coverage_requester_fixed() RETURNS trigger AS $$
    BEGIN
        RAISE EXCEPTION '{FIXED}' USING ERRCODE = 'integrity_constraint_violation';
    END $$ LANGUAGE plpgsql""",
    f"CREATE OR REPLACE TRIGGER coverage_requester_fixed BEFORE UPDATE ON {REQUEST} "
    "FOR EACH ROW WHEN (NEW.requested_by_id IS DISTINCT FROM OLD.requested_by_id) "
    "EXECUTE FUNCTION coverage_requester_fixed()",
]
POSTGRESQL_REMOVE = [
    f"DROP TRIGGER IF EXISTS coverage_four_eyes ON {APPROVAL}",
    f"DROP TRIGGER IF EXISTS coverage_requester_fixed ON {REQUEST}",
]


# An override's row is right when its approval is one of its request, and its three people are three.
_WRONG = f"""NOT EXISTS (
    SELECT 1 FROM {APPROVAL} a JOIN {REQUEST} r ON r.id = a.request_id
    WHERE a.id = NEW.approval_id AND r.id = NEW.request_id
    AND a.approved_by_id = NEW.approved_by_id AND r.requested_by_id = NEW.requested_by_id
    AND NEW.given_by_id <> a.approved_by_id AND NEW.given_by_id <> r.requested_by_id)"""  # noqa: S608
SQLITE_OVERRIDES = [
    f"CREATE TRIGGER IF NOT EXISTS coverage_six_eyes_{verb.lower()} BEFORE {verb} ON {OVERRIDE} "
    f"WHEN {_WRONG} BEGIN SELECT RAISE(ABORT, '{SIX_EYES}'); END"
    for verb in ("INSERT", "UPDATE")
]
POSTGRESQL_OVERRIDES = [
    f"""CREATE OR REPLACE FUNCTION coverage_six_eyes() RETURNS trigger AS $$
    BEGIN
        IF {_WRONG} THEN
            RAISE EXCEPTION '{SIX_EYES}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$ LANGUAGE plpgsql""",
    f"CREATE OR REPLACE TRIGGER coverage_six_eyes BEFORE INSERT OR UPDATE ON {OVERRIDE} "
    "FOR EACH ROW EXECUTE FUNCTION coverage_six_eyes()",
]
SQLITE_OVERRIDES_OFF = [
    "DROP TRIGGER IF EXISTS coverage_six_eyes_insert",
    "DROP TRIGGER IF EXISTS coverage_six_eyes_update",
]
POSTGRESQL_OVERRIDES_OFF = [f"DROP TRIGGER IF EXISTS coverage_six_eyes ON {OVERRIDE}"]


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in place. Safe to call twice, and by migrations from before there were overrides."""
    sqlite = connection.vendor == "sqlite"
    _run(connection, SQLITE_INSTALL if sqlite else POSTGRESQL_INSTALL)
    if OVERRIDE in connection.introspection.table_names():
        _run(connection, SQLITE_OVERRIDES if sqlite else POSTGRESQL_OVERRIDES)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers away, for a migration back."""
    sqlite = connection.vendor == "sqlite"
    _run(connection, SQLITE_REMOVE if sqlite else POSTGRESQL_REMOVE)
    if OVERRIDE in connection.introspection.table_names():
        _run(connection, SQLITE_OVERRIDES_OFF if sqlite else POSTGRESQL_OVERRIDES_OFF)


def around(*operations: Operation) -> list[Operation]:
    """A migration's operations with the triggers out of the way.

    SQLite makes a changed table anew, which a trigger that names the table forbids.
    """

    def off(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        remove(editor.connection)

    def on(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
        install(editor.connection)

    return [RunPython(off, on), *operations, RunPython(on, off)]


def _run(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
