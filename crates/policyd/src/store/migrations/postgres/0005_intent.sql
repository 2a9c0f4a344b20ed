-- Who holds a place: the first decision of an intent.
CREATE INDEX hold_key ON hold (tenant, key);
