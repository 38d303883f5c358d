-- Ids are UUID bytes, instants are microseconds since 1970 (UTC), json is text. The same names in migrations/postgres.

-- One row: what this installation is.
CREATE TABLE installation (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    created_at        INTEGER NOT NULL,
    key_id            TEXT NOT NULL,             -- which key file the secrets are under
    key_check         BLOB NOT NULL,             -- a known text under that key: another key is refused
    queue_generation  BLOB                       -- the queue file the store knows (FA-05)
) STRICT;

-- The order in which reads of Graph began (G-08).
CREATE TABLE ticket (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    value  INTEGER NOT NULL
) STRICT;
INSERT INTO ticket (id, value) VALUES (1, 0);

CREATE TABLE connection (
    id                     BLOB PRIMARY KEY,
    name                   TEXT NOT NULL UNIQUE,
    tenant_id              BLOB NOT NULL UNIQUE,
    domain                 TEXT NOT NULL,        -- the tenant's default domain, for people
    client_id              TEXT NOT NULL,
    cloud                  TEXT NOT NULL,        -- global | usgov | usgov-dod | china | custom
    credential_kind        TEXT NOT NULL,        -- client_secret
    credential             BLOB NOT NULL,        -- encrypted
    credential_expires_at  INTEGER,
    realm                  TEXT NOT NULL,
    guests                 INTEGER NOT NULL,
    match_domains          TEXT NOT NULL,        -- json list: domains this connection may match people by
    test_users             TEXT NOT NULL,        -- json list
    path_token             BLOB NOT NULL,        -- encrypted
    path_token_mac         BLOB NOT NULL UNIQUE,
    state                  TEXT NOT NULL,        -- new | active | degraded | needs_attention | paused
    since                  INTEGER NOT NULL,
    reason                 TEXT,
    remedy                 TEXT,
    failures               INTEGER NOT NULL DEFAULT 0,
    next_try_at            INTEGER,
    checked_at             INTEGER,              -- last successful token and read
    first_sync_at          INTEGER,              -- when every mapped group had been seen
    gap_since              INTEGER,              -- a delta run is owed since then (G-04)
    last_notification_at   INTEGER,
    last_delta_at          INTEGER,
    rules_version          INTEGER NOT NULL DEFAULT 0,
    fields                 TEXT NOT NULL,        -- json FieldMap
    defaults               TEXT NOT NULL,        -- json Defaults
    settings               TEXT NOT NULL,        -- json Settings
    created_at             INTEGER NOT NULL
) STRICT;

CREATE TABLE rule (
    connection_id     BLOB NOT NULL REFERENCES connection (id),
    group_id          BLOB NOT NULL,
    rule_order        INTEGER NOT NULL,
    kind              TEXT NOT NULL,
    role              TEXT,
    permissions       TEXT NOT NULL,             -- json list
    nested            INTEGER NOT NULL,
    exclude           INTEGER NOT NULL,
    group_name        TEXT NOT NULL,
    group_created_at  INTEGER,
    PRIMARY KEY (connection_id, group_id)
) STRICT;

CREATE TABLE subscription (
    id                    BLOB PRIMARY KEY,
    connection_id         BLOB NOT NULL REFERENCES connection (id),
    resource              TEXT NOT NULL,         -- users | groups
    status                TEXT NOT NULL,         -- pending | active | gone
    graph_id              BLOB UNIQUE,
    client_state_mac      BLOB NOT NULL,
    pending_since         INTEGER,               -- a create or renew is under way: the handshake is answered
    created_at            INTEGER NOT NULL,
    expires_at            INTEGER,
    renew_at              INTEGER,
    last_notification_at  INTEGER
) STRICT;
CREATE INDEX subscription_connection ON subscription (connection_id, resource, status);

-- The mirror.
CREATE TABLE directory_user (
    connection_id       BLOB NOT NULL,
    user_id             BLOB NOT NULL,
    profile_state       TEXT NOT NULL,           -- unknown | present | missing
    profile             TEXT,                    -- json Profile; of a missing user the last one seen
    profile_source      TEXT,                    -- by_id | listing
    profile_ticket      INTEGER NOT NULL DEFAULT 0,
    profile_read_at     INTEGER,
    missing_since       INTEGER,
    in_deleted_items    INTEGER NOT NULL DEFAULT 0,
    membership_ticket   INTEGER,                 -- floor: the latest complete by-id read
    membership_read_at  INTEGER,
    loss_read_at        INTEGER,                 -- scope_agree under way
    loss_rules_version  INTEGER,
    regain_read_at      INTEGER,                 -- reenable_agree under way
    decided_version     INTEGER,                 -- rules version of the last decision
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (connection_id, user_id)
) STRICT;

CREATE TABLE membership (
    connection_id  BLOB NOT NULL,
    user_id        BLOB NOT NULL,
    group_id       BLOB NOT NULL,
    ticket         INTEGER NOT NULL,
    direct         INTEGER,                      -- null: the read did not tell
    present        INTEGER NOT NULL,
    PRIMARY KEY (connection_id, user_id, group_id)
) STRICT;
CREATE INDEX membership_group ON membership (connection_id, group_id, user_id);

