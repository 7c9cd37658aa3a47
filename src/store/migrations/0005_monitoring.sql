-- What a server measured over time, so that a restart does not lose it: a row per series and minute (24 hours of them) or
-- ten minutes. Servers that share the database have rows of their own; `instance` tells them apart.
CREATE TABLE monitoring_points (
    instance      TEXT COLLATE "C" NOT NULL,
    span_ms       BIGINT NOT NULL,           -- 60000 or 600000
    time_ms       BIGINT NOT NULL,           -- when it began
    metric        TEXT COLLATE "C" NOT NULL,
    labels        TEXT COLLATE "C" NOT NULL, -- JSON object, by name
    client        BIGINT NOT NULL,           -- 1: logged by a client, 0: measured by the server
    count         BIGINT NOT NULL,
    sum           DOUBLE PRECISION NOT NULL,
    sum_squares   DOUBLE PRECISION NOT NULL,
    min           DOUBLE PRECISION,          -- NULL: no values
    max           DOUBLE PRECISION,
    client_errors BIGINT NOT NULL,           -- requests without an answer, by whose fault it was
    rejected      BIGINT NOT NULL,
    server_errors BIGINT NOT NULL,
    histogram     TEXT NOT NULL,             -- "cell:count ...", see src/observe/loghist.h
    PRIMARY KEY (instance, span_ms, time_ms, metric, labels)
);
CREATE INDEX monitoring_points_time ON monitoring_points (span_ms, time_ms);

-- Alerts that fired. Whose rule it was writes its course; who acknowledges it writes the three last columns.
CREATE TABLE alerts (
    id              TEXT COLLATE "C" PRIMARY KEY,
    instance        TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    severity        TEXT COLLATE "C" NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('firing', 'resolved')),
    summary         TEXT NOT NULL,
    metric          TEXT COLLATE "C" NOT NULL,
    model           TEXT COLLATE "C",          -- NULL: of the server
    above           BIGINT NOT NULL,           -- 1: the value is wrong above the threshold, 0: below
    threshold       DOUBLE PRECISION NOT NULL,
    value           DOUBLE PRECISION NOT NULL, -- the newest that was wrong
    for_ms          BIGINT NOT NULL,
    test            BIGINT NOT NULL,
    started_ms      BIGINT NOT NULL,
    fired_ms        BIGINT NOT NULL,
    resolved_ms     BIGINT,
    resolved_reason TEXT,
    delivery        TEXT COLLATE "C" NOT NULL, -- none, waiting, delivered, failed: of the present state
    attempts        BIGINT NOT NULL,
    delivery_error  TEXT,
    acknowledged_ms BIGINT,
    acknowledged_by TEXT,
    note            TEXT
);
CREATE INDEX alerts_fired ON alerts (fired_ms, id);
CREATE INDEX alerts_open ON alerts (instance) WHERE state = 'firing' OR delivery = 'waiting';
