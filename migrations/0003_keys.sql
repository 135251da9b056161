-- The keys that all nodes share, each sealed with the master key.

CREATE TABLE keys (
    purpose    text        NOT NULL COLLATE "C",
    id         text        NOT NULL COLLATE "C",
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT keys_pkey PRIMARY KEY (purpose, id)
);
