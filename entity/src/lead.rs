//! A person's run through one sequence.

use sea_orm::entity::prelude::*;

/// A person's run through one sequence.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lead")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub sequence_id: Uuid,
    pub person_id: Uuid,
    pub round: i32,
    #[sea_orm(column_type = "Text")]
    pub status: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub stop_reason: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub step_key: Option<String>,
    pub turn: i16,
    #[sea_orm(nullable)]
    pub sender_id: Option<Uuid>,
    /// Whether its sender has not written to it: any sender of its step may take it.
    pub unbound: bool,
    pub bucket: i32,
    pub anchor_at: i64,
    #[sea_orm(nullable)]
    pub due_at: Option<i64>,
    /// When its step was first due, where that was put off since.
    #[sea_orm(nullable)]
    pub first_due_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub hold: Option<String>,
    #[sea_orm(nullable)]
    pub paused_rest_ms: Option<i64>,
    #[sea_orm(nullable)]
    pub until_at: Option<i64>,
    /// Until when its contact is away, as a machine said.
    #[sea_orm(nullable)]
    pub quiet_until: Option<i64>,
    #[sea_orm(nullable)]
    pub worker_id: Option<Uuid>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub thread: Option<Json>,
    pub messages_sent: i32,
    pub opens: i32,
    pub clicks: i32,
    pub replies: i32,
    pub bounced: bool,
    pub unsubscribed: bool,
    #[sea_orm(nullable)]
    pub last_engaged_at: Option<i64>,
    #[sea_orm(nullable)]
    pub last_action_at: Option<i64>,
    pub enrolled_at: i64,
    #[sea_orm(column_type = "Text")]
    pub enrolled_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
