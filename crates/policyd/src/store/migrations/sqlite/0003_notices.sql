-- What people are told. States: 0 waiting, 1 delivered, 2 dead. While it waits, due_ms is when it
-- is sent next, or until when whoever took it may still be sending it.
CREATE TABLE notice (
  id BLOB NOT NULL,
  tenant TEXT NOT NULL,
  dedup_key TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  body BLOB NOT NULL,
  repeats INTEGER NOT NULL,
  state INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  taken TEXT NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_due ON notice (due_ms) WHERE state = 0;
CREATE INDEX notice_key ON notice (tenant, dedup_key, time_ms);
CREATE INDEX notice_time ON notice (tenant, time_ms);
-- The last denials of an agent and action, as one rule counts them.
CREATE TABLE tally (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
-- Repeated denials. halt: 0 none, 1 wanted, 2 set. closed_ms is 0 while it is open.
CREATE TABLE incident (
  id BLOB NOT NULL,
  tenant TEXT NOT NULL,
  opened_ms INTEGER NOT NULL,
  agent TEXT NOT NULL,
  action TEXT NOT NULL,
  body BLOB NOT NULL,
  halt INTEGER NOT NULL,
  closed_ms INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_time ON incident (tenant, opened_ms);
CREATE INDEX incident_halt ON incident (opened_ms) WHERE halt = 1;
CREATE INDEX incident_open ON incident (tenant, agent) WHERE closed_ms = 0;
