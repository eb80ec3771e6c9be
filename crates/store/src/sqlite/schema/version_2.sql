-- Failures by their reason. Of those that were counted before nobody knows it.
ALTER TABLE flow_observation RENAME COLUMN failed TO failed_other;
ALTER TABLE flow_observation ADD COLUMN failed_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flow_observation ADD COLUMN failed_timed_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flow_observation ADD COLUMN failed_unreachable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flow_observation ADD COLUMN failed_reset INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flow_observation ADD COLUMN failed_abandoned INTEGER NOT NULL DEFAULT 0;

-- With and without payload; datagrams of UDP.
ALTER TABLE flow_observation ADD COLUMN segments_sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE flow_observation ADD COLUMN segments_received INTEGER NOT NULL DEFAULT 0;

ALTER TABLE process ADD COLUMN command_line TEXT;
