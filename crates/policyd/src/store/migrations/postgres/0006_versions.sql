-- Where the first version of a decision's record stands.
ALTER TABLE decision ADD COLUMN seq BIGINT;
-- The newest version of each record that has several.
CREATE TABLE record_version (
  tenant TEXT NOT NULL,
  record UUID NOT NULL,
  version BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  PRIMARY KEY (tenant, record)
);
-- Every policy set that was ever in force, by its digest.
CREATE TABLE policy_set (
  tenant TEXT NOT NULL,
  digest BYTEA NOT NULL,
  -- The first record that says it is in force; none yet while that is written.
  seq BIGINT,
  body TEXT NOT NULL,
  PRIMARY KEY (tenant, digest)
);
-- What the last record says is in force; an empty digest where the policies were retired.
CREATE TABLE policy_in_force (
  tenant TEXT PRIMARY KEY,
  digest BYTEA NOT NULL,
  engine TEXT NOT NULL,
  record UUID NOT NULL
);
-- Halts that incidents want are asked for in the order of their ids.
DROP INDEX incident_halt;
CREATE INDEX incident_wanted ON incident (id) WHERE halt = 1;
-- Written again and again by whoever wants to know whether anything can be written.
CREATE TABLE probe (
  id BIGINT PRIMARY KEY,
  at_ms BIGINT NOT NULL
);
