//! A mutation over many leads or people.

use sea_orm::entity::prelude::*;

/// A mutation over many leads or people.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "bulk_operation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub status: String,
    #[sea_orm(nullable)]
    pub total: Option<i64>,
    pub processed: i64,
    pub succeeded: i64,
    pub skipped: i64,
    pub failed: i64,
    #[sea_orm(column_type = "JsonBinary")]
    pub request: Json,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub progress: Option<Json>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub idempotency_key: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub request_hash: String,
    pub token_id: Uuid,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub sequence_ids: Option<Json>,
    #[sea_orm(nullable)]
    pub undoes: Option<Uuid>,
    #[sea_orm(nullable)]
    pub worker_id: Option<Uuid>,
    pub created_at: i64,
    #[sea_orm(nullable)]
    pub started_at: Option<i64>,
    #[sea_orm(nullable)]
    pub finished_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
