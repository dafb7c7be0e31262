//! An entry of a workspace's log.

use sea_orm::entity::prelude::*;

/// An entry of a workspace's log.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub at: i64,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(nullable)]
    pub sequence_id: Option<Uuid>,
    #[sea_orm(nullable)]
    pub lead_id: Option<Uuid>,
    #[sea_orm(nullable)]
    pub execution_id: Option<Uuid>,
    #[sea_orm(column_type = "Text", nullable)]
    pub step_key: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub channel: Option<String>,
    #[sea_orm(nullable)]
    pub sender_id: Option<Uuid>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub detail: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
