-- Ids are UUIDs, instants are microseconds since 1970 (UTC), json is text. The same names in migrations/sqlite.

-- One row: what this installation is.
CREATE TABLE installation (
    id                BIGINT PRIMARY KEY CHECK (id = 1),
    created_at        BIGINT NOT NULL,
    key_id            TEXT NOT NULL,             -- which key file the secrets are under
    key_check         BYTEA NOT NULL,             -- a known text under that key: another key is refused
    queue_generation  UUID                       -- the queue file the store knows (FA-05)
);

-- The order in which reads of Graph began (G-08).
-- A sequence without cache: each value is later than all drawn before, whoever draws it. The view shows the last one.
CREATE SEQUENCE ticket_order CACHE 1;
CREATE VIEW ticket AS
    SELECT 1::BIGINT AS id, CASE WHEN is_called THEN last_value ELSE 0 END AS value FROM ticket_order;

CREATE TABLE connection (
    id                     UUID PRIMARY KEY,
    name                   TEXT NOT NULL UNIQUE,
    tenant_id              UUID NOT NULL UNIQUE,
    domain                 TEXT NOT NULL,        -- the tenant's default domain, for people
    client_id              TEXT NOT NULL,
    cloud                  TEXT NOT NULL,        -- global | usgov | usgov-dod | china | custom
    credential_kind        TEXT NOT NULL,        -- client_secret
    credential             BYTEA NOT NULL,        -- encrypted
    credential_expires_at  BIGINT,
    realm                  TEXT NOT NULL,
    guests                 BOOLEAN NOT NULL,
    match_domains          TEXT NOT NULL,        -- json list: domains this connection may match people by
    test_users             TEXT NOT NULL,        -- json list
    path_token             BYTEA NOT NULL,        -- encrypted
    path_token_mac         BYTEA NOT NULL UNIQUE,
    state                  TEXT NOT NULL,        -- new | active | degraded | needs_attention | paused
    since                  BIGINT NOT NULL,
    reason                 TEXT,
    remedy                 TEXT,
    failures               BIGINT NOT NULL DEFAULT 0,
    next_try_at            BIGINT,
    checked_at             BIGINT,              -- last successful token and read
    first_sync_at          BIGINT,              -- when every mapped group had been seen
    gap_since              BIGINT,              -- a delta run is owed since then (G-04)
    last_notification_at   BIGINT,
    last_delta_at          BIGINT,
    rules_version          BIGINT NOT NULL DEFAULT 0,
    fields                 TEXT NOT NULL,        -- json FieldMap
    defaults               TEXT NOT NULL,        -- json Defaults
    settings               TEXT NOT NULL,        -- json Settings
    created_at             BIGINT NOT NULL
);

CREATE TABLE rule (
    connection_id     UUID NOT NULL REFERENCES connection (id),
    group_id          UUID NOT NULL,
    rule_order        BIGINT NOT NULL,
    kind              TEXT NOT NULL,
    role              TEXT,
    permissions       TEXT NOT NULL,             -- json list
    nested            BOOLEAN NOT NULL,
    exclude           BOOLEAN NOT NULL,
    group_name        TEXT NOT NULL,
    group_created_at  BIGINT,
    PRIMARY KEY (connection_id, group_id)
);

CREATE TABLE subscription (
    id                    UUID PRIMARY KEY,
    connection_id         UUID NOT NULL REFERENCES connection (id),
    resource              TEXT NOT NULL,         -- users | groups
    status                TEXT NOT NULL,         -- pending | active | gone
    graph_id              UUID UNIQUE,
    client_state_mac      BYTEA NOT NULL,
    pending_since         BIGINT,               -- a create or renew is under way: the handshake is answered
    created_at            BIGINT NOT NULL,
    expires_at            BIGINT,
    renew_at              BIGINT,
    last_notification_at  BIGINT
);
CREATE INDEX subscription_connection ON subscription (connection_id, resource, status);

-- The mirror.
CREATE TABLE directory_user (
    connection_id       UUID NOT NULL,
    user_id             UUID NOT NULL,
    profile_state       TEXT NOT NULL,           -- unknown | present | missing
    profile             TEXT,                    -- json Profile; of a missing user the last one seen
    profile_source      TEXT,                    -- by_id | listing
    profile_ticket      BIGINT NOT NULL DEFAULT 0,
    profile_read_at     BIGINT,
    missing_since       BIGINT,
    in_deleted_items    BOOLEAN NOT NULL DEFAULT FALSE,
    membership_ticket   BIGINT,                 -- floor: the latest complete by-id read
    membership_read_at  BIGINT,
    loss_read_at        BIGINT,                 -- scope_agree under way
    loss_rules_version  BIGINT,
    regain_read_at      BIGINT,                 -- reenable_agree under way
    decided_version     BIGINT,                 -- rules version of the last decision
    created_at          BIGINT NOT NULL,
    PRIMARY KEY (connection_id, user_id)
);

