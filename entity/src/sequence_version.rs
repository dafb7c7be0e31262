//! What a sequence was when it was published.

use sea_orm::entity::prelude::*;

/// What a sequence was when it was published.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sequence_version")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub sequence_id: Uuid,
    pub number: i32,
    #[sea_orm(column_type = "JsonBinary")]
    pub flow: Json,
    #[sea_orm(column_type = "JsonBinary")]
    pub settings: Json,
    pub published_at: i64,
    #[sea_orm(column_type = "Text")]
    pub published_by: String,
    /// Where leads go that come back to a step which is gone; none where none ever was.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub removed: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
