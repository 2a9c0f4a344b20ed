CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
INSERT INTO schema_version (version) VALUES (1);
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
  disclosed BLOB NOT NULL,
  PRIMARY KEY (tenant, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE decision (
  tenant TEXT NOT NULL,
  request_id BLOB NOT NULL,
  id BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, request_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX decision_id ON decision (id);
CREATE TABLE outcome (
  id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
