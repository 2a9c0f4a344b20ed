CREATE TABLE log_head (
  tenant TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  frontier BLOB NOT NULL,
  last_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE record (
  tenant TEXT NOT NULL,
  seq INTEGER NOT NULL,
  leaf BLOB NOT NULL,
  disclosed BLOB NOT NULL
) STRICT;
-- The rows are long: a small index beside a table that only grows writes fewer pages.
CREATE UNIQUE INDEX record_seq ON record (tenant, seq);
CREATE TABLE decision (
  tenant TEXT NOT NULL,
  request_id BLOB NOT NULL,
  id BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX decision_request ON decision (tenant, request_id);
CREATE UNIQUE INDEX decision_id ON decision (id);
CREATE TABLE outcome (
  id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
-- What is used of a budget: held and captured amounts together. The key says whose and when.
CREATE TABLE budget (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
-- What a decision reserved. States: 0 held, 1 captured, 2 void, 3 doubtful.
CREATE TABLE hold (
  decision BLOB NOT NULL,
  key TEXT NOT NULL,
  tenant TEXT NOT NULL,
  amount INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (decision, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_open ON hold (expires_ms) WHERE state = 0;
