-- The signed list of endpoints of the epoch in force.
CREATE TABLE control_endpoints (
    id integer PRIMARY KEY CHECK (id = 1),
    epoch bigint NOT NULL,
    signed text NOT NULL,
    record bigint NOT NULL
);
