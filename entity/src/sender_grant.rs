//! What a sender's access tokens are got with.

use sea_orm::entity::prelude::*;

/// What a sender's access tokens are got with.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sender_grant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sender_id: Uuid,
    pub workspace_id: Uuid,
    pub grant_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub token_url: String,
    #[sea_orm(column_type = "Text")]
    pub client_id: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub scope: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub tokens: String,
    pub expires_at: Option<i64>,
    pub refreshed_at: Option<i64>,
    pub generation: i64,
    pub refresher: Option<Uuid>,
    pub refreshing_until: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub problem: Option<String>,
    pub failures: i32,
    pub retry_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
