-- calls ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE calls (
    id               uuid        NOT NULL,
    conversation_id  uuid        NOT NULL,
    business_id      uuid        NOT NULL,
    caller_id        uuid        NOT NULL,
    receiver_id      uuid        NOT NULL,
    call_type        text        NOT NULL COLLATE "C",
    room_id          text        NOT NULL,
    status           text        NOT NULL COLLATE "C",
    created_at       timestamptz NOT NULL,
    rings_until      timestamptz NOT NULL,
    accepted_at      timestamptz,
    ended_at         timestamptz,
    -- Who ended it; null when nobody did.
    ended_by         uuid,
    end_reason       text        COLLATE "C",
    -- How long they talked.
    duration_ms      bigint,
    -- Its place in the log: the order of the history.
    position         bigint      NOT NULL,
    -- Position of the last event taken in.
    changed_position bigint      NOT NULL,
    CONSTRAINT calls_pkey PRIMARY KEY (id)
) WITH (fillfactor = 80);

CREATE INDEX calls_by_caller ON calls (caller_id, position);
CREATE INDEX calls_by_receiver ON calls (receiver_id, position);
-- What the process managers look for.
CREATE INDEX calls_ringing ON calls (rings_until) WHERE status = 'ringing';
CREATE INDEX calls_active ON calls (id) WHERE status = 'active';

-- messaging -----------------------------------------------------------------------------------------------------------------

-- Position of the last message that a device of this member has been handed.
ALTER TABLE conversation_members ADD COLUMN delivered_position bigint NOT NULL DEFAULT 0;
