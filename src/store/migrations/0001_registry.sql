-- The registry: models, versions, pointers, the live history, which blobs there are. Times: milliseconds since 1970.
-- A name of a model outside `models` follows it on a rename (ON UPDATE CASCADE) and goes with it (ON DELETE CASCADE).
-- Names are in the order of their bytes whatever the database's locale ("C"; SQLite's order already): pages come in
-- the same order everywhere, and an update of the C library cannot make an index wrong.

CREATE TABLE models (
    name        TEXT COLLATE "C" PRIMARY KEY,
    description TEXT,
    policy      TEXT,              -- JSON; NULL: the server's default
    latest      BIGINT NOT NULL,   -- highest version number ever given; 0: none yet
    live        BIGINT,            -- the live version, as aliases and stages have it
    previous    BIGINT,            -- what a rollback would bring back
    live_seq    BIGINT NOT NULL,   -- newest row of live_history; 0: none yet
    stage_seq   BIGINT NOT NULL,   -- last versions.stage_seq given
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    revision    BIGINT NOT NULL    -- of the last transaction that changed it or anything below it
);
CREATE INDEX models_revision ON models (revision);

-- Names that are no longer a model: replicas stop serving them. `latest` keeps their numbers from being given again.
CREATE TABLE models_gone (
    name     TEXT COLLATE "C" PRIMARY KEY,
    latest   BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX models_gone_revision ON models_gone (revision);

CREATE TABLE model_tags (
    model TEXT COLLATE "C" NOT NULL REFERENCES models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    key   TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
);
CREATE INDEX model_tags_key ON model_tags (key, model);

-- A deleted version keeps its row (its number, its part in histories); its files, tags and aliases are gone.
CREATE TABLE versions (
    model            TEXT COLLATE "C" NOT NULL REFERENCES models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    version          BIGINT NOT NULL,
    stage            TEXT COLLATE "C" NOT NULL CHECK (stage IN ('None', 'Staging', 'Production', 'Archived')),
    stage_seq        BIGINT NOT NULL,   -- order in which versions of the model went to their stages
    description      TEXT,
    source           TEXT,
    run_id           TEXT,
    replaces         BIGINT,            -- what was live when it was created
    signature        TEXT,              -- JSON, of the graph
    served_signature TEXT,              -- JSON, with the bundle's steps; NULL: never loaded by gates
    gates            TEXT,              -- JSON, newest results
    gates_ms         BIGINT,
    metrics          TEXT,              -- JSON
    digest           TEXT NOT NULL,     -- over its files
    size             BIGINT NOT NULL,
    file_count       BIGINT NOT NULL,
    created_ms       BIGINT NOT NULL,
    updated_ms       BIGINT NOT NULL,
    created_by       TEXT NOT NULL,
    deleted_ms       BIGINT,
    PRIMARY KEY (model, version)
);
CREATE INDEX versions_newest ON versions (model, version DESC) WHERE deleted_ms IS NULL;
CREATE INDEX versions_stage ON versions (stage, model, version DESC);
CREATE INDEX versions_run ON versions (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX versions_source ON versions (source) WHERE source IS NOT NULL;

CREATE TABLE version_tags (
    model   TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    key     TEXT COLLATE "C" NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (model, version, key),
    FOREIGN KEY (model, version) REFERENCES versions (model, version) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX version_tags_key ON version_tags (key, model, version);

CREATE TABLE aliases (
    model   TEXT COLLATE "C" NOT NULL,
    alias   TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES versions (model, version) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX aliases_version ON aliases (model, version);

-- One row a change of what is live. Rows form a stack through `below`; a rollback pushes a row that restores an older
-- one and lies on what that one lay on. champion and production are the whole pointer state while the row was current.
CREATE TABLE live_history (
    model      TEXT COLLATE "C" NOT NULL REFERENCES models (name) ON UPDATE CASCADE ON DELETE CASCADE,
    seq        BIGINT NOT NULL,     -- 1, 2, 3, ... a model
    version    BIGINT,              -- NULL: none is live
    champion   BIGINT,
    production TEXT NOT NULL,       -- JSON list, in the order they went there
    kind       TEXT NOT NULL,
    actor      TEXT NOT NULL,
    reason     TEXT,
    time_ms    BIGINT NOT NULL,
    below      BIGINT,              -- seq of the row below on the stack; NULL: none
    restores   BIGINT,              -- seq of the row that this rollback went back to
    PRIMARY KEY (model, seq)
);

-- Files by content. `deleting`: gc has decided that nothing needs it and is removing it; nothing may refer to it.
-- gc: mark (in a transaction that sees no reference) -> delete from the artifact store -> delete the row.
CREATE TABLE blobs (
    digest        TEXT PRIMARY KEY,
    size          BIGINT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('ready', 'deleting')),
    created_ms    BIGINT NOT NULL,
    referenced_ms BIGINT NOT NULL    -- when something last began or ceased to need it
);
CREATE INDEX blobs_referenced ON blobs (referenced_ms);

CREATE TABLE version_files (
    model   TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    path    TEXT COLLATE "C" NOT NULL,
    digest  TEXT NOT NULL REFERENCES blobs (digest),
    size    BIGINT NOT NULL,
    PRIMARY KEY (model, version, path),
    FOREIGN KEY (model, version) REFERENCES versions (model, version) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX version_files_digest ON version_files (digest);

-- Files that MLflow clients uploaded under a path of their own choice, through the artifact proxy.
CREATE TABLE mlflow_artifacts (
    path        TEXT COLLATE "C" PRIMARY KEY,
    digest      TEXT NOT NULL REFERENCES blobs (digest),
    size        BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL
);
CREATE INDEX mlflow_artifacts_digest ON mlflow_artifacts (digest);
