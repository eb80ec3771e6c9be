-- Observations at three resolutions: as they were written (0), by hour (1), by day (2). What is
-- older is moved from one to the next, so that a moment is in one of them alone. How far an
-- observation reaches is known for each, so that a window need not begin a day early.
DROP TABLE extent;
CREATE TABLE extent (
    resolution INTEGER PRIMARY KEY CHECK (resolution IN (0, 1, 2)),
    reach INTEGER NOT NULL
) STRICT;
INSERT INTO extent VALUES (0, 0), (1, 0), (2, 0);

ALTER TABLE flow_observation RENAME TO flow_observation_2;
CREATE TABLE flow_observation (
    resolution INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    flow_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    failed_refused INTEGER NOT NULL,
    failed_timed_out INTEGER NOT NULL,
    failed_unreachable INTEGER NOT NULL,
    failed_reset INTEGER NOT NULL,
    failed_abandoned INTEGER NOT NULL,
    failed_other INTEGER NOT NULL,
    bytes_sent INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    segments_sent INTEGER NOT NULL,
    segments_received INTEGER NOT NULL,
    retransmits INTEGER NOT NULL,
    rtt_sum_us INTEGER NOT NULL,
    rtt_count INTEGER NOT NULL,
    PRIMARY KEY (resolution, bucket, flow_id)
) STRICT, WITHOUT ROWID;
INSERT INTO flow_observation
SELECT 0, bucket, flow_id, first_seen, last_seen, connections, opened, failed_refused,
    failed_timed_out, failed_unreachable, failed_reset, failed_abandoned, failed_other, bytes_sent,
    bytes_received, segments_sent, segments_received, retransmits, rtt_sum_us, rtt_count
FROM flow_observation_2;
DROP TABLE flow_observation_2;
-- The observations of a few flows, without those of all others.
CREATE INDEX flow_observation_flow ON flow_observation (flow_id, resolution, bucket);

ALTER TABLE listener_observation RENAME TO listener_observation_2;
CREATE TABLE listener_observation (
    resolution INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    listener_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (resolution, bucket, listener_id)
) STRICT, WITHOUT ROWID;
INSERT INTO listener_observation
SELECT 0, bucket, listener_id, first_seen, last_seen FROM listener_observation_2;
DROP TABLE listener_observation_2;

ALTER TABLE address_observation RENAME TO address_observation_2;
CREATE TABLE address_observation (
    resolution INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    address_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (resolution, bucket, address_id)
) STRICT, WITHOUT ROWID;
INSERT INTO address_observation
SELECT 0, bucket, address_id, first_seen, last_seen FROM address_observation_2;
DROP TABLE address_observation_2;

-- The reach of all, which the old table knew, once more.
UPDATE extent SET reach = coalesce((
    SELECT max(max(last_seen - bucket, bucket - first_seen)) FROM (
        SELECT bucket, first_seen, last_seen FROM flow_observation
        UNION ALL SELECT bucket, first_seen, last_seen FROM listener_observation
        UNION ALL SELECT bucket, first_seen, last_seen FROM address_observation)), 0)
WHERE resolution = 0;

-- Connections whose addresses are changed on their way: as the client's end knows them (original)
-- and as the server's end does (translated).
CREATE TABLE translation (
    translation_id INTEGER PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES namespace,
    protocol INTEGER NOT NULL,
    original_client BLOB NOT NULL CHECK (length(original_client) IN (4, 16)),
    original_server BLOB NOT NULL CHECK (length(original_server) IN (4, 16)),
    original_port INTEGER,
    translated_client BLOB NOT NULL CHECK (length(translated_client) IN (4, 16)),
    translated_server BLOB NOT NULL CHECK (length(translated_server) IN (4, 16)),
    translated_port INTEGER,
    last_bucket INTEGER NOT NULL
) STRICT;
CREATE INDEX translation_identity ON translation
    (namespace_id, original_client, original_server, original_port, translated_client,
     translated_server, translated_port, protocol);
CREATE INDEX translation_last_bucket ON translation (last_bucket);

CREATE TABLE translation_observation (
    resolution INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    translation_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    PRIMARY KEY (resolution, bucket, translation_id)
) STRICT, WITHOUT ROWID;

-- Runs of probes. What each has delivered last tells whether a flush is there already.
CREATE TABLE probe (
    -- A UUID in its text form.
    probe_id TEXT PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES host,
    boot_id TEXT NOT NULL,
    version TEXT NOT NULL,
    started INTEGER NOT NULL,
    first_flush INTEGER NOT NULL,
    last_flush INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- 1 where it said that it makes no further flush.
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    spool_flushes INTEGER NOT NULL,
    spool_bytes INTEGER NOT NULL,
    spool_limit INTEGER NOT NULL,
    -- As `netglass probe --format json` prints it.
    ledger TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX probe_host ON probe (host_id);

-- What finds the flows of a few nodes.
CREATE INDEX flow_peer ON flow (peer_address, peer_port, local_address);
CREATE INDEX flow_local ON flow (local_address, local_port, peer_address);
CREATE INDEX process_name ON process (comm);
CREATE INDEX process_family ON process (host_id, family);
CREATE INDEX listener_observation_listener ON listener_observation
    (listener_id, resolution, bucket);
