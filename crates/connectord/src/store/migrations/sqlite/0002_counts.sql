-- Counts by day, run, agent and customer, and rollouts that end by themselves.
ALTER TABLE day_count RENAME COLUMN day TO bucket;
ALTER TABLE day_count RENAME TO tally;
ALTER TABLE rollout ADD COLUMN until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN set_ms INTEGER NOT NULL DEFAULT 0;
-- What lists are filtered by.
ALTER TABLE execution ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE execution ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE execution ADD COLUMN execute INTEGER NOT NULL DEFAULT 1;
ALTER TABLE execution ADD COLUMN surprise INTEGER NOT NULL DEFAULT 0;
UPDATE execution SET agent = json_extract(body, '$.agent'), target = json_extract(body, '$.target'),
  execute = json_extract(body, '$.execute');
