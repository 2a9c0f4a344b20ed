-- A rollout is set only over the one that was looked at, and keeps the card and the system file that
-- were promoted.
ALTER TABLE rollout ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE rollout ADD COLUMN card TEXT NOT NULL DEFAULT '';
ALTER TABLE rollout ADD COLUMN system TEXT NOT NULL DEFAULT '';
