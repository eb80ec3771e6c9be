-- Every observation at all three resolutions at once: as it was written (0), in its hour (1) and in
-- its day (2), so that a long window is read in few rows. From which bucket on each resolution is
-- kept as a whole is known; what lies before is in the coarser ones alone.
ALTER TABLE extent RENAME TO extent_3;
CREATE TABLE extent (
    resolution INTEGER PRIMARY KEY CHECK (resolution IN (0, 1, 2)),
    reach INTEGER NOT NULL,
    kept_since INTEGER NOT NULL
) STRICT;
INSERT INTO extent SELECT resolution, reach, -9223372036854775808 FROM extent_3;
DROP TABLE extent_3;

-- What was moved to an hour or a day is at no finer resolution: they are kept from its end on.
UPDATE extent SET kept_since = coalesce((
    SELECT min(max(newest), 9223372036854775807 - 3600000000000) + 3600000000000 FROM (
        SELECT max(bucket) AS newest FROM flow_observation WHERE resolution = 1
        UNION ALL SELECT max(bucket) FROM listener_observation WHERE resolution = 1
        UNION ALL SELECT max(bucket) FROM address_observation WHERE resolution = 1
        UNION ALL SELECT max(bucket) FROM translation_observation WHERE resolution = 1)
    ), kept_since)
WHERE resolution = 0;
UPDATE extent SET kept_since = coalesce((
    SELECT min(max(newest), 9223372036854775807 - 86400000000000) + 86400000000000 FROM (
        SELECT max(bucket) AS newest FROM flow_observation WHERE resolution = 2
        UNION ALL SELECT max(bucket) FROM listener_observation WHERE resolution = 2
        UNION ALL SELECT max(bucket) FROM address_observation WHERE resolution = 2
        UNION ALL SELECT max(bucket) FROM translation_observation WHERE resolution = 2)
    ), kept_since)
WHERE resolution = 1;

-- Each hour and each day from what was written in them, and days from the hours that were moved. In
-- order of time: what is in the way of a row came before it, and both become one as two writes to
-- the same bucket do. Buckets are rounded down, before 1970 too.
CREATE TABLE filled (fine INTEGER, coarse INTEGER, length INTEGER) STRICT;
INSERT INTO filled VALUES (0, 1, 3600000000000), (0, 2, 86400000000000), (1, 2, 86400000000000);

INSERT INTO flow_observation
    (resolution, bucket, flow_id, first_seen, last_seen, connections, opened, failed_refused,
     failed_timed_out, failed_unreachable, failed_reset, failed_abandoned, failed_other,
     bytes_sent, bytes_received, segments_sent, segments_received, retransmits, rtt_sum_us,
     rtt_count)
SELECT coarse, bucket - (bucket % length + length) % length, flow_id, first_seen, last_seen,
    connections, opened, failed_refused, failed_timed_out, failed_unreachable, failed_reset,
    failed_abandoned, failed_other, bytes_sent, bytes_received, segments_sent,
    segments_received, retransmits, rtt_sum_us, rtt_count
FROM flow_observation JOIN filled ON resolution = fine ORDER BY bucket, resolution DESC
ON CONFLICT (resolution, bucket, flow_id) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    connections = max(excluded.connections,
        excluded.opened + min(connections, 9223372036854775807 - excluded.opened)),
    opened = excluded.opened + min(opened, 9223372036854775807 - excluded.opened),
    failed_refused = excluded.failed_refused
        + min(failed_refused, 9223372036854775807 - excluded.failed_refused),
    failed_timed_out = excluded.failed_timed_out
        + min(failed_timed_out, 9223372036854775807 - excluded.failed_timed_out),
    failed_unreachable = excluded.failed_unreachable
        + min(failed_unreachable, 9223372036854775807 - excluded.failed_unreachable),
    failed_reset = excluded.failed_reset
        + min(failed_reset, 9223372036854775807 - excluded.failed_reset),
    failed_abandoned = excluded.failed_abandoned
        + min(failed_abandoned, 9223372036854775807 - excluded.failed_abandoned),
    failed_other = excluded.failed_other
        + min(failed_other, 9223372036854775807 - excluded.failed_other),
    bytes_sent = excluded.bytes_sent + min(bytes_sent, 9223372036854775807 - excluded.bytes_sent),
    bytes_received = excluded.bytes_received
        + min(bytes_received, 9223372036854775807 - excluded.bytes_received),
    segments_sent = excluded.segments_sent
        + min(segments_sent, 9223372036854775807 - excluded.segments_sent),
    segments_received = excluded.segments_received
        + min(segments_received, 9223372036854775807 - excluded.segments_received),
    retransmits = excluded.retransmits
        + min(retransmits, 9223372036854775807 - excluded.retransmits),
    rtt_sum_us = excluded.rtt_sum_us + min(rtt_sum_us, 9223372036854775807 - excluded.rtt_sum_us),
    rtt_count = excluded.rtt_count + min(rtt_count, 9223372036854775807 - excluded.rtt_count);

INSERT INTO listener_observation
    (resolution, bucket, listener_id, first_seen, last_seen)
SELECT coarse, bucket - (bucket % length + length) % length, listener_id, first_seen, last_seen
FROM listener_observation JOIN filled ON resolution = fine ORDER BY bucket, resolution DESC
ON CONFLICT (resolution, bucket, listener_id) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen);

INSERT INTO address_observation
    (resolution, bucket, address_id, first_seen, last_seen)
SELECT coarse, bucket - (bucket % length + length) % length, address_id, first_seen, last_seen
FROM address_observation JOIN filled ON resolution = fine ORDER BY bucket, resolution DESC
ON CONFLICT (resolution, bucket, address_id) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen);

INSERT INTO translation_observation
    (resolution, bucket, translation_id, first_seen, last_seen, connections, opened)
SELECT coarse, bucket - (bucket % length + length) % length, translation_id, first_seen,
    last_seen, connections, opened
FROM translation_observation JOIN filled ON resolution = fine ORDER BY bucket, resolution DESC
ON CONFLICT (resolution, bucket, translation_id) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    connections = max(excluded.connections,
        excluded.opened + min(connections, 9223372036854775807 - excluded.opened)),
    opened = excluded.opened + min(opened, 9223372036854775807 - excluded.opened);

DROP TABLE filled;

UPDATE extent SET reach = max(reach, coalesce((
    SELECT min(max(max(last_seen - bucket, bucket - first_seen)), 9223372036854775807) FROM (
        SELECT resolution, bucket, first_seen, last_seen FROM flow_observation
        UNION ALL SELECT resolution, bucket, first_seen, last_seen FROM listener_observation
        UNION ALL SELECT resolution, bucket, first_seen, last_seen FROM address_observation
        UNION ALL SELECT resolution, bucket, first_seen, last_seen FROM translation_observation
    ) seen
    WHERE seen.resolution = extent.resolution), 0))
WHERE resolution > 0;

-- What finds the observations of one address or translation in a bucket of a coarser resolution.
CREATE INDEX address_observation_address ON address_observation (address_id, resolution, bucket);
CREATE INDEX translation_observation_translation ON translation_observation
    (translation_id, resolution, bucket);
