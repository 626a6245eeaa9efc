-- Which record of the topic a row was made from, and how far other regions' topics were copied.
ALTER TABLE control_state ADD COLUMN home text NOT NULL DEFAULT '';
ALTER TABLE documents ADD COLUMN record bigint NOT NULL DEFAULT 0;
ALTER TABLE documents ADD COLUMN copied boolean NOT NULL DEFAULT false;
ALTER TABLE rights ADD COLUMN record bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN record bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN version bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN copied boolean NOT NULL DEFAULT false;

CREATE TABLE control_heard (
    -- 16 bytes, big-endian.
    log_id bytea PRIMARY KEY,
    next bigint NOT NULL
);

-- Decisions of this region that a later epoch's home had not heard of: left out whenever the index is made.
CREATE TABLE control_cuts (
    from_offset bigint NOT NULL,
    below_offset bigint PRIMARY KEY
);
