-- What of a counter is held; when it was first used; the first call whose usage is not reported.
ALTER TABLE budget ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN unreported_ms INTEGER;
UPDATE budget SET held = (SELECT coalesce(sum(hold.amount), 0) FROM hold
  WHERE hold.tenant = budget.tenant AND hold.key = budget.key AND hold.state IN (0, 3));
-- The currency of an amount, empty for a count.
ALTER TABLE hold ADD COLUMN currency TEXT NOT NULL DEFAULT '';
-- Caps that are higher for a time. An empty subject is everybody.
CREATE TABLE budget_raise (
  tenant TEXT NOT NULL,
  id BLOB NOT NULL,
  budget TEXT NOT NULL,
  subject TEXT NOT NULL,
  amount INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_raise_open ON budget_raise (tenant, until_ms);
-- Limits that fired and halt somebody: once for a counter and a limit. done: 0 wanted, 1 set.
CREATE TABLE budget_trip (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  cap INTEGER NOT NULL,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  done INTEGER NOT NULL,
  PRIMARY KEY (tenant, key, cap)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_trip_open ON budget_trip (at_ms) WHERE done = 0;
