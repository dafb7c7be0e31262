//! The GraphQL API: types, resolvers and the one schema.
//!
//! Resolvers parse input, call a use case or a loader, and map the answer; they hold no rules and
//! open no transaction. The types are the API's own, never the tables'.

pub mod analytics;
pub mod audit;
pub mod bulk;
pub mod channel;
pub mod context;
pub mod dkim;
pub mod document;
pub mod error;
pub mod event;
pub mod execution;
pub mod flow;
pub mod forecast;
pub mod lead;
pub mod loader;
pub mod node;
pub mod opportunity;
pub mod page;
pub mod person;
pub mod pipeline;
pub mod preview;
pub mod problems;
pub mod prompt;
pub mod scalar;
mod schema;
pub mod sender;
pub mod sequence;
pub mod settings;
pub mod suppression;
pub mod task;
pub mod token;
pub mod webhook;
pub mod workflow;
pub mod workspace;

use async_graphql::{MergedObject, MergedSubscription};

pub use self::document::OperationKind;
pub use self::schema::{CadenzaSchema, RequestId, sdl};

/// Everything that can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    node::NodeQuery,
    event::EventQuery,
    bulk::BulkQuery,
    person::PersonQuery,
    pipeline::PipelineQuery,
    opportunity::OpportunityQuery,
    workflow::WorkflowQuery,
    sender::SenderQuery,
    dkim::DkimQuery,
    sequence::SequenceQuery,
    lead::LeadQuery,
    lead::SelectionQuery,
    execution::ExecutionQuery,
    task::TaskQuery,
    webhook::WebhookQuery,
    token::TokenQuery,
    audit::AuditQuery,
    workspace::WorkspaceQuery,
    suppression::SuppressionQuery,
);

/// Everything that can be changed.
#[derive(MergedObject, Default)]
pub struct Mutation(
    bulk::BulkMutation,
    person::PersonMutation,
    pipeline::PipelineMutation,
    opportunity::OpportunityMutation,
    workflow::WorkflowMutation,
    sender::SenderMutation,
    sender::SenderCheckMutation,
    dkim::DkimMutation,
    sequence::SequenceMutation,
    lead::LeadMutation,
    execution::ExecutionMutation,
    task::TaskMutation,
    webhook::WebhookMutation,
    token::TokenMutation,
    workspace::WorkspaceMutation,
    suppression::SuppressionMutation,
);

/// Everything that can be followed live.
#[derive(MergedSubscription, Default)]
pub struct Subscription(
    event::EventSubscription,
    bulk::BulkSubscription,
    analytics::AnalyticsSubscription,
);
