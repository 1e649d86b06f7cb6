"""The database's clock, for times that one process stores and another compares (INV-28)."""

from __future__ import annotations

from datetime import datetime

from django.db.models.functions import Now
from django.db.models.sql import Query


def database_now() -> datetime:
    """What time it is by the database, whatever this machine's clock says."""
    query = Query(None)
    query.add_annotation(Now(), "now")
    (row,) = query.get_compiler("default").results_iter()
    found: datetime = row[0]
    return found
