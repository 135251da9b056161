-- messaging -----------------------------------------------------------------------------------------------------------------

ALTER TABLE messages
    ADD COLUMN reply_to   uuid,
    -- Since when it says what it says, if it was edited.
    ADD COLUMN edited_at  timestamptz,
    -- A message that is deleted keeps its place and nothing else.
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN deleted_by uuid;

-- How many messages this member has got and not read.
ALTER TABLE conversation_members ADD COLUMN unread bigint NOT NULL DEFAULT 0;

UPDATE conversation_members m SET unread = (
    SELECT count(*) FROM messages
    WHERE conversation_id = m.conversation_id AND recipient_id = m.user_id AND position > m.read_position
);

-- A person's conversations, the latest first.
CREATE INDEX conversation_members_by_user ON conversation_members (user_id, last_position);

CREATE TABLE files (
    id           uuid        NOT NULL,
    -- Null once it is erased.
    name         text,
    size_bytes   bigint      NOT NULL,
    content_type text        NOT NULL COLLATE "C",
    sha256       text        NOT NULL COLLATE "C",
    -- Since when no message has carried it; null while one does.
    idle_since   timestamptz,
    removed_at   timestamptz,
    CONSTRAINT files_pkey PRIMARY KEY (id)
);

-- What the sweep looks for.
CREATE INDEX files_idle ON files (idle_since) WHERE removed_at IS NULL AND idle_since IS NOT NULL;
CREATE INDEX files_removed ON files (removed_at) WHERE removed_at IS NOT NULL;

-- The messages that carry files.
CREATE TABLE file_carriers (
    file_id     uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    attached_at timestamptz NOT NULL,
    -- Whether the message is there; a file is given to a message before that.
    is_sent     boolean     NOT NULL DEFAULT false,
    -- Whether the message is deleted.
    is_deleted  boolean     NOT NULL DEFAULT false,
    CONSTRAINT file_carriers_pkey PRIMARY KEY (file_id, message_id)
);

CREATE INDEX file_carriers_by_message ON file_carriers (message_id);
CREATE INDEX file_carriers_stale ON file_carriers (attached_at) WHERE is_deleted OR NOT is_sent;

-- people --------------------------------------------------------------------------------------------------------------------

ALTER TABLE sessions
    -- What the device calls itself.
    ADD COLUMN user_agent   text,
    ADD COLUMN refreshed_at timestamptz,
    -- Its place in the log.
    ADD COLUMN position     bigint NOT NULL DEFAULT 0;

UPDATE sessions SET position = log.position FROM log
WHERE log.stream = 'session-' || sessions.id AND log.stream_version = 1;

-- The form by which names are searched and sorted; the database folds the case of Latin letters only, if its locale is C.
ALTER TABLE users ADD COLUMN name_key text COLLATE "C";

UPDATE users SET name_key = lower(name);
