-- What allows the undo of an execution, signed by policyd.
CREATE TABLE undo_writ (
  execution UUID NOT NULL,
  tenant TEXT NOT NULL,
  token BYTEA NOT NULL,
  PRIMARY KEY (execution)
);
