-- Holds: somebody reads the registry's files over a longer time, and gc must not remove any meanwhile (a running backup). A hold
-- whose time has passed belonged to a process that died, and counts no more.
CREATE TABLE holds (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