CREATE TABLE membership (
    connection_id  UUID NOT NULL,
    user_id        UUID NOT NULL,
    group_id       UUID NOT NULL,
    ticket         BIGINT NOT NULL,
    direct         BOOLEAN,                      -- null: the read did not tell
    present        BOOLEAN NOT NULL,
    PRIMARY KEY (connection_id, user_id, group_id)
);
CREATE INDEX membership_group ON membership (connection_id, group_id, user_id);

CREATE TABLE directory_group (
    connection_id  UUID NOT NULL,
    group_id       UUID NOT NULL,
    name           TEXT NOT NULL,
    created_in_entra_at BIGINT,
    state          TEXT NOT NULL,                -- present | deleted
    ticket         BIGINT NOT NULL,
    read_at        BIGINT NOT NULL,
    listed_at      BIGINT,
    PRIMARY KEY (connection_id, group_id)
);

-- Which group stands directly in which: the chain an explanation shows, and the nested groups in scope.
CREATE TABLE group_edge (
    connection_id  UUID NOT NULL,
    parent_id      UUID NOT NULL,
    child_id       UUID NOT NULL,
    PRIMARY KEY (connection_id, parent_id, child_id)
);
CREATE INDEX group_edge_child ON group_edge (connection_id, child_id);

-- Ids out of scope that a hint named, kept 30 min: no Graph call, no attribute.
CREATE TABLE seen (
    connection_id  UUID NOT NULL,
    object_id      UUID NOT NULL,
    object_kind    TEXT NOT NULL,                -- user | group
    seen_at        BIGINT NOT NULL,
    PRIMARY KEY (connection_id, object_id)
);
CREATE INDEX seen_age ON seen (seen_at);

CREATE TABLE record (
    id              UUID PRIMARY KEY,
    connection_id   UUID REFERENCES connection (id),
    realm           TEXT NOT NULL,
    kind            TEXT NOT NULL,
    status          TEXT NOT NULL,
    reasons         TEXT NOT NULL,               -- json list, sorted
    role            TEXT,
    permissions     TEXT NOT NULL,               -- json list
    email           TEXT,
    email_key       TEXT,
    username        TEXT,
    username_key    TEXT,
    display_name    TEXT,
    fields          TEXT NOT NULL,               -- json object
    host_id         TEXT,                        -- the application's own id
    entra_id        UUID,
    rule_group_id   UUID,                        -- the rule that won last
    root            BOOLEAN NOT NULL DEFAULT FALSE,
    privileged      BOOLEAN NOT NULL DEFAULT FALSE,
    in_use          BOOLEAN NOT NULL DEFAULT FALSE,
    inactive_since  BIGINT,
    verified_at     BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    CHECK (status = 'archived' OR (status = 'active') = (reasons = '[]'))
);
CREATE UNIQUE INDEX record_email ON record (realm, email_key);
CREATE UNIQUE INDEX record_username ON record (realm, username_key);
CREATE UNIQUE INDEX record_host ON record (realm, host_id);
-- One person has at most one live login (G-20).
CREATE UNIQUE INDEX record_person ON record (connection_id, entra_id) WHERE status <> 'archived';
CREATE INDEX record_list ON record (connection_id, id);

CREATE TABLE history (
    id             UUID PRIMARY KEY,
    connection_id  UUID NOT NULL,
    record_id      UUID NOT NULL,
    at             BIGINT NOT NULL,
    ticket         BIGINT,                      -- the read it follows from
    trigger        TEXT NOT NULL,                -- hint | sync | on_demand | rule | import | admin
    rule_group_id  UUID,
    changes        TEXT NOT NULL,                -- json [{field, before, after}]
    source         TEXT NOT NULL                 -- json: the observed values used
);
CREATE INDEX history_record ON history (record_id, id);

-- Unchained; a sealer will chain them (G-28).
CREATE TABLE audit (
    id             UUID PRIMARY KEY,
    at             BIGINT NOT NULL,
    connection_id  UUID,
    actor          TEXT NOT NULL,                -- sync | cli
    action         TEXT NOT NULL,
    object_kind    TEXT NOT NULL,
    object_id      TEXT NOT NULL,
    detail         TEXT NOT NULL                 -- json, without secrets
);