CREATE TABLE directory_group (
    connection_id  BLOB NOT NULL,
    group_id       BLOB NOT NULL,
    name           TEXT NOT NULL,
    created_in_entra_at INTEGER,
    state          TEXT NOT NULL,                -- present | deleted
    ticket         INTEGER NOT NULL,
    read_at        INTEGER NOT NULL,
    listed_at      INTEGER,
    PRIMARY KEY (connection_id, group_id)
) STRICT;

-- Which group stands directly in which: the chain an explanation shows, and the nested groups in scope.
CREATE TABLE group_edge (
    connection_id  BLOB NOT NULL,
    parent_id      BLOB NOT NULL,
    child_id       BLOB NOT NULL,
    PRIMARY KEY (connection_id, parent_id, child_id)
) STRICT;
CREATE INDEX group_edge_child ON group_edge (connection_id, child_id);

-- Ids out of scope that a hint named, kept 30 min: no Graph call, no attribute.
CREATE TABLE seen (
    connection_id  BLOB NOT NULL,
    object_id      BLOB NOT NULL,
    object_kind    TEXT NOT NULL,                -- user | group
    seen_at        INTEGER NOT NULL,
    PRIMARY KEY (connection_id, object_id)
) STRICT;
CREATE INDEX seen_age ON seen (seen_at);

CREATE TABLE record (
    id              BLOB PRIMARY KEY,
    connection_id   BLOB REFERENCES connection (id),
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
    entra_id        BLOB,
    rule_group_id   BLOB,                        -- the rule that won last
    root            INTEGER NOT NULL DEFAULT 0,
    privileged      INTEGER NOT NULL DEFAULT 0,
    in_use          INTEGER NOT NULL DEFAULT 0,
    inactive_since  INTEGER,
    verified_at     INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    CHECK (status = 'archived' OR (status = 'active') = (reasons = '[]'))
) STRICT;
CREATE UNIQUE INDEX record_email ON record (realm, email_key);
CREATE UNIQUE INDEX record_username ON record (realm, username_key);
CREATE UNIQUE INDEX record_host ON record (realm, host_id);
-- One person has at most one live login (G-20).
CREATE UNIQUE INDEX record_person ON record (connection_id, entra_id) WHERE status <> 'archived';
CREATE INDEX record_list ON record (connection_id, id);

CREATE TABLE history (
    id             BLOB PRIMARY KEY,
    connection_id  BLOB NOT NULL,
    record_id      BLOB NOT NULL,
    at             INTEGER NOT NULL,
    ticket         INTEGER,                      -- the read it follows from
    trigger        TEXT NOT NULL,                -- hint | sync | on_demand | rule | import | admin
    rule_group_id  BLOB,
    changes        TEXT NOT NULL,                -- json [{field, before, after}]
    source         TEXT NOT NULL                 -- json: the observed values used
) STRICT;
CREATE INDEX history_record ON history (record_id, id);

-- Unchained; a sealer will chain them (G-28).
CREATE TABLE audit (
    id             BLOB PRIMARY KEY,
    at             INTEGER NOT NULL,
    connection_id  BLOB,
    actor          TEXT NOT NULL,                -- sync | cli
    action         TEXT NOT NULL,
    object_kind    TEXT NOT NULL,
    object_id      TEXT NOT NULL,
    detail         TEXT NOT NULL                 -- json, without secrets
) STRICT;

