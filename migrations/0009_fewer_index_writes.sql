-- What every message has to pay for: an index that is written to more often than it is read costs more than it saves.

-- The last position of a conversation changes with every message in it. As long as no index holds it, the row is changed in place,
-- and no index is touched; a person's conversations are sorted when they are listed.
DROP INDEX conversation_members_by_user;
CREATE INDEX conversation_members_by_user ON conversation_members (user_id);
ALTER TABLE conversation_members SET (fillfactor = 50);

-- Ids of requests grow with time, as the log does: of each range of pages the least and the greatest is enough to find one.
DROP INDEX audit_events_by_correlation;
CREATE INDEX audit_events_by_correlation ON audit_events USING brin (correlation_id) WITH (autosummarize = on);

-- Most events are messages that were sent: those are found soon in any stretch of the log.
DROP INDEX audit_events_by_type;
CREATE INDEX audit_events_by_type ON audit_events (event_type, position) WHERE event_type <> 'MessageSent';
