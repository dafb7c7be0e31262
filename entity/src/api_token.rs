//! An API token; only its hash is kept.

use sea_orm::entity::prelude::*;

/// An API token; only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub role: String,
    #[sea_orm(column_type = "Text")]
    pub secret_hash: String,
    #[sea_orm(column_type = "Text")]
    pub hint: String,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub created_by: String,
    #[sea_orm(nullable)]
    pub expires_at: Option<i64>,
    #[sea_orm(nullable)]
    pub revoked_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub revoked_by: Option<String>,
    #[sea_orm(nullable)]
    pub last_used_at: Option<i64>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub sequence_ids: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
