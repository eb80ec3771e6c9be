-- Ids are the first 128 bits of SHA-256 over what makes a row itself, so that who writes knows them
-- without asking. Times are kept to the microsecond, except where they are a part of an identity
-- (nanoseconds since the Unix epoch). A namespace inode is the bit pattern of an unsigned 64 bit
-- number. NULL as a port stands for many ports. Of text, NUL characters are escaped.
--
-- What is observed again and again (observation tables) holds ids and numbers only; what it is
-- about (dimension tables) is written once, and again from time to time: last_bucket is at most
-- two hours older than any observation, so that what is unused can be told without a search.

-- Per resolution, how far an observation reaches from the start of its bucket, in microseconds.
CREATE TABLE extent (
    resolution smallint PRIMARY KEY CHECK (resolution IN (0, 1, 2)),
    before bigint NOT NULL,
    after bigint NOT NULL
);
INSERT INTO extent VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0);

CREATE TABLE host (
    host_id uuid PRIMARY KEY,
    machine_id text NOT NULL,
    hostname text NOT NULL,
    -- The inode of the namespace that counts as the host's own.
    namespace bigint NOT NULL
);

CREATE TABLE namespace (
    namespace_id uuid PRIMARY KEY,
    host_id uuid NOT NULL,
    inode bigint NOT NULL,
    name text,
    last_bucket timestamptz NOT NULL
);
CREATE INDEX namespace_host ON namespace (host_id);
CREATE INDEX namespace_last_bucket ON namespace (last_bucket);

CREATE TABLE host_address (
    address_id uuid PRIMARY KEY,
    namespace_id uuid NOT NULL,
    address inet NOT NULL,
    last_bucket timestamptz NOT NULL
);
CREATE INDEX host_address_last_bucket ON host_address (last_bucket);

CREATE TABLE process (
    process_id uuid PRIMARY KEY,
    host_id uuid NOT NULL,
    pid bigint NOT NULL,
    start_time bigint NOT NULL,
    comm text NOT NULL,
    exe text,
    pgid bigint NOT NULL,
    ppid bigint NOT NULL,
    family bigint NOT NULL,
    uid bigint,
    gid bigint,
    cgroup text,
    container text,
    command_line text,
    last_bucket timestamptz NOT NULL
);
CREATE INDEX process_name ON process (comm);
CREATE INDEX process_family ON process (host_id, family);
CREATE INDEX process_pid ON process (host_id, pid, start_time);
CREATE INDEX process_last_bucket ON process (last_bucket);

CREATE TABLE flow (
    flow_id uuid PRIMARY KEY,
    namespace_id uuid NOT NULL,
    -- The number in the IP header.
    protocol smallint NOT NULL,
    -- 0 active, 1 passive.
    direction smallint NOT NULL CHECK (direction IN (0, 1)),
    local_address inet NOT NULL,
    local_port integer,
    peer_address inet NOT NULL,
    peer_port integer,
    process_id uuid,
    -- 0 socket, 1 listener, 2 namespace.
    attribution smallint NOT NULL CHECK (attribution IN (0, 1, 2)),
    last_bucket timestamptz NOT NULL
);
CREATE INDEX flow_peer ON flow (peer_address, peer_port, local_address);
CREATE INDEX flow_local ON flow (local_address, local_port, peer_address);
CREATE INDEX flow_process ON flow (process_id);
CREATE INDEX flow_namespace ON flow (namespace_id);
CREATE INDEX flow_last_bucket ON flow (last_bucket);

CREATE TABLE listener (
    listener_id uuid PRIMARY KEY,
    namespace_id uuid NOT NULL,
    protocol smallint NOT NULL,
    local_address inet NOT NULL,
    local_port integer,
    process_id uuid,
    last_bucket timestamptz NOT NULL
);
CREATE INDEX listener_process ON listener (process_id);
CREATE INDEX listener_namespace ON listener (namespace_id);
CREATE INDEX listener_last_bucket ON listener (last_bucket);

