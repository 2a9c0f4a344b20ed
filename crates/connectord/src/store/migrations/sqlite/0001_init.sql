CREATE TABLE claim (
  issuer TEXT NOT NULL,
  cti BLOB NOT NULL,
  request_id BLOB NOT NULL,
  request_hash BLOB NOT NULL,
  caller TEXT NOT NULL,
  execution TEXT NOT NULL,
  PRIMARY KEY (issuer, cti)
) STRICT, WITHOUT ROWID;
-- Every write of an execution counts its revision up, so that two cannot settle it.
CREATE TABLE execution (
  id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  state TEXT NOT NULL,
  run TEXT NOT NULL,
  action TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  touched_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX execution_id ON execution (id);
CREATE INDEX execution_open ON execution (state) WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT');
CREATE TABLE day_count (
  tenant TEXT NOT NULL,
  action TEXT NOT NULL,
  day TEXT NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (tenant, action, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollout (
  tenant TEXT NOT NULL,
  action TEXT NOT NULL,
  rollout TEXT NOT NULL,
  PRIMARY KEY (tenant, action)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
  id BLOB PRIMARY KEY,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
