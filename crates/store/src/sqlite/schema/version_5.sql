-- Hosts that only captured, too: of those no probe has said which namespace is their own.
CREATE TABLE host_5 (
    host_id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    -- The inode of the namespace that counts as the host's own.
    namespace INTEGER,
    UNIQUE (machine_id, hostname)
) STRICT;
INSERT INTO host_5 SELECT host_id, machine_id, hostname, namespace FROM host;
DROP TABLE host;
ALTER TABLE host_5 RENAME TO host;

-- Runs of captures. What each has logged last tells whether a batch is there already.
CREATE TABLE capture (
    -- A UUID in its text form.
    capture_id TEXT PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES host,
    sequence INTEGER NOT NULL,
    last_logged_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Flow records, as docs/flow-schema.md has them. Unlike elsewhere, addresses are text.
CREATE TABLE flow_log (
    -- When it was written here; and who captured it.
    logged_at INTEGER NOT NULL,
    host_id INTEGER NOT NULL,
    id TEXT NOT NULL,
    protocol TEXT NOT NULL,
    src_addr TEXT NOT NULL,
    dst_addr TEXT NOT NULL,
    src_port INTEGER NOT NULL,
    dst_port INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    src_bytes INTEGER NOT NULL,
    dst_bytes INTEGER NOT NULL,
    src_packets INTEGER NOT NULL,
    dst_packets INTEGER NOT NULL,
    status TEXT NOT NULL,
    end_reason TEXT NOT NULL,
    interface TEXT,
    tcp_state TEXT,
    src_tcp_flags TEXT,
    dst_tcp_flags TEXT,
    tcp_handshake_rtt_us INTEGER,
    src_retransmissions INTEGER,
    dst_retransmissions INTEGER,
    src_process_pid INTEGER,
    src_process_start_time INTEGER,
    src_process_comm TEXT,
    src_process_exe TEXT,
    src_process_uid INTEGER,
    src_process_container TEXT,
    src_process_attribution TEXT,
    dst_process_pid INTEGER,
    dst_process_start_time INTEGER,
    dst_process_comm TEXT,
    dst_process_exe TEXT,
    dst_process_uid INTEGER,
    dst_process_container TEXT,
    dst_process_attribution TEXT
) STRICT;
CREATE INDEX flow_log_logged ON flow_log (logged_at);
CREATE INDEX flow_log_time ON flow_log (first_seen_at);
CREATE INDEX flow_log_source ON flow_log (src_addr, first_seen_at);
CREATE INDEX flow_log_destination ON flow_log (dst_addr, first_seen_at);
