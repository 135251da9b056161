-- projections are rebuilt beside those that serve, and take in later what they had to park ------------------------------------

ALTER TABLE projection_checkpoints
    -- Which version of the projection has made the rows.
    ADD COLUMN version    int    NOT NULL DEFAULT 1,
    -- Goes up when the tables are swapped for others, and when parked events are taken in: whoever writes and knows an older one
    -- has to look anew.
    ADD COLUMN generation bigint NOT NULL DEFAULT 0;

ALTER TABLE parked_events
    ADD COLUMN stream     text COLLATE "C",
    ADD COLUMN event_type text COLLATE "C";

UPDATE parked_events SET stream = log.stream, event_type = log.event_type FROM log WHERE log.position = parked_events.position;

ALTER TABLE parked_events
    ALTER COLUMN stream SET NOT NULL,
    ALTER COLUMN event_type SET NOT NULL;

-- Projections that are to be rebuilt, and how far that has come. One that is finished stays until the next time.
CREATE TABLE projection_rebuilds (
    projection     text        NOT NULL COLLATE "C",
    requested_at   timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    -- Where it has begun to read, or gone on after an interruption, and when.
    began_at       timestamptz,
    began_position bigint      NOT NULL DEFAULT 0,
    -- How far it has come since, and how far there is to go.
    position       bigint      NOT NULL DEFAULT 0,
    head           bigint      NOT NULL DEFAULT 0,
    events         bigint      NOT NULL DEFAULT 0,
    updated_at     timestamptz,
    -- Why it has stopped. It is tried again.
    error          text,
    CONSTRAINT projection_rebuilds_pkey PRIMARY KEY (projection)
);

-- audit: what there is in the log, for those who look for some of it. An index: the events themselves stay there. ---------------

CREATE TABLE audit_events (
    position       bigint NOT NULL,
    business_id    uuid   NOT NULL,
    event_type     text   NOT NULL COLLATE "C",
    actor_user     uuid,
    correlation_id uuid   NOT NULL,
    CONSTRAINT audit_events_pkey PRIMARY KEY (position)
);

CREATE INDEX audit_events_by_business ON audit_events (business_id, position);
CREATE INDEX audit_events_by_type ON audit_events (event_type, position);
CREATE INDEX audit_events_by_actor ON audit_events (actor_user, position) WHERE actor_user IS NOT NULL;
CREATE INDEX audit_events_by_correlation ON audit_events (correlation_id, position);

-- the log that the read models are made of: it may be another one than that of this database. Known by its first event. -----------

CREATE TABLE log_identity (
    first_event uuid    NOT NULL,
    only_row    boolean NOT NULL DEFAULT true,
    CONSTRAINT log_identity_pkey PRIMARY KEY (only_row),
    CONSTRAINT log_identity_has_one_row CHECK (only_row)
);
