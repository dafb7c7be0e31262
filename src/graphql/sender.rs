//! Senders in the API: reading them. How they are made and changed is in [`mutation`].

mod check;
mod inbox;
mod mutation;
mod oauth;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, Union, dataloader};

use super::channel::Channel;
use super::context::ContextExt;
use super::dkim::{DkimKey, DkimKeyOf};
use super::loader::{LoadError, Loaders};
use super::node;
use super::prompt::Prompt;
use super::scalar::{Date, DateTime, Duration, TimeZone, Url};
use crate::domain::duration::WaitDuration;
use crate::domain::id::SenderId;
use crate::domain::sender as domain;
use crate::domain::tracking::BaseUrl;
use crate::domain::zone::Zone;
use crate::store;
use crate::store::lane::{QuotaKey, QuotaKind};

use self::inbox::{Inbox, InboxOf};
use self::oauth::{GrantOf, MailLogin, OAuthGrant};

pub use self::check::SenderCheckMutation;
pub use self::mutation::SenderMutation;

/// A mailbox or number that messages leave from.
pub struct Sender(pub Arc<store::sender::Sender>);

/// A mailbox or number that messages leave from.
#[Object]
impl Sender {
    /// The sender's id.
    pub async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The name that recipients see.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it sends.
    async fn channel(&self) -> Channel {
        self.0.channel.into()
    }

    /// The address or number that recipients see.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// Whether it sends.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// The most messages in a day of its own clock; null, no limit.
    async fn daily_cap(&self) -> Option<i32> {
        self.0.daily_cap
    }

    /// At least so long between two messages.
    async fn min_gap(&self) -> Duration {
        duration(self.0.pace.min_gap)
    }

    /// After each message a random share of it, from nothing to all of it, is added to `minGap`, so that
    /// messages do not leave with the evenness of a machine.
    async fn gap_jitter(&self) -> Duration {
        duration(self.0.pace.jitter)
    }

    /// Days-long growth of the cap for a young mailbox; null where it is grown up.
    async fn warm_up(&self) -> Option<WarmUp> {
        self.0.warm_up.map(|warm_up| WarmUp {
            start_at: Date(warm_up.start_at),
            first_day_cap: i32::try_from(warm_up.first_day_cap).unwrap_or(i32::MAX),
            daily_increase: i32::try_from(warm_up.daily_increase).unwrap_or(i32::MAX),
        })
    }

    /// The clock of its day.
    async fn time_zone(&self) -> TimeZone {
        self.0.time_zone.as_str().into()
    }

    /// How it sends; never the password or token.
    async fn transport(&self) -> SenderTransport {
        match &self.0.transport {
            domain::Transport::Smtp(smtp) => SenderTransport::Smtp(SmtpTransport {
                host: smtp.host.clone(),
                port: i32::from(smtp.port),
                security: smtp.security.into(),
                username: smtp.username.clone(),
                login: smtp.login.into(),
            }),
            domain::Transport::Twilio(twilio) => SenderTransport::Twilio(TwilioTransport {
                base_url: twilio
                    .base_url
                    .as_deref()
                    .unwrap_or(domain::TWILIO_BASE_URL)
                    .into(),
                account_sid: twilio.account_sid.clone(),
            }),
            domain::Transport::Outbox { label } => SenderTransport::Outbox(OutboxTransport {
                label: label.clone(),
            }),
        }
    }

    /// The address by which links, openings and opt-outs of its emails reach this server; null, by the
    /// server's own public URL.
    async fn tracking_domain(&self) -> Option<&str> {
        self.0.tracking_url.as_ref().map(BaseUrl::as_str)
    }

    /// Where answers to its emails are asked for; null, at its own address.
    async fn reply_to(&self) -> Option<&str> {
        self.0.reply_to.as_deref()
    }

    /// Whether answers are asked for at that address with a tag, which tells the message that is answered.
    async fn tagged_replies(&self) -> bool {
        self.0.tagged_replies
    }

    /// The key by which its emails are signed; null where none of its domain is enabled, and for a token that
    /// is limited to sequences.
    async fn dkim_key(&self, ctx: &Context<'_>) -> Result<Option<DkimKey>> {
        if !ctx.caller_within()?.scope.is_all() {
            return Ok(None);
        }
        let found = ctx.loaders()?.load_one(DkimKeyOf(self.0.id)).await?;
        Ok(found.map(DkimKey))
    }

    /// Where answers to its emails arrive; null where none is read.
    async fn inbox(&self, ctx: &Context<'_>) -> Result<Option<Inbox>> {
        let found = ctx.loaders()?.load_one(InboxOf(self.0.id)).await?;
        Ok(found.map(|inbox| Inbox::clone(&inbox)))
    }

    /// What the access tokens are got with by which its transport and its inbox log in (XOAUTH2); null where it
    /// has no grant.
    async fn oauth(&self, ctx: &Context<'_>) -> Result<Option<OAuthGrant>> {
        let found = ctx.loaders()?.load_one(GrantOf(self.0.id)).await?;
        Ok(found.map(|grant| OAuthGrant::clone(&grant)))
    }

