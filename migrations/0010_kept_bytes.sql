-- messaging -----------------------------------------------------------------------------------------------------------------

-- Null in rows of before; they are built anew.
ALTER TABLE files
    ADD COLUMN uploader_id uuid,
    ADD COLUMN business_id uuid;

-- How many bytes of files are kept of each user, and of each business.
CREATE TABLE kept_bytes (
    owner_id uuid   NOT NULL,
    bytes    bigint NOT NULL,
    CONSTRAINT kept_bytes_pkey PRIMARY KEY (owner_id)
);