CREATE TABLE event (
    id             UUID PRIMARY KEY,
    replay_of      UUID,
    connection_id  UUID,                         -- null: a message that named none we know
    kind           TEXT NOT NULL,                -- user | group | lifecycle | on_demand | catch_up
    object_id      UUID,
    claim          TEXT,
    status         TEXT NOT NULL,
    attempts       BIGINT NOT NULL DEFAULT 0,
    reason         TEXT,
    message_id     UUID,                         -- the queue message and the place in it: taken twice is one event
    message_item   BIGINT,
    taken_ticket   BIGINT NOT NULL,             -- only a read with a later ticket may settle it (G-05)
    received_at    BIGINT NOT NULL,
    settled_at     BIGINT
);
CREATE UNIQUE INDEX event_message ON event (message_id, message_item);
CREATE INDEX event_list ON event (connection_id, id);
CREATE INDEX event_connection_status ON event (connection_id, status, id);
CREATE INDEX event_status ON event (status, id);

-- What could not be read (BI-45), up to 64 KiB.
CREATE TABLE parked_body (
    event_id       UUID PRIMARY KEY,
    body           BYTEA NOT NULL
);

-- Everyone an event named: it is decided when all of them are, with the worst of their outcomes.
CREATE TABLE event_object (
    event_id       UUID NOT NULL,
    connection_id  UUID NOT NULL,
    object_id      UUID NOT NULL,
    outcome        TEXT,                         -- null while undecided
    reason         TEXT,
    PRIMARY KEY (event_id, object_id)
);
CREATE INDEX event_object_object ON event_object (object_id);
CREATE INDEX event_object_open ON event_object (connection_id, object_id) WHERE outcome IS NULL;

-- One row per object to look at, however many hints named it.
CREATE TABLE due (
    connection_id  UUID NOT NULL,
    object_id      UUID NOT NULL,
    object_kind    TEXT NOT NULL,                -- user | group | unknown
    due_at         BIGINT NOT NULL,
    settle_at      BIGINT,                      -- the later re-read that is owed as well
    hinted_at      BIGINT,                      -- when the hint came that settle counts from
    claim          TEXT,                         -- changed | deleted | added | removed | null
    urgent         BOOLEAN NOT NULL,
    read_profile   BOOLEAN NOT NULL,
    read_membership BOOLEAN NOT NULL,
    reason         TEXT NOT NULL,                -- hint | settle | scope_agree | missing_agree | reenable_agree | ...
    version        BIGINT NOT NULL,             -- raised by every hint: one that comes during a read keeps the row due
    attempts       BIGINT NOT NULL DEFAULT 0,
    last_read_at   BIGINT,
    lease_owner    UUID,
    lease_until    BIGINT,
    PRIMARY KEY (connection_id, object_id)
);
CREATE INDEX due_next ON due (urgent DESC, due_at);
CREATE INDEX due_soonest ON due (connection_id, due_at);
CREATE INDEX due_lease ON due (lease_owner) WHERE lease_owner IS NOT NULL;

-- Longer work in steps: full sync, group listing.
CREATE TABLE task (
    id             UUID PRIMARY KEY,
    connection_id  UUID NOT NULL,
    kind           TEXT NOT NULL,                -- full_sync | list_group
    object_id      UUID,
    state          TEXT NOT NULL,                -- due | done | failed
    checkpoint     TEXT NOT NULL,                -- json
    progress       TEXT NOT NULL,                -- json counts
    due_at         BIGINT NOT NULL,
    attempts       BIGINT NOT NULL DEFAULT 0,
    reason         TEXT,
    lease_owner    UUID,
    lease_until    BIGINT,
    created_at     BIGINT NOT NULL,
    finished_at    BIGINT
);
CREATE INDEX task_due ON task (state, due_at);

-- Whoever lost access lately: what the brake counts.
CREATE TABLE removal (
    id             UUID PRIMARY KEY,
    connection_id  UUID NOT NULL,
    record_id      UUID NOT NULL,
    class          TEXT NOT NULL,                -- revoked | lost_scope
    at             BIGINT NOT NULL,
    exempt         BOOLEAN NOT NULL
);
CREATE INDEX removal_window ON removal (connection_id, at);
CREATE INDEX removal_installation ON removal (at);

-- People on a confirmed rule plan: they may lose access by those rules without the brake (semantics, the brake).
CREATE TABLE exemption (
    connection_id  UUID NOT NULL,
    record_id      UUID NOT NULL,
    rules_version  BIGINT NOT NULL,
    PRIMARY KEY (connection_id, record_id)
);

-- Locked by whoever judges: eight workers together let through exactly the limit.
CREATE TABLE brake (
    scope          TEXT PRIMARY KEY,             -- a connection's id, or 'installation'
    judged_at      BIGINT
);
INSERT INTO brake (scope) VALUES ('installation');

