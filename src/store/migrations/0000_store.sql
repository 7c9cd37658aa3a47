-- Bookkeeping: which migrations ran, and how many write transactions there have been.
CREATE TABLE schema_migrations (
    number     BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_ms BIGINT NOT NULL
);

CREATE TABLE store_state (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);

INSERT INTO store_state (id, revision) VALUES (1, 0);
