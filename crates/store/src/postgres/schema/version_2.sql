-- Every observation counts at each resolution: as it was written, in its hour, and in its day. What
-- arrives is only appended, to recent; who maintains the database puts it together, and into the
-- tables of all three resolutions, when its bucket is over. The same statement that adds a row
-- there removes it here, so that whoever reads both finds it once.
CREATE TABLE recent (LIKE flow_observation);
ALTER TABLE recent RENAME COLUMN flow_id TO id;
-- 0 of a flow, 1 of a listener, 2 of an address, 3 of a translation: whose id it is.
ALTER TABLE recent ADD COLUMN kind smallint NOT NULL;
-- The room of what was put away is what the next ones are written to.
ALTER TABLE recent SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    vacuum_truncate = off);
CREATE INDEX recent_id ON recent (id);
-- All of which are read at once.
CREATE INDEX recent_translation ON recent (kind) WHERE kind = 3;

-- Like sum(), which is slow, since it never overflows; this one does.
CREATE AGGREGATE total(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = 0, PARALLEL = SAFE);

-- From when on observations are kept at a resolution; before that, the next coarser one tells.
ALTER TABLE extent ADD COLUMN kept_since timestamptz NOT NULL DEFAULT '-infinity';
-- The end of the last observation at a resolution.
ALTER TABLE extent ADD COLUMN latest timestamptz NOT NULL DEFAULT '-infinity';

-- What there is goes the way of what arrives.
INSERT INTO recent
SELECT flow_id, bucket, first_seen, last_seen, connections, opened, failed_refused,
    failed_timed_out, failed_unreachable, failed_reset, failed_abandoned, failed_other, bytes_sent,
    bytes_received, segments_sent, segments_received, retransmits, rtt_sum_us, rtt_count, 0
FROM (
    SELECT * FROM flow_observation
    UNION ALL SELECT * FROM flow_observation_hour
    UNION ALL SELECT * FROM flow_observation_day) o;
INSERT INTO recent
SELECT id, bucket, first_seen, last_seen, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kind
FROM (
    SELECT listener_id AS id, bucket, first_seen, last_seen, 1 AS kind FROM listener_observation
    UNION ALL SELECT listener_id, bucket, first_seen, last_seen, 1 FROM listener_observation_hour
    UNION ALL SELECT listener_id, bucket, first_seen, last_seen, 1 FROM listener_observation_day
    UNION ALL SELECT address_id, bucket, first_seen, last_seen, 2 FROM address_observation
    UNION ALL SELECT address_id, bucket, first_seen, last_seen, 2 FROM address_observation_hour
    UNION ALL SELECT address_id, bucket, first_seen, last_seen, 2 FROM address_observation_day) o;
INSERT INTO recent
SELECT translation_id, bucket, first_seen, last_seen, connections, opened,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3
FROM (
    SELECT * FROM translation_observation
    UNION ALL SELECT * FROM translation_observation_hour
    UNION ALL SELECT * FROM translation_observation_day) o;

DO $$
DECLARE
    parent text;
BEGIN
    FOR parent IN SELECT DISTINCT p.parent FROM partition p LOOP
        EXECUTE format('TRUNCATE %I', parent);
    END LOOP;
END $$;
UPDATE extent SET before = 0, after = 0;

-- Makes the partition of `parent` from `first` up to `next`, if it is not there; what it should
-- hold of the default one moves to it. Where rows are written to once there is no need for room.
CREATE OR REPLACE FUNCTION make_partition(parent text, first timestamptz, next timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    made text := parent || to_char(first AT TIME ZONE 'UTC', '"_"YYYYMMDD"_"HH24');
    fallback text := parent || '_default';
    fill integer := CASE WHEN parent ~ '_(hour|day)$' THEN 50 ELSE 95 END;
BEGIN
    -- Our own table is asked, since what a session knows of others' tables may be old.
    IF EXISTS (SELECT FROM partition WHERE name = made) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('netglass partition', 0));
    IF EXISTS (SELECT FROM partition WHERE name = made) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', fallback);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = %s)', made, parent,
        fill);
    EXECUTE format('WITH moved AS (
            DELETE FROM %I WHERE bucket >= %L AND bucket < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', fallback, first, next, made);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, made, first, next);
    INSERT INTO partition VALUES (made, parent, first, next);
END $$;