CREATE TABLE event (
    id             BLOB PRIMARY KEY,
    replay_of      BLOB,
    connection_id  BLOB,                         -- null: a message that named none we know
    kind           TEXT NOT NULL,                -- user | group | lifecycle | on_demand | catch_up
    object_id      BLOB,
    claim          TEXT,
    status         TEXT NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    reason         TEXT,
    message_id     BLOB,                         -- the queue message and the place in it: taken twice is one event
    message_item   INTEGER,
    taken_ticket   INTEGER NOT NULL,             -- only a read with a later ticket may settle it (G-05)
    received_at    INTEGER NOT NULL,
    settled_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX event_message ON event (message_id, message_item);
CREATE INDEX event_list ON event (connection_id, id);
CREATE INDEX event_connection_status ON event (connection_id, status, id);
CREATE INDEX event_status ON event (status, id);

-- What could not be read (BI-45), up to 64 KiB.
CREATE TABLE parked_body (
    event_id       BLOB PRIMARY KEY,
    body           BLOB NOT NULL
) STRICT;

-- Everyone an event named: it is decided when all of them are, with the worst of their outcomes.
CREATE TABLE event_object (
    event_id       BLOB NOT NULL,
    connection_id  BLOB NOT NULL,
    object_id      BLOB NOT NULL,
    outcome        TEXT,                         -- null while undecided
    reason         TEXT,
    PRIMARY KEY (event_id, object_id)
) STRICT;
CREATE INDEX event_object_object ON event_object (object_id);
CREATE INDEX event_object_open ON event_object (connection_id, object_id) WHERE outcome IS NULL;

-- One row per object to look at, however many hints named it.
CREATE TABLE due (
    connection_id  BLOB NOT NULL,
    object_id      BLOB NOT NULL,
    object_kind    TEXT NOT NULL,                -- user | group | unknown
    due_at         INTEGER NOT NULL,
    settle_at      INTEGER,                      -- the later re-read that is owed as well
    hinted_at      INTEGER,                      -- when the hint came that settle counts from
    claim          TEXT,                         -- changed | deleted | added | removed | null
    urgent         INTEGER NOT NULL,
    read_profile   INTEGER NOT NULL,
    read_membership INTEGER NOT NULL,
    reason         TEXT NOT NULL,                -- hint | settle | scope_agree | missing_agree | reenable_agree | ...
    version        INTEGER NOT NULL,             -- raised by every hint: one that comes during a read keeps the row due
    attempts       INTEGER NOT NULL DEFAULT 0,
    last_read_at   INTEGER,
    lease_owner    BLOB,
    lease_until    INTEGER,
    PRIMARY KEY (connection_id, object_id)
) STRICT;
CREATE INDEX due_next ON due (urgent DESC, due_at);
CREATE INDEX due_soonest ON due (connection_id, due_at);
CREATE INDEX due_lease ON due (lease_owner) WHERE lease_owner IS NOT NULL;

-- Longer work in steps: full sync, group listing.
CREATE TABLE task (
    id             BLOB PRIMARY KEY,
    connection_id  BLOB NOT NULL,
    kind           TEXT NOT NULL,                -- full_sync | list_group
    object_id      BLOB,
    state          TEXT NOT NULL,                -- due | done | failed
    checkpoint     TEXT NOT NULL,                -- json
    progress       TEXT NOT NULL,                -- json counts
    due_at         INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    reason         TEXT,
    lease_owner    BLOB,
    lease_until    INTEGER,
    created_at     INTEGER NOT NULL,
    finished_at    INTEGER
) STRICT;
CREATE INDEX task_due ON task (state, due_at);

-- Whoever lost access lately: what the brake counts.
CREATE TABLE removal (
    id             BLOB PRIMARY KEY,
    connection_id  BLOB NOT NULL,
    record_id      BLOB NOT NULL,
    class          TEXT NOT NULL,                -- revoked | lost_scope
    at             INTEGER NOT NULL,
    exempt         INTEGER NOT NULL
) STRICT;
CREATE INDEX removal_window ON removal (connection_id, at);
CREATE INDEX removal_installation ON removal (at);

-- People on a confirmed rule plan: they may lose access by those rules without the brake (semantics, the brake).
CREATE TABLE exemption (
    connection_id  BLOB NOT NULL,
    record_id      BLOB NOT NULL,
    rules_version  INTEGER NOT NULL,
    PRIMARY KEY (connection_id, record_id)
) STRICT;

-- Locked by whoever judges: eight workers together let through exactly the limit.
CREATE TABLE brake (
    scope          TEXT PRIMARY KEY,             -- a connection's id, or 'installation'
    judged_at      INTEGER
) STRICT;
INSERT INTO brake (scope) VALUES ('installation');

CREATE TABLE hold (
    id             BLOB PRIMARY KEY,
    connection_id  BLOB NOT NULL,
    opened_at      INTEGER NOT NULL,
    limit_reached  TEXT NOT NULL,
    cause          TEXT NOT NULL,
    state          TEXT NOT NULL                 -- open | approved | rejected | emptied (everybody left it by themselves)
) STRICT;
CREATE INDEX hold_open ON hold (connection_id, state);

CREATE TABLE hold_person (
    hold_id        BLOB NOT NULL,
    connection_id  BLOB NOT NULL,
    record_id      BLOB NOT NULL,
    user_id        BLOB NOT NULL,
    cause          TEXT NOT NULL,                -- json list of reasons
    class          TEXT NOT NULL,
    state          TEXT NOT NULL,                -- held | approved | rejected | back | overtaken (by a new cause)
    held_at        INTEGER NOT NULL,
    PRIMARY KEY (hold_id, record_id)
) STRICT;
CREATE UNIQUE INDEX hold_person_open ON hold_person (record_id) WHERE state = 'held';

CREATE TABLE review (
    id             BLOB PRIMARY KEY,
    connection_id  BLOB NOT NULL,
    kind           TEXT NOT NULL,
    entra_id       BLOB NOT NULL,
    candidates     TEXT NOT NULL,                -- json list of record ids
    choices        TEXT NOT NULL,                -- json list
    why            TEXT NOT NULL,
    state          TEXT NOT NULL,                -- open | settled | obsolete
    opened_at      INTEGER NOT NULL,
    settled_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX review_open ON review (connection_id, entra_id, kind) WHERE state = 'open';

-- Who is at work: a sync that waits says so when nobody is.
CREATE TABLE worker (
    id             BLOB PRIMARY KEY,
    role           TEXT NOT NULL,
    started_at     INTEGER NOT NULL,
    seen_at        INTEGER NOT NULL
) STRICT;

-- Counts are kept, not counted (performance.md, lesson 9).
CREATE TABLE people_count (
    connection_id  BLOB PRIMARY KEY,
    active         INTEGER NOT NULL,
    inactive       INTEGER NOT NULL
) STRICT;
