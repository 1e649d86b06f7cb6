"""The words that pages use for states, guards and audit actions, with the icon and the tone of each."""

from __future__ import annotations

# word -> (shown word, icon, tone)
ANSWERS = {
    "locked_out": ("Locked out", "lock", "bad"),
    "not_protected": ("Not protected", "failed", "bad"),
    "changing": ("Changing", "pushing", "info"),
    "drift": ("Drift", "missing", "warn"),
    "not_enforced": ("Not enforced", "shieldoff", "warn"),
    "protected": ("Protected", "shield", "ok"),
    "unknown": ("Unknown", "unknown", "neu"),
}
ASSOCIATIONS = {
    "queued": ("Queued", "queued", "neu"),
    "pushing": ("Pushing", "pushing", "info"),
    "live": ("Live", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "missing": ("Missing", "missing", "warn"),
    "unexpected": ("Unexpected", "extra", "warn"),
    "removing": ("Removing", "pushing", "info"),
}
RULES = {
    "enforced": ("Enforced", "shield", "ok"),
    "logging": ("Logging", "info", "info"),
    "paused": ("Paused", "shieldoff", "warn"),
    "no_rule": ("No rule", "shieldoff", "warn"),
    "queued": ("Queued", "queued", "neu"),
    "altered": ("Altered", "missing", "warn"),
}
REQUESTS = {
    "planning": ("Planning", "queued", "neu"),
    "waiting": ("Waiting for 1 approval", "clock", "info"),
    "stale": ("Plan out of date", "warn", "warn"),
    "approved": ("Approved", "tick", "info"),
    "applying": ("Applying", "pushing", "info"),
    "done": ("Done", "ok", "ok"),
    "partly_done": ("Partly done", "warn", "warn"),
    "failed": ("Failed", "failed", "bad"),
    "rejected": ("Rejected", "x", "neu"),
    "withdrawn": ("Withdrawn", "x", "neu"),
}
CAS = {
    "queued": ("Queued", "queued", "neu"),
    "pushing": ("Pushing", "pushing", "info"),
    "live": ("Live", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "deleting": ("Deleting", "pushing", "info"),
    "deleted": ("Deleted", "x", "neu"),
    "gone": ("Gone at Cloudflare", "missing", "bad"),
}
CHANGES = {
    "applying": ("Applying", "pushing", "info"),
    "verifying": ("Waiting for the edge", "clock", "info"),
    "applied": ("Applied", "ok", "ok"),
    "refused": ("Refused by a guard", "failed", "bad"),
    "superseded": ("Superseded", "x", "neu"),
    "diverged": ("Diverged", "warn", "bad"),
    "failed": ("Failed", "failed", "bad"),
}
STEPS = {
    "not_started": ("Not started", "queued", "neu"),
    "running": ("Running", "pushing", "info"),
    "done": ("Done", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "unknown": ("Unknown", "unknown", "warn"),
}
DRIFTS = {
    "missing": ("Missing", "missing", "warn"),
    "unexpected": ("Unexpected", "extra", "warn"),
    "altered": ("Rule changed", "shieldoff", "warn"),
}
REHEARSALS = {
    "accepted": ("Accepted", "ok", "ok"),
    "accepted_not_pinned": ("Accepted, rule not pinned", "warn", "warn"),
    "accepted_not_enforced": ("Accepted, not enforced", "shieldoff", "warn"),
    "refused_issuer_not_pinned": ("Refused: issuer not pinned", "failed", "bad"),
    "refused_no_association": ("Refused: no association", "failed", "bad"),
    "refused_certificate": ("Refused: certificate", "failed", "bad"),
}
PROBES = {
    "agrees": ("Agrees", "ok", "ok"),
    "contradicts": ("Disagrees", "failed", "bad"),
    "cannot_tell": ("Cannot tell", "unknown", "neu"),
}
NOTICES = {
    "waiting": ("Waiting", "clock", "info"),
    "sent": ("Sent", "ok", "ok"),
    "not_delivered": ("Not delivered", "failed", "bad"),
}
TABLES = {
    "answer": ANSWERS,
    "association": ASSOCIATIONS,
    "rule": RULES,
    "request": REQUESTS,
    "ca": CAS,
    "change": CHANGES,
    "step": STEPS,
    "drift": DRIFTS,
    "rehearsal": REHEARSALS,
    "probe": PROBES,
    "notice": NOTICES,
}

ACTS = {
    "ca:admitted": "uploaded the CA",
    "ca:adopted": "adopted the CA",
    "ca:push_started": "began sending the CA to Cloudflare",
    "ca:live": "saw the CA live",
    "ca:push_failed": "could not send the CA",
    "ca:retried": "tried the upload again",
    "ca:upload_sent": "sent the CA to Cloudflare",
    "ca:deletion_sent": "sent the deletion to Cloudflare",
    "ca:answer_lost": "got no answer and reads on",
    "ca:write_refused": "was refused by Cloudflare",
    "ca:write_held_back": "was held back by the request limit",
    "ca:replacement_set": "said that it takes over from another CA",
    "ca:overlap_requested": "asked for the new CA on every hostname",
    "ca:clients_confirmed": "confirmed that the clients moved",
    "ca:release_requested": "asked for the hostnames to leave the CA",
    "ca:expiry_reached": "saw the CA come near its end",
    "ca:deletion_requested": "asked for the CA to be deleted",
    "ca:deletion_parked": "stopped the deletion",
    "ca:deleted": "deleted the CA",
    "ca:gone": "found the CA gone at Cloudflare",
    "request:created": "asked for this",
    "request:planned": "built plan",
    "request:approved": "approved",
    "request:rejected": "rejected this",
    "request:withdrawn": "withdrew this",
    "request:outdated": "put the plan out of date",
    "request:apply_started": "began to apply it",
    "request:completed": "saw it at the edge: done",
    "request:failed": "could not finish it",
    "request:retried": "tried it again",
    "request:waits_for_override": "holds it until somebody lets a guard pass",
    "request:undo_asked": "asked for this change to be undone",
    "guard:overridden": "let a guard pass",
    "guard:override_used": "used the override",
    "zone:limits_set": "set the removal limits of the zone",
    "plan:stored": "stored the change before sending it",
    "plan:applied": "sent the change and read it back",
    "plan:refused": "refused the change",
    "plan:superseded": "gave the change up for a newer one",
    "plan:failed": "could not send the change",
    "plan:diverged": "did not find what was sent",
    "break_glass:used": "broke the glass",
    "break_glass:returned": "returned it to block",
    "break_glass:reviewed": "closed the review",
    "hostname:locked_out": "found every client locked out",
    "hostname:lock_out_ended": "saw the lock-out end",
    "drift:found": "found drift",
    "healing:stopped": "stopped healing: somebody else keeps changing this list",
    "account:healing_set": "changed the healing of the account",
    "account:read_token_stored": "gave the account a token that only reads",
    "account:read_token_replaced": "replaced the account's read token",
    "account:read_token_removed": "removed the account's read token",
    "account:read_token_checked": "found the permissions of the read token changed",
    "drift:ignored": "set drift aside for seven days",
    "drift:shown": "put drift back among the others",
    "drift:resolved": "saw the drift end",
    "probe:setting_changed": "changed the probing of the account",
    "probe:asked": "asked for a probe",
    "probe:contradicts": "found that the probe disagrees",
    "probe:contradiction_ended": "saw the probe's contradiction end",
    "notice:not_delivered": "could not tell somebody",
    "notice:retried": "had a notice sent again",
    "webhook:added": "added a webhook",
    "webhook:removed": "removed a webhook",
    "person:address_set": "changed their own mail address",
    "edge:list_changed_outside": "found the list changed outside the portal",
    "edge:rule_changed_outside": "found a block rule changed outside the portal",
}


GUARDS = {
    "ratio": "Part of a list at once",
    "window": "Part of a list within the window",
    "total": "All lists within the window",
    "pairs": "Number of lists within the window",
}
