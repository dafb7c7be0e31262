//! Making and changing senders.

use std::sync::Arc;

use async_graphql::{
    Context, ID, InputObject, MaybeUndefined, Object, OneofObject, Result, SimpleObject,
};

use super::inbox::InboxInput;
use super::oauth::{MailLogin, OAuthInput};
use super::{Sender, SmtpSecurity};
use crate::app::sender as app;
use crate::app::{AppError, Role};
use crate::domain::oauth;
use crate::graphql::channel::Channel;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node;
use crate::graphql::scalar::{Date, Duration, TimeZone, Url};
use crate::store;

/// A sender to make. It is switched on at once.
#[derive(InputObject)]
pub struct SenderCreateInput {
    /// The name that recipients see.
    name: String,
    /// What it sends: EMAIL, SMS or WHATSAPP.
    channel: Channel,
    /// The address or number that recipients see: of an EMAIL sender an email address, of an SMS or
    /// WHATSAPP sender a phone number in international form.
    address: String,
    /// The most messages in a day of its own clock; left out, no limit.
    daily_cap: Option<i32>,
    /// At least so long between two messages, at most P1D; left out, none.
    min_gap: Option<Duration>,
    /// After each message a random share of it, from nothing to all of it, is added to `minGap`; at most
    /// P1D; left out, none.
    gap_jitter: Option<Duration>,
    /// Days-long growth of the cap for a young mailbox; left out, it is grown up.
    warm_up: Option<WarmUpInput>,
    /// The clock of its day; left out, UTC.
    time_zone: Option<TimeZone>,
    /// How it sends: EMAIL by smtp, SMS and WHATSAPP by twilio, each also into an outbox.
    transport: SenderTransportInput,
    /// The host by which links, openings and opt-outs of its emails reach this server, such as
    /// `go.example.com`, or an address of https with a path; left out, the server's own public URL.
    tracking_domain: Option<String>,
    /// Where answers to its emails are asked for (Reply-To); left out, at its own address.
    reply_to: Option<String>,
    /// Whether answers are asked for at that address with a tag, name+tag@example.com, which tells the
    /// message that is answered also where the answer does not name it, and by which contacts may opt
    /// out. Its mail server must deliver such addresses to the same mailbox (RFC 5233), and what arrives
    /// there must come back here: by the inbox, or by POST /inbound/mail.
    #[graphql(default_with = "Some(false)")]
    tagged_replies: Option<bool>,
    /// Where answers to its emails arrive, to be read by IMAP; left out, nowhere that is read.
    inbox: Option<InboxInput>,
    /// What the access tokens are got with by which its transport and its inbox log in (XOAUTH2); left out, they
    /// log in otherwise.
    oauth: Option<OAuthInput>,
}

/// A sender to change; a field that is left out stays as it is.
#[derive(InputObject)]
pub struct SenderUpdateInput {
    /// The sender.
    id: ID,
    /// The name that recipients see; null leaves it as it is.
    name: Option<String>,
    /// Whether it sends. Enabling lets it try at once, whatever trouble it had. Null leaves it as it is.
    enabled: Option<bool>,
    /// The most messages in a day of its own clock: 0 sends nothing, null takes the cap away.
    daily_cap: MaybeUndefined<i32>,
    /// At least so long between two messages, at most P1D; null or PT0S, none.
    min_gap: MaybeUndefined<Duration>,
    /// After each message a random share of it, from nothing to all of it, is added to `minGap`; at most
    /// P1D; null or PT0S, none.
    gap_jitter: MaybeUndefined<Duration>,
    /// Days-long growth of the cap for a young mailbox; null ends it, so that the daily cap holds.
    warm_up: MaybeUndefined<WarmUpInput>,
    /// The clock of its day; null leaves it as it is.
    time_zone: Option<TimeZone>,
    /// How it sends; it replaces what there is, and null leaves that. The password may be left out as long as the host
    /// and the username stay and the connection is protected as before.
    transport: Option<SenderTransportInput>,
    /// The host by which links, openings and opt-outs of its emails reach this server; null, the server's
    /// own public URL. What was sent before stays reachable as long as the old host leads here and is that of
    /// another sender, or the server has no other workspace.
    tracking_domain: MaybeUndefined<String>,
    /// Where answers to its emails are asked for (Reply-To); null, at its own address.
    reply_to: MaybeUndefined<String>,
    /// Whether answers are asked for at that address with a tag, name+tag@example.com; null leaves it as it
    /// is.
    tagged_replies: Option<bool>,
    /// Where answers to its emails arrive, to be read by IMAP; it replaces what there is and is tried at
    /// once. Null ends the reading.
    inbox: MaybeUndefined<InboxInput>,
    /// What the access tokens are got with by which its transport and its inbox log in (XOAUTH2); it replaces
    /// what there is and is tried at once. Null takes it away. It is to be given again with a transport or
    /// an inbox that logs in by it elsewhere than before. A sender that was switched off, as after
    /// SENDER_DISABLED, stays so unless `enabled: true` comes with it.
    oauth: MaybeUndefined<OAuthInput>,
}

/// The growth of a young sender's daily cap.
#[derive(InputObject)]
pub struct WarmUpInput {
    /// The first day, on the sender's clock.
    start_at: Date,
    /// The cap on that day, and before it.
    first_day_cap: i32,
    /// By how much the cap grows with each day after it, up to the daily cap.
    daily_increase: i32,
}

