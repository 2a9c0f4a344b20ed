CREATE TABLE log_head (
  tenant TEXT PRIMARY KEY,
  size BIGINT NOT NULL,
  frontier BYTEA NOT NULL,
  last_hash BYTEA NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE record (
  tenant TEXT NOT NULL,
  seq BIGINT NOT NULL,
  leaf BYTEA NOT NULL,
  disclosed BYTEA NOT NULL,
  PRIMARY KEY (tenant, seq)
);
CREATE TABLE decision (
  tenant TEXT NOT NULL,
  request_id UUID NOT NULL,
  id UUID NOT NULL UNIQUE,
  fingerprint BYTEA NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (tenant, request_id)
);
CREATE TABLE outcome (
  id UUID PRIMARY KEY
);
-- What is used of a budget: held and captured amounts together. The key says whose and when.
CREATE TABLE budget (
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  used BIGINT NOT NULL,
  PRIMARY KEY (tenant, key)
) WITH (fillfactor = 50);
-- What a decision reserved. States: 0 held, 1 captured, 2 void, 3 doubtful.
CREATE TABLE hold (
  decision UUID NOT NULL,
  key TEXT NOT NULL,
  tenant TEXT NOT NULL,
  amount BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  state SMALLINT NOT NULL,
  PRIMARY KEY (decision, key)
);
CREATE INDEX hold_open ON hold (expires_ms) WHERE state = 0;
