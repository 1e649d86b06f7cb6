"""The row of a break-glass; `models.py` brings it to Django with the others."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.identity.models import Person
from apps.inventory.models import Zone


class BreakGlass(models.Model):
    """One hostname let out of block without an approver, for a limited time, and the review that must follow.

    Whoever used it cannot review it: also by constraint.
    """

    request = models.OneToOneField("coverage.CoverageRequest", on_delete=models.PROTECT, related_name="break_glass")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="break_glasses")
    hostname = models.CharField(max_length=253)
    used_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    used_by_label = models.CharField(max_length=200)
    reason = models.TextField()
    started_at = models.DateTimeField()
    until = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    return_request = models.OneToOneField(
        "coverage.CoverageRequest", on_delete=models.PROTECT, null=True, blank=True, related_name="returned_break_glass"
    )
    reviewed_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    reviewed_by_label = models.CharField(max_length=200, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    review_comment = models.TextField(blank=True)

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(reviewed_by=None) | ~Q(reviewed_by=F("used_by")), name="coverage_break_glass_four_eyes"
            ),
            models.UniqueConstraint(
                fields=["zone", "hostname"], condition=Q(ended_at=None), name="coverage_break_glass_once_at_a_time"
            ),
        )

    def __str__(self) -> str:
        return f"break-glass on {self.hostname}"
