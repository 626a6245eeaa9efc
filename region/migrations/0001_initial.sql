-- One row: what this data folder is.
CREATE TABLE region (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- 16 bytes, big-endian.
    log_id BLOB NOT NULL,
    -- Everything of the log below this offset has been trimmed.
    log_floor INTEGER NOT NULL,
    -- The lowest site index for documents not leased of yet; raised when the folder is put back from a backup.
    lease_floor INTEGER NOT NULL
) STRICT;

-- The log: one partition, one row a record. The writer gives the offsets.
CREATE TABLE log (
    offset INTEGER PRIMARY KEY,
    document TEXT NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX log_by_document ON log (document, offset);

CREATE TABLE dead_letters (
    log_id BLOB NOT NULL,
    offset INTEGER NOT NULL,
    reason TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (log_id, offset)
) STRICT;

-- How far each reader of the log has come: the next offset it will read.
CREATE TABLE progress (
    reader TEXT PRIMARY KEY,
    offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sites are stored with their top bit flipped, so that signed order is unsigned order.
CREATE TABLE ops (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    site INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (document, generation, site, first, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    vector BLOB NOT NULL,
    position_log BLOB,
    position_offset INTEGER,
    length INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (document, generation, version)
) STRICT;

-- The highest version ever given out, which outlives the versions themselves.
CREATE TABLE snapshot_versions (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (document, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    document TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    creator TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Deleted generations whose contents have not been erased yet.
CREATE TABLE deleted (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL,
    PRIMARY KEY (document, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE rights (
    document TEXT NOT NULL,
    principal TEXT NOT NULL,
    rights INTEGER NOT NULL,
    PRIMARY KEY (document, principal)
) STRICT, WITHOUT ROWID;

CREATE TABLE sites (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    site INTEGER NOT NULL,
    principal TEXT NOT NULL,
    -- The last counter used before the present lease; NULL: not a leased site.
    leased_from INTEGER,
    -- The counter it was released with; NULL: not released.
    released INTEGER,
    PRIMARY KEY (document, generation, site)
) STRICT, WITHOUT ROWID;
CREATE INDEX sites_released ON sites (document, generation, principal) WHERE released IS NOT NULL;

CREATE TABLE lease_index (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (document, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    document TEXT,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_document ON audit (document, id);
