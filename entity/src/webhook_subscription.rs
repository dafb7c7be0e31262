//! A subscription of another program to the event log.

use sea_orm::entity::prelude::*;

/// A subscription of another program to the event log.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_subscription")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub url: String,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub kinds: Option<Json>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub sequence_ids: Option<Json>,
    /// Sealed, as is the one before.
    #[sea_orm(column_type = "Text")]
    pub secret: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub old_secret: Option<String>,
    #[sea_orm(nullable)]
    pub old_secret_until: Option<i64>,
    pub after_seq: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub switched_off: Option<String>,
    pub failures: i32,
    #[sea_orm(nullable)]
    pub failing_since: Option<i64>,
    #[sea_orm(nullable)]
    pub retry_at: Option<i64>,
    #[sea_orm(nullable)]
    pub last_success_at: Option<i64>,
    #[sea_orm(nullable)]
    pub last_failure_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_failure: Option<String>,
    #[sea_orm(nullable)]
    pub worker_id: Option<Uuid>,
    pub turn: i64,
    /// When it was last taken to be delivered.
    #[sea_orm(nullable)]
    pub taken_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