    /// How many messages it has sent today, on its own clock.
    async fn sent_today(&self, ctx: &Context<'_>) -> Result<i32> {
        let services = ctx.services();
        let zone = services
            .zones
            .get(&self.0.time_zone)
            .unwrap_or_else(Zone::utc);
        let now = services.clock.now();
        let today = QuotaKey::of(self.0.id.uuid(), QuotaKind::Sends, &zone, now);
        let sent = ctx.loaders()?.load_one(today).await?.unwrap_or(0);
        Ok(i32::try_from(sent).unwrap_or(i32::MAX))
    }

    /// When its pace lets the next message go; null where that is now.
    async fn next_free_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        let now = ctx.services().clock.now();
        (self.0.next_free_at > now).then_some(DateTime(self.0.next_free_at))
    }

    /// Until when it is left alone after trouble of its own, such as a refused login; null where it
    /// is well. Enabling it again lets it try at once.
    async fn unhealthy_until(&self, ctx: &Context<'_>) -> Option<DateTime> {
        let now = ctx.services().clock.now();
        self.0
            .unhealthy_until
            .filter(|until| *until > now)
            .map(DateTime)
    }

    /// What its trouble was, in the server's words; null where there was none since it last sent.
    async fn unhealthy_reason(&self) -> Option<&str> {
        self.0.unhealthy_reason.as_deref()
    }
}

/// An exact length as the API writes it.
fn duration(exact: chrono::Duration) -> Duration {
    let seconds = u64::try_from(exact.num_seconds()).unwrap_or(0);
    WaitDuration::new(0, seconds)
        .unwrap_or_default()
        .to_string()
        .into()
}

impl Prompt for Sender {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "name",
        "channel",
        "address",
        "enabled",
        "dailyCap",
        "minGap",
        "gapJitter",
        "timeZone",
        "nextFreeAt",
        "unhealthyUntil",
        "unhealthyReason",
    ];
}

/// The growth of a young sender's daily cap.
#[derive(SimpleObject, Debug)]
pub struct WarmUp {
    /// The first day, on the sender's clock.
    start_at: Date,
    /// The cap on that day.
    first_day_cap: i32,
    /// By how much the cap grows with each day after it.
    daily_increase: i32,
}

/// How a sender sends.
#[derive(Union)]
pub enum SenderTransport {
    /// Through an SMTP server.
    Smtp(SmtpTransport),
    /// Through Twilio's API.
    Twilio(TwilioTransport),
    /// Into the database.
    Outbox(OutboxTransport),
}

/// An SMTP server and how to reach it.
#[derive(SimpleObject, Debug)]
pub struct SmtpTransport {
    /// Its name or address.
    host: String,
    /// Its port.
    port: i32,
    /// How the connection is protected.
    security: SmtpSecurity,
    /// Who logs in; null where nobody does.
    username: Option<String>,
    /// By what.
    login: MailLogin,
}

/// An account with Twilio, or with a provider that speaks its API.
#[derive(SimpleObject, Debug)]
pub struct TwilioTransport {
    /// Where the API is.
    base_url: Url,
    /// The account's name, its SID.
    account_sid: String,
}

/// Messages are kept in the database and never sent.
#[derive(SimpleObject, Debug)]
pub struct OutboxTransport {
    /// What people call it; null if it has no name.
    label: Option<String>,
}

/// How a connection to an SMTP server is protected.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::SmtpSecurity")]
pub enum SmtpSecurity {
    /// Not at all: only for servers on the same machine or network.
    None,
    /// Begins in the clear and must become TLS before anything is said; usually port 587.
    Starttls,
    /// TLS from the first byte; usually port 465.
    Tls,
}

impl dataloader::Loader<SenderId> for Loaders {
    type Value = Arc<store::sender::Sender>;
    type Error = LoadError;

    async fn load(&self, ids: &[SenderId]) -> Result<HashMap<SenderId, Self::Value>, LoadError> {
        let rows = store::sender::find_many(self.services.db.read(), self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.id, Arc::new(row)))
            .collect())
    }
}

impl dataloader::Loader<QuotaKey> for Loaders {
    type Value = i64;
    type Error = LoadError;

    async fn load(&self, keys: &[QuotaKey]) -> Result<HashMap<QuotaKey, i64>, LoadError> {
        let db = self.services.db.read();
        Ok(store::lane::quotas_used(db, self.workspace, keys).await?)
    }
}

/// The sender with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: SenderId) -> Result<Option<Sender>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Sender))
}

/// Reading senders.
#[derive(Default)]
pub struct SenderQuery;

#[Object]
impl SenderQuery {
    /// The sender with this id; null if the workspace has none.
    async fn sender(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sender's id.")] id: ID,
    ) -> Result<Option<Sender>> {
        ctx.caller()?;
        match node::maybe(&id) {
            Some(id) => load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// The workspace's senders, in the order in which they were made.
    async fn senders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this channel; all, if it is not given.")] channel: Option<
            Channel,
        >,
    ) -> Result<Vec<Sender>> {
        let workspace = ctx.caller()?.workspace;
        let db = ctx.services().db.read();
        let rows = store::sender::list(db, workspace, channel.map(Into::into)).await?;
        Ok(rows.into_iter().map(|row| Sender(Arc::new(row))).collect())
    }
}
