-- Times are nanoseconds since the Unix epoch, addresses 4 or 16 bytes in network order. A namespace
-- inode is the bit pattern of an unsigned 64 bit number. NULL as a port stands for many ports.
--
-- What is observed again and again (observation tables) holds only numbers; what it is about
-- (dimension tables) is written once.

-- The farthest that an observation reaches from the start of its bucket, in either direction:
-- what lets a window of time be found by bucket, whatever bucket length each writer uses.
CREATE TABLE extent (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    reach INTEGER NOT NULL
) STRICT;
INSERT INTO extent VALUES (1, 0);

CREATE TABLE host (
    host_id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    -- The inode of the namespace that counts as the host's own.
    namespace INTEGER NOT NULL,
    UNIQUE (machine_id, hostname)
) STRICT;

CREATE TABLE namespace (
    namespace_id INTEGER PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES host,
    inode INTEGER NOT NULL,
    name TEXT,
    last_bucket INTEGER NOT NULL,
    UNIQUE (host_id, inode)
) STRICT;

CREATE TABLE host_address (
    address_id INTEGER PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES namespace,
    address BLOB NOT NULL CHECK (length(address) IN (4, 16)),
    last_bucket INTEGER NOT NULL,
    UNIQUE (namespace_id, address)
) STRICT;

CREATE TABLE process (
    process_id INTEGER PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES host,
    pid INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    comm TEXT NOT NULL,
    exe TEXT,
    pgid INTEGER NOT NULL,
    ppid INTEGER NOT NULL,
    family INTEGER NOT NULL,
    uid INTEGER,
    gid INTEGER,
    cgroup TEXT,
    container TEXT
) STRICT;
CREATE INDEX process_identity ON process (host_id, pid, start_time, comm, exe);

CREATE TABLE flow (
    flow_id INTEGER PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES namespace,
    -- The number in the IP header.
    protocol INTEGER NOT NULL,
    -- 0 active, 1 passive.
    direction INTEGER NOT NULL CHECK (direction IN (0, 1)),
    local_address BLOB NOT NULL CHECK (length(local_address) IN (4, 16)),
    local_port INTEGER,
    peer_address BLOB NOT NULL CHECK (length(peer_address) IN (4, 16)),
    peer_port INTEGER,
    process_id INTEGER REFERENCES process,
    -- 0 socket, 1 listener, 2 namespace.
    attribution INTEGER NOT NULL CHECK (attribution IN (0, 1, 2)),
    -- The newest bucket that may hold an observation of it: says without a search when none is left.
    last_bucket INTEGER NOT NULL
) STRICT;
CREATE INDEX flow_identity ON flow
    (namespace_id, peer_address, peer_port, local_address, local_port, process_id, protocol,
     direction, attribution);
CREATE INDEX flow_process ON flow (process_id);
CREATE INDEX flow_last_bucket ON flow (last_bucket);

CREATE TABLE listener (
    listener_id INTEGER PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES namespace,
    protocol INTEGER NOT NULL,
    local_address BLOB NOT NULL CHECK (length(local_address) IN (4, 16)),
    local_port INTEGER,
    process_id INTEGER REFERENCES process,
    last_bucket INTEGER NOT NULL
) STRICT;
CREATE INDEX listener_identity ON listener
    (namespace_id, local_address, local_port, process_id, protocol);
CREATE INDEX listener_process ON listener (process_id);
CREATE INDEX listener_last_bucket ON listener (last_bucket);

-- Observations name their dimension without a foreign key: to enforce one, each deletion of a
-- dimension would need an index over all observations, larger than what it guards.

CREATE TABLE flow_observation (
    bucket INTEGER NOT NULL,
    flow_id INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    bytes_sent INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    retransmits INTEGER NOT NULL,
    rtt_sum_us INTEGER NOT NULL,
    rtt_count INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (bucket, flow_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE listener_observation (
    bucket INTEGER NOT NULL,
    listener_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (bucket, listener_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE address_observation (
    bucket INTEGER NOT NULL,
    address_id INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (bucket, address_id)
) STRICT, WITHOUT ROWID;
