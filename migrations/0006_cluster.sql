-- What nodes share that is no fact. None of it is in the log, and none of it outlives a crash of the database, except when people
-- were last seen.

-- The nodes that are up. Each says so every few seconds; whoever hasn't for too long is dead.
CREATE UNLOGGED TABLE nodes (
    id      uuid        NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (id)
);

-- Who is connected to which node.
CREATE UNLOGGED TABLE presence (
    node_id     uuid NOT NULL,
    user_id     uuid NOT NULL,
    business_id uuid NOT NULL,
    CONSTRAINT presence_pkey PRIMARY KEY (node_id, user_id)
);

-- When people were online last.
CREATE TABLE last_seen (
    user_id uuid        NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT last_seen_pkey PRIMARY KEY (user_id)
);

-- Tickets with which browsers open streams: each is good once, and for a short time. Kept by their hash.
CREATE UNLOGGED TABLE tickets (
    hash       bytea       NOT NULL,
    user_id    uuid        NOT NULL,
    session_id uuid        NOT NULL,
    -- Until when what is opened with it may stay open.
    open_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT tickets_pkey PRIMARY KEY (hash)
);

CREATE INDEX tickets_by_expiry ON tickets (expires_at);
