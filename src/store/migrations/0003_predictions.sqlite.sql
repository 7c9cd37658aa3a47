-- Logged predictions, deleted by age through the index on time.
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
);
CREATE INDEX predictions_time ON predictions (time_ms);
CREATE INDEX predictions_model ON predictions (model, version, time_ms);
