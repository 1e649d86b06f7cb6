"""How old what is known may be when it is written over. `test_model.py` holds the numbers against the product's."""

from __future__ import annotations

# Of one call and of a worker's lease, as `driver.TEMPO` sets them. A worker that is stopped for longer has lost it;
# that its call is still on the wire cannot be excluded (docs/reliability.md).
DEADLINE_S = 3.0
LEASE_S = 6.0
# The product reads a list again when its reading is older than this. What is over that is the way of one call.
READ_FRESH_S = 5.0
FRESH_S = READ_FRESH_S + DEADLINE_S
# Rules are written one by one over what a run read at its beginning, and no run lasts longer than its task may.
RUN_S = 120.0
