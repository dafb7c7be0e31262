//! What a token was used for on a day, from an address.

use sea_orm::entity::prelude::*;

/// What a token was used for on a day, from an address.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "token_use")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub day: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub address: String,
    pub workspace_id: Uuid,
    pub requests: i64,
    pub refused: i64,
    pub first_at: i64,
    pub last_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