CREATE TABLE hold (
    id             UUID PRIMARY KEY,
    connection_id  UUID NOT NULL,
    opened_at      BIGINT NOT NULL,
    limit_reached  TEXT NOT NULL,
    cause          TEXT NOT NULL,
    state          TEXT NOT NULL                 -- open | approved | rejected | emptied (everybody left it by themselves)
);
CREATE INDEX hold_open ON hold (connection_id, state);

CREATE TABLE hold_person (
    hold_id        UUID NOT NULL,
    connection_id  UUID NOT NULL,
    record_id      UUID NOT NULL,
    user_id        UUID NOT NULL,
    cause          TEXT NOT NULL,                -- json list of reasons
    class          TEXT NOT NULL,
    state          TEXT NOT NULL,                -- held | approved | rejected | back | overtaken (by a new cause)
    held_at        BIGINT NOT NULL,
    PRIMARY KEY (hold_id, record_id)
);
CREATE UNIQUE INDEX hold_person_open ON hold_person (record_id) WHERE state = 'held';

CREATE TABLE review (
    id             UUID PRIMARY KEY,
    connection_id  UUID NOT NULL,
    kind           TEXT NOT NULL,
    entra_id       UUID NOT NULL,
    candidates     TEXT NOT NULL,                -- json list of record ids
    choices        TEXT NOT NULL,                -- json list
    why            TEXT NOT NULL,
    state          TEXT NOT NULL,                -- open | settled | obsolete
    opened_at      BIGINT NOT NULL,
    settled_at     BIGINT
);
CREATE UNIQUE INDEX review_open ON review (connection_id, entra_id, kind) WHERE state = 'open';

-- Who is at work: a sync that waits says so when nobody is.
CREATE TABLE worker (
    id             UUID PRIMARY KEY,
    role           TEXT NOT NULL,
    started_at     BIGINT NOT NULL,
    seen_at        BIGINT NOT NULL
);

-- Counts are kept, not counted (performance.md, lesson 9).
CREATE TABLE people_count (
    connection_id  UUID PRIMARY KEY,
    active         BIGINT NOT NULL,
    inactive       BIGINT NOT NULL
);

-- Row-level security (G-22). A statement sees the rows of the connections that lockstep.connection names, records of the
-- realm that lockstep.realm names, and what belongs to no connection; '*' sees all. The owner is not bound by it: the
-- application runs as another role. Tables without data of the directory are exempt (docs/decisions/0006).
CREATE FUNCTION lockstep_sees_all() RETURNS BOOLEAN LANGUAGE SQL STABLE AS
    $$ SELECT coalesce(current_setting('lockstep.connection', true), '') = '*' $$;
CREATE FUNCTION lockstep_connections() RETURNS UUID[] LANGUAGE SQL STABLE AS
    $$ SELECT CASE WHEN coalesce(current_setting('lockstep.connection', true), '') IN ('', '*') THEN ARRAY[]::UUID[]
        ELSE string_to_array(current_setting('lockstep.connection', true), ',')::UUID[] END $$;

ALTER TABLE directory_user ENABLE ROW LEVEL SECURITY;
CREATE POLICY directory_user_scope ON directory_user USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE membership ENABLE ROW LEVEL SECURITY;
CREATE POLICY membership_scope ON membership USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE directory_group ENABLE ROW LEVEL SECURITY;
CREATE POLICY directory_group_scope ON directory_group USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE group_edge ENABLE ROW LEVEL SECURITY;
CREATE POLICY group_edge_scope ON group_edge USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE seen ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen_scope ON seen USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE history ENABLE ROW LEVEL SECURITY;
CREATE POLICY history_scope ON history USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
CREATE POLICY event_scope ON event USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE event_object ENABLE ROW LEVEL SECURITY;
CREATE POLICY event_object_scope ON event_object USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE hold ENABLE ROW LEVEL SECURITY;
CREATE POLICY hold_scope ON hold USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE hold_person ENABLE ROW LEVEL SECURITY;
CREATE POLICY hold_person_scope ON hold_person USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE review ENABLE ROW LEVEL SECURITY;
CREATE POLICY review_scope ON review USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[]));
ALTER TABLE record ENABLE ROW LEVEL SECURITY;
CREATE POLICY record_scope ON record USING ((SELECT lockstep_sees_all()) OR connection_id IS NULL
    OR connection_id = ANY ((SELECT lockstep_connections())::UUID[])
    OR realm = (SELECT current_setting('lockstep.realm', true)));
-- A body that could not be read belongs to its event.
ALTER TABLE parked_body ENABLE ROW LEVEL SECURITY;
CREATE POLICY parked_body_scope ON parked_body USING (EXISTS (SELECT 1 FROM event e WHERE e.id = event_id));
