CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
INSERT INTO schema_version (version) VALUES (1);
CREATE TABLE claim (
  issuer TEXT NOT NULL,
  cti BLOB NOT NULL,
  request_id BLOB NOT NULL,
  request_hash BLOB NOT NULL,
  caller TEXT NOT NULL,
  execution TEXT NOT NULL,
  PRIMARY KEY (issuer, cti)
) STRICT, WITHOUT ROWID;
CREATE TABLE execution (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  state TEXT NOT NULL,
  run TEXT NOT NULL,
  action TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
