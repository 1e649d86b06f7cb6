"""What chaos may do: people at the API, the far side at the control port, the portal's parts by signal.

Each act says whether it did anything. What it draws comes from `random`, which is made anew for each act, so that a
seed plays the same acts whatever the ones before met.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing
from typing import Any

from apps.sandbox.tokens import ALL_PERMISSIONS
from tests.certs import Made, make_ca
from tests.faults.driver import Driver, Refused

# Faults that a careful client can tell from a good answer. A reading that lies cannot be told, by anybody.
FAULTS: list[str | dict[str, Any]] = [
    *[{"fault": "status", "status": status} for status in (500, 502, 503, 504, 520, 524)],
    "timeout", "reset", "close", "truncated_json", "truncated_body", "chunked_cut", "malformed_json", "null_body",
    "missing_result", "duplicate_keys", "wrong_types", "not_success", {"fault": "trickle", "bytes_per_s": 5},
    {"fault": "rate_limited", "retry_after": "2", "seconds": 2}, {"fault": "refuse", "seconds": 1},
    {"fault": "delay", "ms": 1500},
]  # fmt: skip
# A refused read would tell of a world that is not so; a refused write is the far side's right.
REFUSALS = [{"fault": "status", "status": status} for status in (400, 403, 404, 409)]
PASSING = "chaos-passing.example"
EXTRA_CAS = 5
REPLACE_TOKEN = """
import sys
from apps.identity.actors import Actor
from apps.inventory.models import Account
from apps.inventory.services import replace_token
replace_token(by=Actor("portal", "portal:test", "Portal (test)", "cli"), account_id=Account.objects.get().pk,
              token=sys.argv[1])
