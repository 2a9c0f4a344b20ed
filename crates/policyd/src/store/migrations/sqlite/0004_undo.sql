-- What allows the undo of the one write of a decision: the payload of its writ. The first report counts.
CREATE TABLE undo_writ (
  decision BLOB NOT NULL,
  tenant TEXT NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY (decision)
) STRICT, WITHOUT ROWID;
