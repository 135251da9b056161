-- feed: what happened to whom. An index into the log: the events themselves stay there. -------------------------------------

-- One row an event and audience. An audience is a conversation, or a person where an event concerns nobody else.
CREATE TABLE feed_entries (
    audience uuid   NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT feed_entries_pkey PRIMARY KEY (audience, position)
);

-- Position of the last event of each conversation: those in which nothing new has happened are not looked at.
CREATE TABLE feed_conversations (
    conversation_id uuid   NOT NULL,
    last_position   bigint NOT NULL,
    CONSTRAINT feed_conversations_pkey PRIMARY KEY (conversation_id)
) WITH (fillfactor = 70);

-- Who is in which conversation, from when to when. Whoever joins later sees nothing of what was before.
CREATE TABLE feed_members (
    user_id         uuid   NOT NULL,
    conversation_id uuid   NOT NULL,
    from_position   bigint NOT NULL,
    until_position  bigint,
    CONSTRAINT feed_members_pkey PRIMARY KEY (user_id, conversation_id)
);

-- The first event of each day, so that what is older than so many days can be found.
CREATE TABLE feed_days (
    day            date   NOT NULL,
    first_position bigint NOT NULL,
    CONSTRAINT feed_days_pkey PRIMARY KEY (day)
);

-- Up to here the feed has been forgotten.
CREATE TABLE feed_horizon (
    position bigint  NOT NULL,
    only_row boolean NOT NULL DEFAULT true,
    CONSTRAINT feed_horizon_pkey PRIMARY KEY (only_row),
    CONSTRAINT feed_horizon_has_one_row CHECK (only_row)
);

INSERT INTO feed_horizon (position) VALUES (0);
