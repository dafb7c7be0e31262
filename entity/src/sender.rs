//! A mailbox or number that messages leave from.

use sea_orm::entity::prelude::*;

/// A mailbox or number that messages leave from.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sender")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub channel: String,
    #[sea_orm(column_type = "Text")]
    pub address: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub domain: Option<String>,
    pub enabled: bool,
    #[sea_orm(column_type = "Text")]
    pub time_zone: String,
    #[sea_orm(nullable)]
    pub daily_cap: Option<i32>,
    pub min_gap_ms: i64,
    pub gap_jitter_ms: i64,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub warm_up: Option<Json>,
    #[sea_orm(column_type = "JsonBinary")]
    pub transport: Json,
    #[sea_orm(column_type = "Text", nullable)]
    pub secret: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub tracking_url: Option<String>,
    /// The host of that, by which requests are found to belong to the workspace.
    #[sea_orm(column_type = "Text", nullable)]
    pub tracking_host: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub reply_to: Option<String>,
    pub tagged_replies: bool,
    pub revision: i32,
    pub next_free_at: i64,
    #[sea_orm(nullable)]
    pub unhealthy_until: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub unhealthy_reason: Option<String>,
    pub failures: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