"""


class Acts:
    """One portal and what chaos did to it that peace has to undo."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.random = random.Random()
        self.cas: list[dict[str, Any]] = []
        self.roots: dict[str, Made] = {}
        self.zones: list[str] = []
        self.token_is_lost = False

    def set_up(self) -> None:
        self.driver.edge.switch(quota=50)
        fresh = [f"chaos-{number}.example" for number in range(3)]
        self.driver.new_zones(*fresh, PASSING)
        self.zones = [*self.driver.edge.zones, *fresh, PASSING]
        self.cas = [self.driver.ca(self._admitted(f"Chaos Root {number}"), "live") for number in range(2)]

    # People

    def ask(self) -> bool:
        zone = self.random.choice(self.zones)
        names = [f"h{self.random.randrange(8)}.{zone}" for _ in range(self.random.randint(1, 2))]
        kind = self.random.choice(["cover", "cover", "uncover"])
        mode = self.random.choice(["verify", "log", "block"])
        body = {
            "kind": kind, "ca": self.random.choice(self.cas)["id"], "hostnames": sorted(set(names)), "mode": mode,
            "reason": "Chaos", "override": "Chaos" if mode == "block" else "",
        }  # fmt: skip
        self.driver.send("/requests/", body, "owner")
        return True

    def approve(self) -> bool:
        done = False
        for row in self.requests("waiting")[:3]:
            try:
                done = bool(self.driver.approve(self.driver.request(row)))
            except Refused as refused:
                if refused.status != 409:
                    raise
        return done

    def rebuild(self) -> bool:
        rows = self.requests("stale")[:2]
        for row in rows:
            self.driver.send(f"/requests/{row['id']}/rebuild/", {}, "owner")
        return bool(rows)

    def withdraw(self) -> bool:
        rows = [row for state in ("waiting", "stale", "approved") for row in self.requests(state)]
        if not rows:
            return False
        self.driver.send(f"/requests/{self.random.choice(rows)['id']}/withdraw/", {}, "owner")
        return True

    def admit(self) -> bool:
        if len(self.roots) >= EXTRA_CAS + 2:
            return False
        self.cas.append(self._admitted(f"Chaos Extra {len(self.roots)}"))
        return True

    def stop_writes(self) -> bool:
        body = {"scope": "everything", "reason": "Chaos"}
        zones = [row["id"] for row in self.driver.zones()]
        if zones and self.random.random() < 0.5:
            body = {"scope": "zone", "zone": self.random.choice(zones), "reason": "Chaos"}
        self.driver.send("/stops/", body, "engineer")
        return True

    def lift(self) -> bool:
        stops = self.driver.get("/stops/")["results"]
        for stop in stops:
            self.driver.send(f"/stops/{stop['id']}/lift/", {"reason": "Chaos, looked at"}, "admin")
        return bool(stops)

    # The far side

    def foreign_edit(self) -> bool:
        zone, ca = self.random.choice(self.zones), self.random.choice(self.cas[:2])
        named = self.random.choice([f"h1.{zone}", f"foreign.{zone}"])
        if self.zone_is_gone and zone == PASSING:
            return False
        self.driver.edge.edit(zone, ca["cloudflare_id"], sorted(set(self.driver.at_edge(zone, ca)) ^ {named}))
        return True

    def foreign_rule(self) -> bool:
        """Somebody adds a rule of their own, or changes or deletes any rule, ours too."""
        zone, what = self.random.choice(self.zones), self.random.choice(["add", "add", "edit", "delete"])
        if self.zone_is_gone and zone == PASSING:
            return False
        if what == "add":
            host, action = f"foreign.{zone}", self.random.choice(["log", "skip", "block"])
            at = {"position": {"index": 1}} if self.random.random() < 0.5 else {}
            rule = {"expression": f'(http.host eq "{host}")', "action": action, "description": "Somebody's"}
            self.driver.edge.add_rule(zone, rule, **at)
            return True
        rules = self.driver.edge.rules(zone)
        if not rules:
            return False
        rule = self.random.choice(rules)
        if what == "delete":
            self.driver.edge.delete_rule(zone, rule["id"])
        else:
            self.driver.edge.edit_rule(zone, rule["id"], enabled=not rule["enabled"])
        return True

    def fault(self) -> bool:
        method = self.random.choice(["GET", "PUT", "PUT", "POST", "PATCH"])
        do = self.random.choice(FAULTS if method == "GET" else [*FAULTS, *REFUSALS])
        played = {"fault": do} if isinstance(do, str) else dict(do)
        match = {"method": method, "zone": self.random.choice(self.zones)}
        if self.random.random() < 0.2 or (self.zone_is_gone and match["zone"] == PASSING):
            del match["zone"]
        self.driver.edge.faults({"match": match, "do": played})
        return True

    def storm(self) -> bool:
        seed = self.random.randrange(1000)
        self.driver.edge.faults(random={"probability": 0.15, "seed": seed, "kinds": FAULTS})
        return True

    def calm(self) -> bool:
        self.driver.edge.clear_faults()
        return True

    def edge_down(self) -> bool:
        self.driver.edge.switch(down=True)
        time.sleep(self.random.uniform(0.2, 2))
        self.driver.edge.switch(down=False)
        return True

    def lag(self) -> bool:
        self.driver.edge.lag(self.random.choice([2, 5, 15]))
        return True

    def lag_ends(self) -> bool:
        self.driver.edge.lag(0)
        return True

    def lose_token(self) -> bool:
        """Revoked, or without one of its permissions."""
        self.token_is_lost = True
        lost = self.random.choice([None, *ALL_PERMISSIONS])
        if lost is None:
            self.driver.edge.revoke_token()
        else:
            self.driver.edge.change_token(permissions=[each.value for each in ALL_PERMISSIONS if each != lost])
        return True

    def mend_token(self) -> bool:
        """Nothing is written with a broken token until an administrator stores one that works."""
        if not self.token_is_lost:
            return False
        self.driver.edge.change_token(revoked=False, permissions=[each.value for each in ALL_PERMISSIONS])
        self.driver.python(REPLACE_TOKEN, self.driver.edge.token)
        self.token_is_lost = False
        return True

    def delete_ca(self) -> bool:
        """One of the extra CAs is deleted past the portal."""
        there = {row["id"] for row in self.driver.edge.state()["certificates"]}
        rows = [self.driver.get(f"/cas/{ca['id']}/") for ca in self.cas[2:]]
        held = [row["cloudflare_id"] for row in rows if row["cloudflare_id"] in there]
        if not held:
            return False
        self.driver.edge.delete_certificate(self.random.choice(held))
        return True

    def zone_leaves(self) -> bool:
        """When it comes back it is another zone of the same name."""
        if self.zone_is_gone:
            return False
        self.driver.edge.remove_zone(PASSING)
        return True

    def zone_returns(self) -> bool:
        if not self.zone_is_gone:
            return False
        self.driver.edge.add_zone(PASSING)
        return True

    # The portal's parts

    def kill_child(self) -> bool:
        pids = self.driver.pool()
        if not pids:
            return False
        os.kill(self.random.choice(pids), signal.SIGKILL)
        return True

    def kill_worker(self) -> bool:
        self.driver.kill_worker()
        return True

    def kill_part(self) -> bool:
        part = self.random.choice(["beat", "web", "sandbox"])
        os.killpg(self.driver.part(part), signal.SIGKILL)
        if part == "sandbox":
            self.driver.edge.restarts.append(time.monotonic())
        return True

    def kill_broker(self) -> bool:
        """As deployed nobody starts it again at once."""
        if self.driver.portal.redis is None:
            os.killpg(self.driver.part("broker"), signal.SIGKILL)
            return True
        self.driver.portal.redis.stop()
        time.sleep(self.random.choice([0, 2, 6]))
        self.driver.portal.redis.start()
        return True

    def stop_a_worker(self) -> bool:
        with self.driver.stopped(self.random.choice([*self.driver.pool(), self.driver.part("worker")])):
            time.sleep(self.random.choice([0.5, 2, 8]))
        return True

    def hang_broker(self) -> bool:
        with self.driver.stopped(self.driver.broker_pid()):
            time.sleep(self.random.choice([0.5, 2, 8]))
        return True

    def empty_the_broker(self) -> bool:
        with closing(self.driver.portal.broker()) as broker:
            broker.flushall()
        return True

    def cut_database(self) -> bool:
        if not self.driver.portal.database:
            return False
        self.driver.portal.cut_connections()
        return True

    @property
    def zone_is_gone(self) -> bool:
        return PASSING not in {zone["name"] for zone in self.driver.edge.state()["zones"]}

    def requests(self, state: str) -> list[dict[str, Any]]:
        return list(self.driver.get(f"/requests/?state={state}&page_size=100")["results"])

    def undo(self) -> None:
        """Everything that an act left behind; again and again until all parts answer."""
        if redis := self.driver.portal.redis:
            if redis.process is None or redis.process.poll() is not None:
                redis.start()
        self.driver.edge.clear_faults()
        self.driver.edge.switch(down=False)
        self.driver.edge.lag(0)
        self.zone_returns()
        # A refused write may have cost the portal its trust in a token that works.
        self.token_is_lost = True
        self.mend_token()
        self.lift()

    def _admitted(self, name: str) -> dict[str, Any]:
        made = make_ca(name)
        row: dict[str, Any] = self.driver.send("/cas/", {"name": name, "pem": made.pem}, "engineer")
        self.roots[row["id"]] = made
        return row
