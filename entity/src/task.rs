//! Work for a person that a lead waits for.

use sea_orm::entity::prelude::*;

/// Work for a person that a lead waits for.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub lead_id: Uuid,
    pub sequence_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub step_key: String,
    #[sea_orm(column_type = "Text")]
    pub channel: String,
    #[sea_orm(column_type = "Text")]
    pub title: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub instructions: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub assignee: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub status: String,
    pub due_at: i64,
    #[sea_orm(nullable)]
    pub expires_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub note: Option<String>,
    #[sea_orm(nullable)]
    pub completed_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub completed_by: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
