-- What of a counter is held; when it was first used; the first call whose usage is not reported.
ALTER TABLE budget ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN since_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN unreported_ms BIGINT;
UPDATE budget SET held = (SELECT coalesce(sum(hold.amount), 0) FROM hold
  WHERE hold.tenant = budget.tenant AND hold.key = budget.key AND hold.state IN (0, 3));
-- The currency of an amount, empty for a count.
ALTER TABLE hold ADD COLUMN currency TEXT NOT NULL DEFAULT '';
-- Caps that are higher for a time. An empty subject is everybody.
CREATE TABLE budget_raise (
  tenant TEXT NOT NULL,
  id UUID NOT NULL,
  budget TEXT NOT NULL,
  subject TEXT NOT NULL,
  amount BIGINT NOT NULL,
  until_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX budget_raise_open ON budget_raise (tenant, until_ms);
-- Limits that fired and halt somebody: once for a counter and a limit. done: 0 wanted, 1 set.
CREATE TABLE budget_trip (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  cap BIGINT NOT NULL,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  done BIGINT NOT NULL,
  PRIMARY KEY (tenant, key, cap)
);
CREATE INDEX budget_trip_open ON budget_trip (at_ms) WHERE done = 0;
