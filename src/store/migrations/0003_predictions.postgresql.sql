-- Logged predictions, one partition a day (store/partitions.h makes and drops them); the default one takes what fits
-- no day.
CREATE TABLE predictions (
    id         TEXT NOT NULL,
    time_ms    BIGINT NOT NULL,
    model      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    request_id TEXT,
    inputs     TEXT,
    outputs    TEXT,
    latency_us BIGINT,
    status     BIGINT,
    PRIMARY KEY (id, time_ms)
) PARTITION BY RANGE (time_ms);
CREATE INDEX predictions_time ON predictions (time_ms);
CREATE INDEX predictions_model ON predictions (model, version, time_ms);
CREATE TABLE predictions_default PARTITION OF predictions DEFAULT;