/// How a sender sends: exactly one field is set.
#[derive(OneofObject)]
pub enum SenderTransportInput {
    /// Through an SMTP server.
    Smtp(SmtpInput),
    /// Kept in the database and shown, never sent: for trying things out.
    Outbox(OutboxInput),
    /// Through Twilio's API: SMS and WhatsApp.
    Twilio(TwilioInput),
}

/// An SMTP server and how to reach it.
#[derive(InputObject)]
pub struct SmtpInput {
    /// Its name or address. Whoever runs the server may have limited the private networks where it
    /// can be (`--allow-smtp-networks`).
    host: String,
    /// Its port, usually 587.
    port: i32,
    /// How the connection is protected.
    security: SmtpSecurity,
    /// Who logs in; left out, nobody does.
    username: Option<String>,
    /// By what; left out, by a password.
    login: Option<MailLogin>,
    /// Write-only: the password, or the access token, which no answer shows. For XOAUTH2 it is left out where the
    /// sender has `oauth`, whose access tokens are used then; where a token was written down before, that
    /// takes `oauth` in the same mutation.
    password: Option<String>,
}

/// An account with Twilio, or with a provider that speaks its API.
#[derive(InputObject)]
pub struct TwilioInput {
    /// Where the API is; left out, https://api.twilio.com. A private address must be allowed by
    /// whoever runs the server (`--allow-networks`).
    base_url: Option<Url>,
    /// The account's name, its SID.
    account_sid: String,
    /// Write-only: no answer shows it.
    auth_token: String,
}

/// Messages are kept in the database and never sent.
#[derive(InputObject)]
pub struct OutboxInput {
    /// What people call it.
    label: Option<String>,
}

impl From<SenderTransportInput> for app::TransportInput {
    fn from(input: SenderTransportInput) -> Self {
        match input {
            SenderTransportInput::Smtp(smtp) => Self::Smtp(app::SmtpInput {
                host: smtp.host,
                port: smtp.port,
                security: smtp.security.into(),
                username: smtp.username,
                login: smtp.login.map_or(oauth::MailLogin::Password, Into::into),
                password: smtp.password,
            }),
            SenderTransportInput::Twilio(twilio) => Self::Twilio(app::TwilioInput {
                base_url: twilio.base_url.map(|url| url.0),
                account_sid: twilio.account_sid,
                auth_token: twilio.auth_token,
            }),
            SenderTransportInput::Outbox(outbox) => Self::Outbox {
                label: outbox.label,
            },
        }
    }
}

impl From<WarmUpInput> for app::WarmUpInput {
    fn from(input: WarmUpInput) -> Self {
        Self {
            start_at: input.start_at.0,
            first_day_cap: input.first_day_cap,
            daily_increase: input.daily_increase,
        }
    }
}

/// What a mutation of a sender answers.
#[derive(SimpleObject)]
pub struct SenderPayload {
    /// The sender as it is now; null where the mutation was refused.
    sender: Option<Sender>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl SenderPayload {
    fn of(done: Result<store::sender::Sender, AppError>) -> Result<Self> {
        match done {
            Ok(sender) => Ok(Self {
                sender: Some(Sender(Arc::new(sender))),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self {
                sender: None,
                user_errors: user_errors(error)?,
            }),
        }
    }
}

/// What is said of a setting: nothing, that there is to be none, or what it is to be.
fn said<T>(input: MaybeUndefined<T>) -> Option<Option<T>> {
    match input {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

/// Changing senders.
#[derive(Default)]
pub struct SenderMutation;

#[Object]
impl SenderMutation {
    /// Makes a sender. Needs the role ADMIN.
    async fn sender_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sender.")] input: SenderCreateInput,
    ) -> Result<SenderPayload> {
        let caller = ctx.require(Role::Admin)?;
        let change = app::Change {
            name: Some(input.name),
            enabled: None,
            daily_cap: Some(input.daily_cap),
            min_gap: Some(input.min_gap.map(|gap| gap.0)),
            gap_jitter: Some(input.gap_jitter.map(|jitter| jitter.0)),
            warm_up: Some(input.warm_up.map(Into::into)),
            time_zone: input.time_zone.map(|name| name.0),
            transport: Some(input.transport.into()),
            tracking_domain: Some(input.tracking_domain),
            reply_to: Some(input.reply_to),
            tagged_replies: input.tagged_replies,
            inbox: Some(input.inbox.map(Into::into)),
            oauth: Some(input.oauth.map(Into::into)),
        };
        let channel = input.channel.into();
        SenderPayload::of(
            app::create(ctx.services(), caller, channel, &input.address, change).await,
        )
    }

    /// Changes a sender. Needs the role ADMIN.
    async fn sender_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sender, and what to change.")] input: SenderUpdateInput,
    ) -> Result<SenderPayload> {
        let caller = ctx.require(Role::Admin)?;
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => {
                return Ok(SenderPayload {
                    sender: None,
                    user_errors: vec![error],
                });
            }
        };
        let change = app::Change {
            name: input.name,
            enabled: input.enabled,
            daily_cap: said(input.daily_cap),
            min_gap: said(input.min_gap.map_value(|gap| gap.0)),
            gap_jitter: said(input.gap_jitter.map_value(|jitter| jitter.0)),
            warm_up: said(input.warm_up.map_value(Into::into)),
            time_zone: input.time_zone.map(|name| name.0),
            transport: input.transport.map(Into::into),
            tracking_domain: said(input.tracking_domain),
            reply_to: said(input.reply_to),
            tagged_replies: input.tagged_replies,
            inbox: said(input.inbox.map_value(Into::into)),
            oauth: said(input.oauth.map_value(Into::into)),
        };
        SenderPayload::of(app::update(ctx.services(), caller, id, change).await)
    }
}
