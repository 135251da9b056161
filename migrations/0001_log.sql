-- The log: every fact, in order, for ever. Nothing ever updates or deletes a row of it.

CREATE TABLE log (
    position       bigint      NOT NULL,
    stream         text        NOT NULL COLLATE "C",
    stream_version bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    event_type     text        NOT NULL COLLATE "C",
    schema_version smallint    NOT NULL,
    recorded_at    timestamptz NOT NULL,
    business_id    uuid        NOT NULL,
    actor_user     uuid,
    actor_role     text        COLLATE "C",
    actor_session  uuid,
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    -- The exact bytes that were written: they are hashed, so that nobody can rewrite them unnoticed.
    data           bytea       NOT NULL,
    CONSTRAINT log_pkey PRIMARY KEY (position),
    -- Two writers who have seen the same version of a stream: the second one loses.
    CONSTRAINT log_stream_version_key UNIQUE (stream, stream_version)
);

-- Data compresses badly at the size of a message, and trying costs time on the send path.
ALTER TABLE log ALTER COLUMN data SET STORAGE EXTERNAL;

-- The last position given out. Its row lock orders the appends of all nodes, so positions have no gaps and increase in the order
-- in which appends become visible.
CREATE TABLE log_head (
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    only_row    boolean     NOT NULL DEFAULT true,
    CONSTRAINT log_head_pkey PRIMARY KEY (only_row),
    CONSTRAINT log_head_has_one_row CHECK (only_row)
) WITH (fillfactor = 10);

INSERT INTO log_head (position, recorded_at) VALUES (0, '-infinity');

-- For people: the log with its data as JSON.
CREATE VIEW log_readable AS
SELECT position, stream, stream_version, event_type, schema_version, recorded_at, business_id, actor_user, actor_role,
       convert_from(data, 'UTF8')::json AS data, event_id, correlation_id, causation_id, actor_session
FROM log;