-- Connections whose addresses are changed on their way: as the client's end knows them (original)
-- and as the server's end does (translated).
CREATE TABLE translation (
    translation_id uuid PRIMARY KEY,
    namespace_id uuid NOT NULL,
    protocol smallint NOT NULL,
    original_client inet NOT NULL,
    original_server inet NOT NULL,
    original_port integer,
    translated_client inet NOT NULL,
    translated_server inet NOT NULL,
    translated_port integer,
    last_bucket timestamptz NOT NULL
);
CREATE INDEX translation_last_bucket ON translation (last_bucket);

-- Runs of probes. What each has delivered last tells whether a flush is there already.
CREATE TABLE probe (
    probe_id uuid PRIMARY KEY,
    host_id uuid NOT NULL,
    boot_id text NOT NULL,
    version text NOT NULL,
    started timestamptz NOT NULL,
    -- By the host's clock.
    first_flush timestamptz NOT NULL,
    last_flush timestamptz NOT NULL,
    -- By the clock of the database.
    first_received timestamptz NOT NULL,
    last_received timestamptz NOT NULL,
    sequence bigint NOT NULL,
    -- Whether it said that it makes no further flush.
    ended boolean NOT NULL,
    spool_flushes bigint NOT NULL,
    spool_bytes bigint NOT NULL,
    spool_limit bigint NOT NULL,
    -- As `netglass probe --format json` prints it.
    ledger text NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX probe_host ON probe (host_id);

-- Observations as they were written, by hour, and by day: what is older is moved from one to the
-- next, so that a moment is in one of them alone. Their partitions are made as they are needed;
-- what is far from the present goes to the default ones.
CREATE TABLE flow_observation (
    flow_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    connections bigint NOT NULL,
    opened bigint NOT NULL,
    failed_refused bigint NOT NULL,
    failed_timed_out bigint NOT NULL,
    failed_unreachable bigint NOT NULL,
    failed_reset bigint NOT NULL,
    failed_abandoned bigint NOT NULL,
    failed_other bigint NOT NULL,
    bytes_sent bigint NOT NULL,
    bytes_received bigint NOT NULL,
    segments_sent bigint NOT NULL,
    segments_received bigint NOT NULL,
    retransmits bigint NOT NULL,
    rtt_sum_us bigint NOT NULL,
    rtt_count bigint NOT NULL,
    PRIMARY KEY (flow_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX ON flow_observation USING brin (bucket) WITH (pages_per_range = 16);

CREATE TABLE listener_observation (
    listener_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (listener_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX ON listener_observation USING brin (bucket) WITH (pages_per_range = 16);

CREATE TABLE address_observation (
    address_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (address_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX ON address_observation USING brin (bucket) WITH (pages_per_range = 16);

CREATE TABLE translation_observation (
    translation_id uuid NOT NULL,
    bucket timestamptz NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    connections bigint NOT NULL,
    opened bigint NOT NULL,
    PRIMARY KEY (translation_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX ON translation_observation USING brin (bucket) WITH (pages_per_range = 16);

-- Which partitions there are.
CREATE TABLE partition (
    name text PRIMARY KEY,
    parent text NOT NULL,
    first_bucket timestamptz NOT NULL,
    next_bucket timestamptz NOT NULL
);

DO $$
DECLARE
    kind text;
    parent text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['flow', 'listener', 'address', 'translation'] LOOP
        FOREACH parent IN ARRAY ARRAY['', '_hour', '_day'] LOOP
            parent := kind || '_observation' || parent;
            IF to_regclass('netglass.' || parent) IS NULL THEN
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (bucket)',
                    parent, kind || '_observation');
            END IF;
            EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
            INSERT INTO partition
                VALUES (parent || '_default', parent, '-infinity', 'infinity');
        END LOOP;
    END LOOP;
END $$;

-- Makes the partition of `parent` from `first` up to `next`, if it is not there; what it should
-- hold of the default one moves to it.
CREATE FUNCTION make_partition(parent text, first timestamptz, next timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    made text := parent || to_char(first AT TIME ZONE 'UTC', '"_"YYYYMMDD"_"HH24');
    fallback text := parent || '_default';
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
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = 45)', made, parent);
    EXECUTE format('WITH moved AS (
            DELETE FROM %I WHERE bucket >= %L AND bucket < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', fallback, first, next, made);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, made, first, next);
    INSERT INTO partition VALUES (made, parent, first, next);
END $$;
