-- By the object first: while the statistics know of few open events, PostgreSQL would walk all of a connection's.
DROP INDEX event_object_open;
CREATE INDEX event_object_open ON event_object (object_id, connection_id) WHERE outcome IS NULL;
