-- Finding what was made of an event, and whoever may have lost access, without reading the rest.

CREATE INDEX event_replay ON event (replay_of) WHERE replay_of IS NOT NULL;

CREATE INDEX due_suspect ON due (due_at) WHERE claim = 'deleted' OR claim = 'removed' OR reason = 'missing_agree';
