//! A mailbox that is read for a sender.

use sea_orm::entity::prelude::*;

/// A mailbox that is read for a sender.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "inbound_mailbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sender_id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "JsonBinary")]
    pub place: Json,
    #[sea_orm(column_type = "Text", nullable)]
    pub secret: Option<String>,
    pub revision: i32,
    pub uid_validity: Option<i64>,
    pub last_uid: Option<i64>,
    pub read_at: Option<i64>,
    pub worker_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    pub failures: i32,
    pub retry_at: Option<i64>,
    pub refused_validity: Option<i64>,
    pub refused_uid: Option<i64>,
    pub refusals: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
