//! The first schema: workspaces, people, senders, sequences, leads, executions, the event log and
//! bulk operations.
//!
//! Instants are milliseconds since the Unix epoch, so that SQL reckons with them the same way on
//! both databases. States are text guarded by CHECK. `UUID` and `JSON` below stand for the type
//! that each database has for them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{audit, inbound, oauth, sqlite_facts, webhook, workflow};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &[&str] = &[
    "workspace",
    "event_counter",
    "api_token",
    "token_use",
    "person",
    "pipeline",
    "stage",
    "opportunity",
    "suppression",
    "dkim_key",
    "sender",
    "sequence",
    "sequence_version",
    "lane",
    "quota",
    "worker",
    "lead",
    "execution",
    "task",
    "outbox_message",
    "event",
    "bulk_operation",
    "bulk_input",
    "bulk_outcome",
    "workflow",
    "workflow_trigger",
    "workflow_run",
    "audit_entry",
    "audit_object",
    "bulk_seen",
    "upload",
    "inbound_message",
    "early_receipt",
    "inbound_mailbox",
    "webhook_subscription",
    "sender_grant",
    "instance",
];

const UP: &[&str] = &[
    "CREATE TABLE instance (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        key_fingerprint TEXT NOT NULL
    )",
    "CREATE TABLE workspace (
        id UUID PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        time_zone TEXT NOT NULL,
        max_messages_per_person_per_day INTEGER
            CHECK (max_messages_per_person_per_day > 0),
        max_messages_per_domain_per_day INTEGER
            CHECK (max_messages_per_domain_per_day > 0),
        created_at BIGINT NOT NULL
    )",
    // The row is locked while a transaction appends events: numbers follow the order of commits
    // and have no gaps.
    "CREATE TABLE event_counter (
        workspace_id UUID PRIMARY KEY REFERENCES workspace (id),
        last_seq BIGINT NOT NULL
    )",
    "CREATE TABLE api_token (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('VIEWER', 'EDITOR', 'ADMIN')),
        secret_hash TEXT NOT NULL UNIQUE,
        hint TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        revoked_by TEXT,
        last_used_at BIGINT,
        sequence_ids JSON,
        CHECK ((revoked_by IS NOT NULL) = (revoked_at IS NOT NULL))
    )",
    "CREATE INDEX api_token_page ON api_token (workspace_id, id)",
    // What a token was used for: a row for each day and address.
    "CREATE TABLE token_use (
        token_id UUID NOT NULL REFERENCES api_token (id),
        day TEXT NOT NULL,
        address TEXT NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        requests BIGINT NOT NULL,
        refused BIGINT NOT NULL,
        first_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL,
        PRIMARY KEY (token_id, day, address)
    )",
    "CREATE INDEX token_use_day ON token_use (day)",
    // Who is erased stays as a row without anything personal, for leads to refer to.
    "CREATE TABLE person (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        email TEXT,
        email_key TEXT,
        phone TEXT,
        linkedin_url TEXT,
        first_name TEXT,
        last_name TEXT,
        company TEXT,
        company_key TEXT,
        title TEXT,
        time_zone TEXT,
        country TEXT,
        attributes JSON NOT NULL,
        search_text TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        erased_at BIGINT
    )",
    "CREATE UNIQUE INDEX person_email ON person (workspace_id, email_key)",
    "CREATE INDEX person_page ON person (workspace_id, id)",
    "CREATE INDEX person_company ON person (workspace_id, company_key, id)
        WHERE company_key IS NOT NULL",
    // Whose leads stop when a number or a page must not be contacted any more.
    "CREATE INDEX person_phone ON person (workspace_id, phone) WHERE phone IS NOT NULL",
    "CREATE INDEX person_linkedin ON person (workspace_id, linkedin_url)
        WHERE linkedin_url IS NOT NULL",
    "CREATE TABLE pipeline (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        name TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE INDEX pipeline_list ON pipeline (workspace_id, id)",
    "CREATE TABLE stage (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        pipeline_id UUID NOT NULL REFERENCES pipeline (id),
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('OPEN', 'WON', 'LOST'))
    )",
    "CREATE UNIQUE INDEX stage_position ON stage (pipeline_id, position)",
    // The pipeline is the stage's; it is kept here too, so that all of one are a range of an index.
    "CREATE TABLE opportunity (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        person_id UUID NOT NULL REFERENCES person (id),
        pipeline_id UUID NOT NULL REFERENCES pipeline (id),
        stage_id UUID NOT NULL REFERENCES stage (id),
        name TEXT NOT NULL,
        amount DOUBLE PRECISION,
        search_text TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX opportunity_page ON opportunity (workspace_id, id)",
    "CREATE INDEX opportunity_pipeline ON opportunity (pipeline_id, id)",
    "CREATE INDEX opportunity_stage ON opportunity (stage_id, id)",
    "CREATE INDEX opportunity_person ON opportunity (person_id, id)",
    "CREATE TABLE suppression (
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, channel, address)
    )",
    // At most one key of a domain signs at a time; another is published before it takes over.
    "CREATE TABLE dkim_key (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        domain TEXT NOT NULL,
        selector TEXT NOT NULL,
        secret TEXT NOT NULL,
        public_key TEXT NOT NULL,
        enabled BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        UNIQUE (workspace_id, domain, selector)
    )",
    "CREATE UNIQUE INDEX dkim_key_signs ON dkim_key (workspace_id, domain) WHERE enabled",
    "CREATE TABLE sender (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        name TEXT NOT NULL,
        channel TEXT NOT NULL,
        address TEXT NOT NULL,
        domain TEXT,
        enabled BOOLEAN NOT NULL,
        time_zone TEXT NOT NULL,
        daily_cap INTEGER CHECK (daily_cap >= 0),
        min_gap_ms BIGINT NOT NULL CHECK (min_gap_ms >= 0),
        gap_jitter_ms BIGINT NOT NULL CHECK (gap_jitter_ms >= 0),
        warm_up JSON,
        transport JSON NOT NULL,
        secret TEXT,
        tracking_url TEXT,
        tracking_host TEXT,
        reply_to TEXT,
        tagged_replies BOOLEAN NOT NULL,
        revision INTEGER NOT NULL,
        next_free_at BIGINT NOT NULL,
        unhealthy_until BIGINT,
        unhealthy_reason TEXT,
        failures INTEGER NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX sender_workspace ON sender (workspace_id, id)",
    "CREATE INDEX sender_tracking ON sender (tracking_host) WHERE tracking_host IS NOT NULL",
    "CREATE TABLE sequence (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        name TEXT NOT NULL,
        search_text TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('DRAFT', 'PUBLISHED', 'DISABLED', 'ARCHIVED')),
        revision INTEGER NOT NULL,
        flow JSON NOT NULL,
        settings JSON NOT NULL,
        published_version_id UUID,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        published_at BIGINT,
        CHECK (status IN ('DRAFT', 'ARCHIVED') OR published_version_id IS NOT NULL)
    )",
    "CREATE INDEX sequence_page ON sequence (workspace_id, id)",
    "CREATE TABLE sequence_version (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        sequence_id UUID NOT NULL REFERENCES sequence (id),
        number INTEGER NOT NULL,
        flow JSON NOT NULL,
        settings JSON NOT NULL,
        published_at BIGINT NOT NULL,
        published_by TEXT NOT NULL,
        removed JSON,
        UNIQUE (sequence_id, number)
    )",
    // A lane is a sender that a sequence's current version sends through. Due work is looked for
    // lane by lane, so that what is closed or capped costs nothing.
    "CREATE TABLE lane (
        sequence_id UUID NOT NULL REFERENCES sequence (id),
        sender_id UUID NOT NULL REFERENCES sender (id),
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        PRIMARY KEY (sequence_id, sender_id)
    )",
    "CREATE TABLE quota (
        subject_id UUID NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('SENDS', 'NEW_LEADS')),
        day TEXT NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        used INTEGER NOT NULL CHECK (used >= 0),
        PRIMARY KEY (subject_id, kind, day)
    )",
    "CREATE TABLE worker (
        id UUID PRIMARY KEY,
        started_at BIGINT NOT NULL,
        lease_until BIGINT NOT NULL
    )",
    "CREATE TABLE lead (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        sequence_id UUID NOT NULL REFERENCES sequence (id),
        person_id UUID NOT NULL REFERENCES person (id),
        round INTEGER NOT NULL,
        status TEXT NOT NULL
            CHECK (status IN ('ACTIVE', 'COMPLETED', 'PAUSED', 'STOPPED')),
        stop_reason TEXT,
        step_key TEXT,
        turn SMALLINT NOT NULL CHECK (turn IN (0, 1)),
        sender_id UUID REFERENCES sender (id),
        unbound BOOLEAN NOT NULL DEFAULT TRUE,
        bucket INTEGER NOT NULL,
        anchor_at BIGINT NOT NULL,
        due_at BIGINT,
        first_due_at BIGINT,
        hold TEXT CHECK (hold IN ('MISSING_MERGE_DATA', 'UNCONFIRMED', 'RETRYING',
            'MISSING_ADDRESS', 'AWAITING_CONDITION', 'AWAITING_TASK')),
        paused_rest_ms BIGINT,
        until_at BIGINT,
        quiet_until BIGINT,
        worker_id UUID,
        thread JSON,
        messages_sent INTEGER NOT NULL,
        opens INTEGER NOT NULL,
        clicks INTEGER NOT NULL,
        replies INTEGER NOT NULL,
        bounced BOOLEAN NOT NULL,
        unsubscribed BOOLEAN NOT NULL,
        last_engaged_at BIGINT,
        last_action_at BIGINT,
        enrolled_at BIGINT NOT NULL,
        enrolled_by TEXT NOT NULL,
        UNIQUE (person_id, sequence_id, round),
        CHECK ((stop_reason IS NOT NULL) = (status = 'STOPPED')),
        CHECK (due_at IS NULL OR status = 'ACTIVE'),
        CHECK (paused_rest_ms IS NULL OR status = 'PAUSED'),
        CHECK (until_at IS NULL OR status = 'ACTIVE'),
        CHECK (quiet_until IS NULL OR status IN ('ACTIVE', 'PAUSED')),
        CHECK (step_key IS NOT NULL OR status = 'COMPLETED')
    )",
    "CREATE UNIQUE INDEX lead_active ON lead (sequence_id, person_id)
        WHERE status IN ('ACTIVE', 'PAUSED')",
    // Of those that were put off to the same instant, the longest due come first.
    "CREATE INDEX lead_due ON lead
        (sender_id, sequence_id, turn, due_at, COALESCE(first_due_at, due_at), id)
        WHERE due_at IS NOT NULL",
    // Those that another sender of their step may take.
    "CREATE INDEX lead_unbound ON lead
        (sender_id, sequence_id, turn, step_key, due_at, COALESCE(first_due_at, due_at), id)
        WHERE due_at IS NOT NULL AND unbound AND sender_id IS NOT NULL",
    "CREATE INDEX lead_page ON lead (workspace_id, enrolled_at, id)",
    "CREATE INDEX lead_sequence_page ON lead (sequence_id, enrolled_at, id)",
    // Where leads stand: what is counted, and what publishing moves, is a range of it.
    "CREATE INDEX lead_standing ON lead (sequence_id, status, step_key, sender_id)",
    // Pages by these instants; leads without one come last.
    "CREATE INDEX lead_last_action ON lead (workspace_id, COALESCE(last_action_at, -1), id)",
    "CREATE INDEX lead_due_page ON lead
        (workspace_id, COALESCE(due_at, 9223372036854775807), id)",
    // Those that something holds: in their step and on no wire, or before it.
    "CREATE INDEX lead_held ON lead (sequence_id, hold, step_key) WHERE hold IS NOT NULL",
    "CREATE TABLE execution (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL,
        lead_id UUID NOT NULL REFERENCES lead (id),
        sequence_id UUID NOT NULL,
        version_id UUID NOT NULL,
        step_key TEXT NOT NULL,
        variant TEXT,
        channel TEXT,
        sender_id UUID,
        status TEXT NOT NULL CHECK (status IN
            ('SCHEDULED', 'SENDING', 'SENT', 'DELIVERED', 'FAILED', 'SKIPPED', 'UNCONFIRMED')),
        attempt INTEGER NOT NULL,
        error_code TEXT,
        error_message TEXT,
        error_response TEXT,
        retry_at BIGINT,
        subject TEXT,
        message_id TEXT,
        to_key TEXT,
        worker_id UUID,
        quota_day TEXT,
        scheduled_at BIGINT,
        started_at BIGINT,
        finished_at BIGINT,
        opens INTEGER NOT NULL DEFAULT 0,
        clicks INTEGER NOT NULL DEFAULT 0,
        replies INTEGER NOT NULL DEFAULT 0,
        bounced BOOLEAN NOT NULL DEFAULT FALSE,
        unsubscribed BOOLEAN NOT NULL DEFAULT FALSE,
        opened_at BIGINT,
        clicked_at BIGINT,
        read_at BIGINT,
        machine_hits INTEGER NOT NULL DEFAULT 0,
        UNIQUE (lead_id, step_key),
        CHECK ((worker_id IS NOT NULL) = (status = 'SENDING')),
        CHECK (error_code IS NOT NULL OR status <> 'FAILED')
    )",
    "CREATE INDEX execution_page ON execution (workspace_id, id)",
    "CREATE INDEX execution_sequence_page ON execution (sequence_id, id)",
    // Whoever answers a text names nothing but the number; an email names its message.
    "CREATE INDEX execution_texted ON execution (to_key, sender_id, id)
        WHERE channel IN ('SMS', 'WHATSAPP')",
    "CREATE INDEX execution_worker ON execution (worker_id) WHERE worker_id IS NOT NULL",
    "CREATE TABLE task (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        lead_id UUID NOT NULL REFERENCES lead (id),
        sequence_id UUID NOT NULL REFERENCES sequence (id),
        step_key TEXT NOT NULL,
        channel TEXT NOT NULL,
        title TEXT NOT NULL,
        instructions TEXT,
        assignee TEXT,
        status TEXT NOT NULL CHECK (status IN ('OPEN', 'COMPLETED', 'SKIPPED', 'EXPIRED')),
        due_at BIGINT NOT NULL,
        expires_at BIGINT,
        note TEXT,
        completed_at BIGINT,
        completed_by TEXT,
        UNIQUE (lead_id, step_key),
        CHECK ((completed_at IS NULL) = (status = 'OPEN'))
    )",
    "CREATE INDEX task_page ON task (workspace_id, id)",
    "CREATE INDEX task_open ON task (workspace_id, id) WHERE status = 'OPEN'",
    "CREATE TABLE outbox_message (
        execution_id UUID PRIMARY KEY REFERENCES execution (id),
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        sender_id UUID NOT NULL,
        recipient TEXT NOT NULL,
        content TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE TABLE event (
        workspace_id UUID NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        sequence_id UUID,
        lead_id UUID,
        execution_id UUID,
        step_key TEXT,
        channel TEXT,
        sender_id UUID,
        detail JSON,
        PRIMARY KEY (workspace_id, seq)
    )",
    "CREATE INDEX event_lead ON event (lead_id, seq) WHERE lead_id IS NOT NULL",
    "CREATE TABLE bulk_operation (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        kind TEXT NOT NULL
            CHECK (kind IN ('ENROL', 'PAUSE', 'RESUME', 'REMOVE', 'IMPORT_PEOPLE', 'UNDO')),
        status TEXT NOT NULL
            CHECK (status IN ('QUEUED', 'RUNNING', 'COMPLETED', 'CANCELLED', 'FAILED')),
        total BIGINT,
        processed BIGINT NOT NULL,
        succeeded BIGINT NOT NULL,
        skipped BIGINT NOT NULL,
        failed BIGINT NOT NULL,
        request JSON NOT NULL,
        progress JSON,
        error TEXT,
        idempotency_key TEXT,
        request_hash TEXT NOT NULL,
        token_id UUID NOT NULL REFERENCES api_token (id),
        sequence_ids JSON,
        undoes UUID REFERENCES bulk_operation (id),
        worker_id UUID,
        created_at BIGINT NOT NULL,
        started_at BIGINT,
        finished_at BIGINT,
        CHECK ((undoes IS NOT NULL) = (kind = 'UNDO')),
        CHECK ((finished_at IS NOT NULL) = (status IN ('COMPLETED', 'CANCELLED', 'FAILED')))
    )",
    "CREATE UNIQUE INDEX bulk_operation_key ON bulk_operation (workspace_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX bulk_operation_open ON bulk_operation (created_at)
        WHERE status IN ('QUEUED', 'RUNNING')",
    "CREATE INDEX bulk_operation_undoes ON bulk_operation (undoes) WHERE undoes IS NOT NULL",
    // The file of an import, in pieces, so that a restart can read it again. Those of a file that is
    // still coming in are there before its operation.
    "CREATE TABLE bulk_input (
        operation_id UUID NOT NULL,
        ordinal INTEGER NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        content TEXT NOT NULL,
        PRIMARY KEY (operation_id, ordinal)
    )",
    "CREATE TABLE bulk_outcome (
        operation_id UUID NOT NULL REFERENCES bulk_operation (id),
        ordinal BIGINT NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        subject TEXT NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (operation_id, ordinal)
    )",
    // The email addresses of people whom the dry run of an import would have entered.
    "CREATE TABLE bulk_seen (
        operation_id UUID NOT NULL REFERENCES bulk_operation (id),
        email_key TEXT NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        PRIMARY KEY (operation_id, email_key)
    )",
    // The files that are coming in, by the operation that each is to become.
    "CREATE TABLE upload (
        operation_id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        touched_at BIGINT NOT NULL
    )",
];

