CREATE TABLE claim (
  issuer TEXT NOT NULL,
  cti UUID NOT NULL,
  request_id UUID NOT NULL,
  request_hash BYTEA NOT NULL,
  caller TEXT NOT NULL,
  execution UUID NOT NULL,
  PRIMARY KEY (issuer, cti)
);
-- Every write of an execution counts its revision up, so that two cannot settle it.
CREATE TABLE execution (
  id UUID PRIMARY KEY,
  tenant TEXT NOT NULL,
  state TEXT NOT NULL,
  run TEXT NOT NULL,
  action TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  touched_ms BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX execution_open ON execution (state) WHERE state IN ('CLAIMED', 'SENDING', 'IN_DOUBT');
CREATE TABLE day_count (
  tenant TEXT NOT NULL,
  action TEXT NOT NULL,
  day TEXT NOT NULL,
  used BIGINT NOT NULL,
  PRIMARY KEY (tenant, action, day)
) WITH (fillfactor = 50);
CREATE TABLE rollout (
  tenant TEXT NOT NULL,
  action TEXT NOT NULL,
  rollout TEXT NOT NULL,
  PRIMARY KEY (tenant, action)
);
CREATE TABLE outbox (
  id UUID PRIMARY KEY,
  body BYTEA NOT NULL
);
