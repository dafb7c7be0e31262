//! A sequence, with its working copy.

use sea_orm::entity::prelude::*;

/// A sequence, with its working copy.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sequence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub search_text: String,
    #[sea_orm(column_type = "Text")]
    pub status: String,
    pub revision: i32,
    #[sea_orm(column_type = "JsonBinary")]
    pub flow: Json,
    #[sea_orm(column_type = "JsonBinary")]
    pub settings: Json,
    #[sea_orm(nullable)]
    pub published_version_id: Option<Uuid>,
    pub created_at: i64,
    pub updated_at: i64,
    #[sea_orm(nullable)]
    pub published_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
