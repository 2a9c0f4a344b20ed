-- What allows the undo of an execution, signed by policyd.
CREATE TABLE undo_writ (
  execution TEXT NOT NULL,
  tenant TEXT NOT NULL,
  token BLOB NOT NULL,
  PRIMARY KEY (execution)
) STRICT, WITHOUT ROWID;
