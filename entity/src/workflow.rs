//! A rule that enrols by itself.

use sea_orm::entity::prelude::*;

/// A rule that enrols by itself.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "workflow")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub trigger: String,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub filter: Option<Json>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub stage_ids: Option<Json>,
    pub sequence_id: Uuid,
    pub enabled: bool,
    pub enrolled: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
