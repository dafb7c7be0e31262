//! Workflows, what they have to run for, and what came of it.

pub(crate) const UP: &[&str] = &[
    "CREATE TABLE workflow (
        id UUID PRIMARY KEY,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        name TEXT NOT NULL,
        trigger TEXT NOT NULL CHECK (trigger IN ('PERSON_CREATED', 'PERSON_UPDATED',
            'OPPORTUNITY_CREATED', 'OPPORTUNITY_STAGE_CHANGED')),
        filter JSON,
        stage_ids JSON,
        sequence_id UUID NOT NULL REFERENCES sequence (id),
        enabled BOOLEAN NOT NULL,
        enrolled BIGINT NOT NULL CHECK (enrolled >= 0),
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK (stage_ids IS NULL OR trigger IN ('OPPORTUNITY_CREATED', 'OPPORTUNITY_STAGE_CHANGED'))
    )",
    "CREATE INDEX workflow_list ON workflow (workspace_id, id)",
    // What every change of a person and of an opportunity asks.
    "CREATE INDEX workflow_enabled ON workflow (workspace_id, trigger) WHERE enabled",
    // What a workflow has to run for. The person may be gone by then.
    "CREATE TABLE workflow_trigger (
        workflow_id UUID NOT NULL REFERENCES workflow (id),
        id UUID NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        person_id UUID NOT NULL,
        depth INTEGER NOT NULL CHECK (depth >= 0),
        PRIMARY KEY (workflow_id, id)
    )",
    // What goes over to another person when two are merged.
    "CREATE INDEX workflow_trigger_person ON workflow_trigger (person_id)",
    // What came of each of them, under the same id. The person may be erased since.
    "CREATE TABLE workflow_run (
        workflow_id UUID NOT NULL REFERENCES workflow (id),
        id UUID NOT NULL,
        workspace_id UUID NOT NULL REFERENCES workspace (id),
        person_id UUID NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        lead_id UUID,
        depth INTEGER NOT NULL CHECK (depth >= 0),
        at BIGINT NOT NULL,
        PRIMARY KEY (workflow_id, id),
        CHECK ((lead_id IS NOT NULL) = (code = 'DONE'))
    )",
    "CREATE INDEX workflow_run_person ON workflow_run (person_id)",
    // How long the chain is that led to a lead.
    "CREATE INDEX workflow_run_lead ON workflow_run (lead_id) WHERE lead_id IS NOT NULL",
];
