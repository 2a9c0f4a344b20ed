-- Counts by day, run, agent and customer, and rollouts that end by themselves.
ALTER TABLE day_count RENAME COLUMN day TO bucket;
ALTER TABLE day_count RENAME TO tally;
ALTER TABLE rollout ADD COLUMN until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN set_ms BIGINT NOT NULL DEFAULT 0;
-- What lists are filtered by.
ALTER TABLE execution ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE execution ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE execution ADD COLUMN execute BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE execution ADD COLUMN surprise BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE execution SET agent = body::json ->> 'agent', target = body::json ->> 'target',
  execute = (body::json ->> 'execute')::boolean;
