-- What allows the undo of the one write of a decision: the payload of its writ. The first report counts.
CREATE TABLE undo_writ (
  decision UUID NOT NULL,
  tenant TEXT NOT NULL,
  payload BYTEA NOT NULL,
  PRIMARY KEY (decision)
);
