-- Hosts that only captured, too: of those no probe has said which namespace is their own.
ALTER TABLE host ALTER COLUMN namespace DROP NOT NULL;

-- Runs of captures. What each has logged last tells whether a batch is there already.
CREATE TABLE capture (
    capture_id uuid PRIMARY KEY,
    host_id uuid NOT NULL,
    sequence bigint NOT NULL,
    last_logged_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Flow records, as docs/flow-schema.md has them. All of their times are rounded down to the
-- microsecond.
CREATE TABLE flow_log (
    -- When it was written here, by the clock of the database; and who captured it.
    logged_at timestamptz NOT NULL DEFAULT now(),
    host_id uuid NOT NULL,
    id uuid NOT NULL,
    protocol text NOT NULL,
    src_addr inet NOT NULL,
    dst_addr inet NOT NULL,
    src_port bigint NOT NULL,
    dst_port bigint NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    src_bytes bigint NOT NULL,
    dst_bytes bigint NOT NULL,
    src_packets bigint NOT NULL,
    dst_packets bigint NOT NULL,
    status text NOT NULL,
    end_reason text NOT NULL,
    interface text,
    tcp_state text,
    src_tcp_flags text,
    dst_tcp_flags text,
    tcp_handshake_rtt_us bigint,
    src_retransmissions bigint,
    dst_retransmissions bigint,
    src_process_pid bigint,
    src_process_start_time timestamptz,
    src_process_comm text,
    src_process_exe text,
    src_process_uid bigint,
    src_process_container text,
    src_process_attribution text,
    dst_process_pid bigint,
    dst_process_start_time timestamptz,
    dst_process_comm text,
    dst_process_exe text,
    dst_process_uid bigint,
    dst_process_container text,
    dst_process_attribution text
) PARTITION BY RANGE (first_seen_at);
CREATE INDEX ON flow_log USING brin (logged_at) WITH (autosummarize = on);
CREATE INDEX ON flow_log (first_seen_at);
CREATE INDEX ON flow_log (src_addr, first_seen_at);
CREATE INDEX ON flow_log (dst_addr, first_seen_at);

CREATE TABLE flow_log_default PARTITION OF flow_log DEFAULT;
INSERT INTO partition VALUES ('flow_log_default', 'flow_log', '-infinity', 'infinity');

-- Makes the partition of `parent` from `first` up to `next`, if it is not there; what it should
-- hold of the default one moves to it. Where rows are written to once there is no need for room.
CREATE OR REPLACE FUNCTION make_partition(parent text, first timestamptz, next timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    made text := parent || to_char(first AT TIME ZONE 'UTC', '"_"YYYYMMDD"_"HH24');
    fallback text := parent || '_default';
    fill integer := CASE WHEN parent ~ '_(hour|day)$' THEN 50 ELSE 95 END;
    key text := CASE parent WHEN 'flow_log' THEN 'first_seen_at' ELSE 'bucket' END;
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
            DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', fallback, key, first, key, next, made);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, made, first, next);
    INSERT INTO partition VALUES (made, parent, first, next);
END $$;
