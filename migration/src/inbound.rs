//! What comes in by mail, and where it is read.

pub(crate) const UP: &[&str] = &[
    // The mails that came in, each once, whoever reads it how often. Of one that belongs to no lead
    // only what tells it again is kept, and that for a time.
    "CREATE TABLE inbound_message (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        digest TEXT NOT NULL,
        class TEXT NOT NULL CHECK (class IN
            ('REPLY', 'AUTO_REPLY', 'BOUNCE', 'COMPLAINT', 'OPT_OUT', 'NOTICE')),
        matched_by TEXT CHECK (matched_by IN ('MESSAGE_ID', 'REPLY_ADDRESS', 'ADDRESS')),
        lead_id UUID REFERENCES lead (id),
        execution_id UUID,
        sender_id UUID,
        from_address TEXT,
        subject TEXT,
        text TEXT,
        received_at BIGINT NOT NULL,
        UNIQUE (workspace_id, digest)
    )",
    "CREATE INDEX inbound_message_lead ON inbound_message (lead_id, id) WHERE lead_id IS NOT NULL",
    "CREATE INDEX inbound_message_unmatched ON inbound_message (received_at)
        WHERE matched_by IS NULL",
    // What providers told of messages before it was known here that they had left; each is taken up, and
    // goes, as soon as that is known.
    "CREATE TABLE early_receipt (
        execution_id UUID NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('ON_ITS_WAY', 'ARRIVED', 'READ', 'FAILED')),
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        sender_id UUID NOT NULL REFERENCES sender (id),
        code BIGINT,
        received_at BIGINT NOT NULL,
        PRIMARY KEY (execution_id, kind)
    )",
    // The mailboxes that are read for senders: where each is, how far it was read, by whom. Without a
    // secret the login is by the sender's grant.
    "CREATE TABLE inbound_mailbox (
        sender_id UUID PRIMARY KEY REFERENCES sender (id),
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        place JSON NOT NULL,
        secret TEXT,
        revision INTEGER NOT NULL,
        uid_validity BIGINT,
        last_uid BIGINT,
        read_at BIGINT,
        worker_id UUID,
        state TEXT NOT NULL CHECK (state IN ('WAITING', 'WATCHED', 'POLLED', 'FAILED')),
        reason TEXT,
        failures INTEGER NOT NULL,
        retry_at BIGINT,
        refused_validity BIGINT,
        refused_uid BIGINT,
        refusals INTEGER NOT NULL,
        CHECK ((uid_validity IS NULL) = (last_uid IS NULL)),
        CHECK ((refused_validity IS NULL) = (refused_uid IS NULL)),
        CHECK ((reason IS NOT NULL) = (state = 'FAILED'))
    )",
];
