-- The snapshots of one region: `{region}` is its number. Each region writes its own tables and publishes only them.
CREATE TABLE snapshots_{region} (
    document text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    version bigint NOT NULL,
    -- One of the logical shards, by which documents are moved between servers.
    shard smallint NOT NULL,
    vector bytea NOT NULL,
    position_log bytea,
    position_partition bigint,
    position_offset bigint,
    length bigint NOT NULL,
    checksum bytea NOT NULL,
    -- NULL: the bytes are in the blob of that key.
    bytes bytea,
    blob text,
    PRIMARY KEY (document, generation, version)
);
CREATE INDEX snapshots_{region}_by_shard ON snapshots_{region} (shard);

-- The highest version ever given out, which outlives the versions themselves.
CREATE TABLE snapshot_versions_{region} (
    document text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (document, generation)
);

-- The control plane's index: made from the topic `control`, and made again from it when it is lost.
CREATE TABLE control_state (
    id smallint PRIMARY KEY CHECK (id = 1),
    -- The log this is an index of, 16 bytes, big-endian, and how much of it is in here.
    log_id bytea NOT NULL,
    built_to bigint NOT NULL,
    epoch bigint NOT NULL
);

CREATE TABLE documents (
    document text COLLATE "C" PRIMARY KEY,
    generation bigint NOT NULL,
    creator text NOT NULL,
    created_ms bigint NOT NULL,
    deleted_ms bigint,
    at bigint NOT NULL
);

CREATE TABLE deleted (
    document text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    deleted_ms bigint NOT NULL,
    PRIMARY KEY (document, generation)
);

CREATE TABLE rights (
    document text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    rights smallint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (document, principal)
);

-- Sites are stored with their top bit flipped, so that signed order is unsigned order.
CREATE TABLE sites (
    document text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    site bigint NOT NULL,
    principal text NOT NULL,
    -- The last counter used before the present lease; NULL: not a leased site.
    leased_from bigint,
    -- The counter it was released with; NULL: not released.
    released bigint,
    at bigint NOT NULL,
    PRIMARY KEY (document, generation, site)
);
CREATE INDEX sites_released ON sites (document, generation, principal) WHERE released IS NOT NULL;

CREATE TABLE audit (
    at bigint PRIMARY KEY,
    at_ms bigint NOT NULL,
    principal text NOT NULL,
    action text NOT NULL,
    document text COLLATE "C",
    detail text NOT NULL
);
CREATE INDEX audit_by_document ON audit (document, at);
