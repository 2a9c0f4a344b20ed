-- Where the first version of a decision's record stands.
ALTER TABLE decision ADD COLUMN seq INTEGER;
-- The newest version of each record that has several.
CREATE TABLE record_version (
  tenant TEXT NOT NULL,
  record BLOB NOT NULL,
  version INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (tenant, record)
) STRICT, WITHOUT ROWID;
-- Every policy set that was ever in force, by its digest.
CREATE TABLE policy_set (
  tenant TEXT NOT NULL,
  digest BLOB NOT NULL,
  -- The first record that says it is in force; none yet while that is written.
  seq INTEGER,
  body TEXT NOT NULL,
  PRIMARY KEY (tenant, digest)
) STRICT;
-- What the last record says is in force; an empty digest where the policies were retired.
CREATE TABLE policy_in_force (
  tenant TEXT PRIMARY KEY,
  digest BLOB NOT NULL,
  engine TEXT NOT NULL,
  record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- Halts that incidents want are asked for in the order of their ids.
DROP INDEX incident_halt;
CREATE INDEX incident_wanted ON incident (id) WHERE halt = 1;
-- Written again and again by whoever wants to know whether anything can be written.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL
) STRICT;
