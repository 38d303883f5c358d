-- Answers to holds (D6). hold.state is one of: open | approved | rejected | partly_approved | emptied. hold_person.state is
-- one of: held | approved (until the read that follows) | gone | kept (rejected) | back | overtaken (by a new cause).
ALTER TABLE hold ADD COLUMN alarmed_at INTEGER;                 -- when the log last told of it
ALTER TABLE hold_person ADD COLUMN answer TEXT;                 -- approved | rejected
ALTER TABLE hold_person ADD COLUMN answered_at INTEGER;
ALTER TABLE hold_person ADD COLUMN answer_reason TEXT;
ALTER TABLE hold_person ADD COLUMN standing TEXT;               -- json: what somebody who is kept looked like then
CREATE INDEX hold_person_standing ON hold_person (record_id) WHERE state IN ('held', 'approved', 'kept');
CREATE INDEX hold_person_kept ON hold_person (connection_id) WHERE state = 'kept';
