//! One step carried out for one lead.

use sea_orm::entity::prelude::*;

/// One step carried out for one lead.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "execution")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub lead_id: Uuid,
    pub sequence_id: Uuid,
    pub version_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub step_key: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub variant: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub channel: Option<String>,
    #[sea_orm(nullable)]
    pub sender_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub status: String,
    pub attempt: i32,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_code: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_response: Option<String>,
    #[sea_orm(nullable)]
    pub retry_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub subject: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub message_id: Option<String>,
    /// The address that the message went to, in the form in which addresses are compared.
    #[sea_orm(column_type = "Text", nullable)]
    pub to_key: Option<String>,
    #[sea_orm(nullable)]
    pub worker_id: Option<Uuid>,
    #[sea_orm(column_type = "Text", nullable)]
    pub quota_day: Option<String>,
    #[sea_orm(nullable)]
    pub scheduled_at: Option<i64>,
    #[sea_orm(nullable)]
    pub started_at: Option<i64>,
    #[sea_orm(nullable)]
    pub finished_at: Option<i64>,
    /// What the contact did with the message.
    pub opens: i32,
    pub clicks: i32,
    pub replies: i32,
    pub bounced: bool,
    pub unsubscribed: bool,
    /// When an opening, and a click, was last counted.
    #[sea_orm(nullable)]
    pub opened_at: Option<i64>,
    #[sea_orm(nullable)]
    pub clicked_at: Option<i64>,
    /// When the contact read it, as the provider tells of WhatsApp messages.
    #[sea_orm(nullable)]
    pub read_at: Option<i64>,
    /// How often machines looked into it, as far as that is noted.
    pub machine_hits: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
