-- What of a document's op store was moved to segments: by site, the highest counter.
CREATE TABLE ops_trimmed (
    document TEXT NOT NULL,
    generation INTEGER NOT NULL,
    -- An encoded version vector.
    vector BLOB NOT NULL,
    PRIMARY KEY (document, generation)
) STRICT, WITHOUT ROWID;