/// Tables that SQLite keeps in the order of their keys: one tree less to write for each row and to
/// search for each lookup. Rows that may be large are better off without.
const BY_KEY: &[&str] = &[
    "event_counter",
    "lane",
    "quota",
    "worker",
    "lead",
    "execution",
    "event",
    "workflow_trigger",
    "workflow_run",
    "audit_object",
];

/// Settings that only PostgreSQL has: room for updates in place, and a vacuum that keeps up with
/// tables where every row changes several times.
const UP_POSTGRES: &[&str] = &[
    "ALTER TABLE lead SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,
        autovacuum_analyze_scale_factor = 0.02)",
    "ALTER TABLE execution SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE event_counter SET (fillfactor = 10, autovacuum_vacuum_threshold = 200)",
    "ALTER TABLE quota SET (fillfactor = 50, autovacuum_vacuum_threshold = 200)",
    "ALTER TABLE sender SET (fillfactor = 50)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let (uuid, json) = if is_postgres {
            ("uuid", "jsonb")
        } else {
            ("blob", "text")
        };
        let is_by_key = |statement: &str| {
            let mut words = statement.split_whitespace();
            words.next() == Some("CREATE")
                && words.next() == Some("TABLE")
                && words.next().is_some_and(|table| BY_KEY.contains(&table))
        };
        for statement in UP
            .iter()
            .chain(workflow::UP)
            .chain(audit::UP)
            .chain(inbound::UP)
            .chain(webhook::UP)
            .chain(oauth::UP)
        {
            let mut statement = statement
                .replace(" UUID", &format!(" {uuid}"))
                .replace(" JSON", &format!(" {json}"));
            if !is_postgres && is_by_key(&statement) {
                statement.push_str(" WITHOUT ROWID");
            }
            connection.execute_unprepared(&statement).await?;
        }
        if is_postgres {
            for statement in UP_POSTGRES {
                connection.execute_unprepared(statement).await?;
            }
        } else {
            sqlite_facts::tell(connection).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager
                .get_connection()
                .execute_unprepared(&format!("DROP TABLE IF EXISTS {table}"))
                .await?;
        }
        Ok(())
    }
}
