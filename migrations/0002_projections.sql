-- The read models. All of this can be thrown away and built again from the log.

-- How far each projection has read the log. Moves in the transaction that writes the rows.
CREATE TABLE projection_checkpoints (
    projection text        NOT NULL COLLATE "C",
    position   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT projection_checkpoints_pkey PRIMARY KEY (projection)
) WITH (fillfactor = 10);

-- Events that a projection couldn't take in. It goes on without them.
CREATE TABLE parked_events (
    projection text        NOT NULL COLLATE "C",
    position   bigint      NOT NULL,
    error      text        NOT NULL,
    parked_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parked_events_pkey PRIMARY KEY (projection, position)
);

-- people --------------------------------------------------------------------------------------------------------------------

CREATE TABLE businesses (
    id         uuid        NOT NULL,
    name       text        NOT NULL,
    status     text        NOT NULL COLLATE "C",
    created_at timestamptz NOT NULL,
    position   bigint      NOT NULL,
    CONSTRAINT businesses_pkey PRIMARY KEY (id)
);

CREATE INDEX businesses_by_position ON businesses (position);

CREATE TABLE users (
    id          uuid        NOT NULL,
    business_id uuid        NOT NULL,
    -- Null once it is erased, like the name and the avatar.
    email       text,
    -- The form by which emails are compared.
    email_key   text        COLLATE "C",
    name        text,
    avatar      text,
    role        text        NOT NULL COLLATE "C",
    status      text        NOT NULL COLLATE "C",
    created_at  timestamptz NOT NULL,
    position    bigint      NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);

CREATE INDEX users_by_position ON users (position);
CREATE INDEX users_by_business ON users (business_id, position);
CREATE INDEX users_admins_by_email ON users (email_key) WHERE role <> 'BUSINESS_USER';

-- Logins that were reserved for somebody who has not been created yet.
CREATE TABLE unfinished_logins (
    user_id     uuid        NOT NULL,
    login_id    text        NOT NULL COLLATE "C",
    reserved_at timestamptz NOT NULL,
    CONSTRAINT unfinished_logins_pkey PRIMARY KEY (user_id)
);

CREATE TABLE sessions (
    id          uuid        NOT NULL,
    user_id     uuid        NOT NULL,
    business_id uuid        NOT NULL,
    audience    text        NOT NULL COLLATE "C",
    started_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
);

CREATE INDEX sessions_by_user ON sessions (user_id, started_at);

-- messaging -----------------------------------------------------------------------------------------------------------------

CREATE TABLE messages (
    id              uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    -- Its place in the log: the order of a conversation.
    position        bigint      NOT NULL,
    business_id     uuid        NOT NULL,
    sender_id       uuid        NOT NULL,
    recipient_id    uuid        NOT NULL,
    -- Null once it is erased.
    content         text,
    kind            text        NOT NULL COLLATE "C",
    attachments     uuid[]      NOT NULL,
    sent_at         timestamptz NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (id)
);

CREATE INDEX messages_by_conversation ON messages (conversation_id, position);

-- A conversation as each of its members sees it.
CREATE TABLE conversation_members (
    conversation_id uuid   NOT NULL,
    user_id         uuid   NOT NULL,
    other_user_id   uuid   NOT NULL,
    -- Position of the last message in it.
    last_position   bigint NOT NULL,
    -- Position of the last message that this member has read.
    read_position   bigint NOT NULL DEFAULT 0,
    read_at         timestamptz,
    CONSTRAINT conversation_members_pkey PRIMARY KEY (conversation_id, user_id)
) WITH (fillfactor = 70);
