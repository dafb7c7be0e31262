//! Senders: made and changed, with every field that is wrong named at once.

use chrono::{DateTime, Duration, NaiveDate, Utc};

use super::{AppError, Caller, Refusal, RefusalCode, Services, time_zone, tracking};
use crate::domain::address::{EmailAddress, PhoneNumber};
use crate::domain::duration::WaitDuration;
use crate::domain::flow::Channel;
use crate::domain::id::SenderId;
use crate::domain::inbox::{TAG_CHARS, tagged};
use crate::domain::pace::Pace;
use crate::domain::sender::{Transport, WarmUp};
use crate::domain::tracking::BaseUrl;
use crate::store::sender::{self, SENDERS_MAX, Sender};
use crate::store::{dialect, grant};

mod check;
mod inbox;
mod oauth;
mod transport;

use oauth::GrantNow;

pub use check::check;
pub use inbox::InboxInput;
pub use oauth::OAuthInput;
pub use transport::{SmtpInput, TransportInput, TwilioInput};

/// The longest name, label or user name, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// The longest least gap between two messages, and the most that chance may add to it.
const GAP_MAX: Duration = Duration::days(1);

/// A warm-up as it is written.
#[derive(Debug, Clone, Copy)]
pub struct WarmUpInput {
    /// Its first day, on the sender's clock.
    pub start_at: NaiveDate,
    /// The cap on that day.
    pub first_day_cap: i32,
    /// By how much the cap grows with each day.
    pub daily_increase: i32,
}

/// What is said of a sender; what is not given stays as it is. Of what a sender may do without, the inner
/// `None` says that there is to be none.
#[derive(Clone, Default)]
pub struct Change {
    /// The name that recipients see.
    pub name: Option<String>,
    /// Whether it sends.
    pub enabled: Option<bool>,
    /// The most messages in a day.
    pub daily_cap: Option<Option<i32>>,
    /// At least so long between two messages, as an ISO 8601 duration.
    pub min_gap: Option<Option<String>>,
    /// The most that chance adds to it, as an ISO 8601 duration.
    pub gap_jitter: Option<Option<String>>,
    /// The growth of the cap.
    pub warm_up: Option<Option<WarmUpInput>>,
    /// The clock of its day.
    pub time_zone: Option<String>,
    /// How it sends.
    pub transport: Option<TransportInput>,
    /// The address by which the marks in its emails are reached: a host, or an address of https.
    pub tracking_domain: Option<Option<String>>,
    /// Where answers are asked for, where that is not the sender's address.
    pub reply_to: Option<Option<String>>,
    /// Whether answers are asked for at an address with a tag.
    pub tagged_replies: Option<bool>,
    /// Where answers arrive.
    pub inbox: Option<Option<InboxInput>>,
    /// What access tokens are got with.
    pub oauth: Option<Option<OAuthInput>>,
}

/// Makes a sender, switched on.
///
/// # Errors
/// [`AppError::Refused`] with every field that is wrong, or with `LIMIT` where the workspace has as
/// many as it may have; [`AppError::Store`] as the database has it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    channel: Channel,
    address: &str,
    mut change: Change,
) -> Result<Sender, AppError> {
    let now = services.clock.now();
    let now_granted = GrantNow::of(false, change.oauth.as_ref());
    let (inbox, oauth) = (change.inbox.take().flatten(), change.oauth.take().flatten());
    let mut draft = blank(services.entropy.id(now), now);
    let mut wrong = Vec::new();
    draft.channel = channel;
    match read_address(channel, address) {
        Ok(address) => draft.address = address,
        Err(refusal) => wrong.push(refusal),
    }
    wrong.extend(apply(services, caller, &mut draft, (change, now_granted)));
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    let tx = services.db.begin().await?;
    let count = sender::count(&tx, caller.workspace).await?;
    if u64::try_from(count).unwrap_or(0) >= SENDERS_MAX {
        let message = format!("A workspace has at most {SENDERS_MAX} senders: change one instead.");
        return Err(Refusal::new(RefusalCode::Limit, message, &[]).into());
    }
    if let Some(base) = &draft.tracking_url {
        let refused = tracking::refuses_base(services, &tx, caller.workspace, base).await?;
        refused.map_or(Ok(()), Err)?;
    }
    sender::insert(&tx, caller.workspace, &draft).await?;
    let is_read = inbox.is_some();
    let mut wrong = Vec::new();
    if is_read {
        wrong = inbox::apply(services, &tx, caller, &draft, (inbox, now_granted)).await?;
    }
    if oauth.is_some() {
        wrong.extend(oauth::apply(services, &tx, caller, &draft, oauth).await?);
    }
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    if is_read {
        dialect::notify(&tx).await?;
    }
    tx.commit().await?;
    services.wake.due();
    Ok(draft)
}

/// Changes a sender. Switching it on lets it try again at once, whatever trouble it had.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such sender, or with every field
/// that is wrong; [`AppError::Store`] as the database has it.
pub async fn update(
    services: &Services,
    caller: &Caller,
    id: SenderId,
    mut change: Change,
) -> Result<Sender, AppError> {
    let (inbox, oauth) = (change.inbox.take(), change.oauth.take());
    let is_enabled = change.enabled == Some(true);
    let tx = services.db.begin().await?;
    let Some(before) = sender::lock(&tx, caller.workspace, id).await? else {
        return Err(not_there().into());
    };
    let had = grant::find_many(&tx, caller.workspace, &[id]).await?;
    let now_granted = GrantNow::of(!had.is_empty(), oauth.as_ref());
    let mut changed = before.clone();
    let mut wrong = apply(services, caller, &mut changed, (change, now_granted));
    if now_granted.is_written {
        recover(&mut changed);
    }
    let mut is_same = changed == before && inbox.is_none() && oauth.is_none();
    if let Some(inbox) = inbox {
        let inbox = (inbox, now_granted);
        wrong.extend(inbox::apply(services, &tx, caller, &changed, inbox).await?);
    }
    if let Some(oauth) = oauth {
        wrong.extend(oauth::apply(services, &tx, caller, &changed, oauth).await?);
    } else if is_enabled {
        is_same &= !grant::try_at_once(&tx, caller.workspace, id).await?;
    }
    if let Some(base) = (changed.tracking_url.as_ref())
        && changed.tracking_url != before.tracking_url
    {
        wrong.extend(tracking::refuses_base(services, &tx, caller.workspace, base).await?);
    }
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    if is_same {
        return Ok(before);
    }
    changed.revision += 1;
    changed.updated_at = services.clock.now();
    if changed.pace != before.pace {
        // A shorter gap holds at once, not only after the one that was begun.
        let latest = changed.updated_at + changed.pace.most();
        changed.next_free_at = changed.next_free_at.min(latest);
    }
    sender::save(&tx, caller.workspace, &changed).await?;
    // Another node may be the one that sends through it.
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(changed)
}

fn not_there() -> Refusal {
    let message = "There is no sender with this id: take the id from an answer of this API.";
    Refusal::not_found(message, &["id"])
}

/// The address of a sender, as its channel writes it.
fn read_address(channel: Channel, text: &str) -> Result<String, Refusal> {
    let wrong = |message: String| Refusal::invalid(message, &["address"]);
    match channel {
        Channel::Email => EmailAddress::parse(text)
            .map(|address| address.as_str().to_owned())
            .map_err(|error| wrong(error.to_string())),
        Channel::Sms | Channel::Whatsapp => PhoneNumber::parse(text, None)
            .map(|number| number.as_str().to_owned())
            .map_err(|error| wrong(error.to_string())),
        Channel::Call | Channel::Linkedin | Channel::Task | Channel::Webhook => {
            let message =
                format!("{channel} steps have no sender: make one for EMAIL, SMS or WHATSAPP.");
            Err(Refusal::invalid(message, &["channel"]))
        }
    }
}

fn blank(id: SenderId, now: DateTime<Utc>) -> Sender {
    Sender {
        id,
        name: String::new(),
        channel: Channel::Email,
        address: String::new(),
        enabled: true,
        time_zone: "UTC".into(),
        daily_cap: None,
        pace: Pace::default(),
        warm_up: None,
        transport: Transport::Outbox { label: None },
        secret: None,
        tracking_url: None,
        reply_to: None,
        tagged_replies: false,
        revision: 1,
        next_free_at: now,
        unhealthy_until: None,
        unhealthy_reason: None,
        failures: 0,
        created_at: now,
        updated_at: now,
    }
}

/// Applies what is said of a sender; answers everything that is wrong with it, and then the sender
/// is not to be used.
fn apply(
    services: &Services,
    caller: &Caller,
    sender: &mut Sender,
    (change, granted): (Change, GrantNow),
) -> Vec<Refusal> {
    let mut wrong = Vec::new();
    if let Some(name) = change.name {
        match text(&name, TEXT_CHARS_MAX, &["name"]) {
            Ok(name) => sender.name = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(cap) = change.daily_cap {
        if let Some(cap) = cap.filter(|cap| *cap < 0) {
            let message = format!("dailyCap is {cap}: give 0, which sends nothing, or more.");
            wrong.push(Refusal::invalid(message, &["dailyCap"]));
        }
        sender.daily_cap = cap;
    }
    let pace = &mut sender.pace;
    for (written, field, kept) in [
        (change.min_gap, "minGap", &mut pace.min_gap),
        (change.gap_jitter, "gapJitter", &mut pace.jitter),
    ] {
        let Some(written) = written else { continue };
        match written.map(|written| gap(&written, field)).transpose() {
            Ok(gap) => *kept = gap.unwrap_or_default(),
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(written) = change.warm_up {
        match written.map(warm_up).transpose() {
            Ok(warm_up) => sender.warm_up = warm_up,
            Err(refusals) => wrong.extend(refusals),
        }
    }
    if let Some(name) = change.time_zone {
        match time_zone::read(&services.zones, &name, &["timeZone"]) {
            Ok(name) => sender.time_zone = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    // Whoever switches a sender on, or repairs how it sends, wants it to try again now.
    if change.enabled == Some(true) || change.transport.is_some() {
        recover(sender);
    }
    if let Some(written) = change.transport {
        let written = (written, granted);
        wrong.extend(transport::apply(services, caller, sender, written));
    }
    if let Some(enabled) = change.enabled {
        sender.enabled = enabled;
    }
    if let Some(written) = change.tracking_domain {
        match written.map(|written| tracking_url(&written)).transpose() {
            Ok(url) => sender.tracking_url = url,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(written) = change.reply_to {
        match written.map(|written| reply_to(&written)).transpose() {
            Ok(address) => sender.reply_to = address,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(tagged) = change.tagged_replies {
        sender.tagged_replies = tagged;
    }
    if sender.channel != Channel::Email {
        for (is_given, field) in [
            (sender.reply_to.is_some(), "replyTo"),
            (sender.tagged_replies, "taggedReplies"),
        ] {
            if is_given {
                let message = format!("Only a sender for EMAIL has {field}: leave it out.");
                wrong.push(Refusal::invalid(message, &[field]));
            }
        }
    }
    let answers_to = sender.reply_to.as_ref().unwrap_or(&sender.address);
    let is_empty = answers_to.is_empty();
    if sender.tagged_replies && !is_empty && tagged(answers_to, &"x".repeat(TAG_CHARS)).is_none() {
        let message = format!(
            "{answers_to} with a tag is longer than addresses may be: give a shorter replyTo, of at most 24 \
             characters before the @, or set taggedReplies to false."
        );
        wrong.push(Refusal::invalid(message, &["taggedReplies"]));
    }
    wrong
}

fn reply_to(written: &str) -> Result<String, Refusal> {
    let address = EmailAddress::parse(written);
    let address = address.map_err(|error| Refusal::invalid(error.to_string(), &["replyTo"]))?;
    if !address.local().is_ascii() {
        // Where the envelope is plain, no server is asked whether it knows more (RFC 6531).
        let message = "replyTo has letters beyond ASCII before the @, which many mail servers refuse: give \
                       another address.";
        return Err(Refusal::invalid(message, &["replyTo"]));
    }
    Ok(address.as_str().to_owned())
}

/// Forgets a sender's trouble, so that it tries again at once.
fn recover(sender: &mut Sender) {
    sender.unhealthy_until = None;
    sender.unhealthy_reason = None;
    sender.failures = 0;
}

fn tracking_url(written: &str) -> Result<BaseUrl, Refusal> {
    let path = &["trackingDomain"];
    let url = BaseUrl::parse(written).map_err(|error| Refusal::invalid(error.to_string(), path))?;
    if !url.is_secure() {
        let message =
            "Contacts follow links of emails by https: give a host, or an address of https.";
        return Err(Refusal::invalid(message, path));
    }
    Ok(url)
}

/// A line of text that people read.
fn text(text: &str, chars_max: usize, path: &[&str]) -> Result<String, Refusal> {
    let field = path.last().copied().unwrap_or_default();
    let text = text.trim();
    if text.is_empty() || text.chars().count() > chars_max {
        let message = format!("{field} has from 1 to {chars_max} characters: correct it.");
        return Err(Refusal::invalid(message, path));
    }
    if text.chars().any(char::is_control) {
        let message = format!("{field} is a single line without control characters: correct it.");
        return Err(Refusal::invalid(message, path));
    }
    Ok(text.to_owned())
}

/// A part of the pace, which `field` is called.
fn gap(text: &str, field: &str) -> Result<Duration, Refusal> {
    let gap: WaitDuration = text
        .parse()
        .map_err(|error| Refusal::invalid(format!("{field}: {error}."), &[field]))?;
    if gap.exact() > GAP_MAX {
        let message = format!("{field} is longer than a day: give P1D or less, such as PT45S.");
        return Err(Refusal::invalid(message, &[field]));
    }
    Ok(gap.exact())
}

fn warm_up(written: WarmUpInput) -> Result<WarmUp, Vec<Refusal>> {
    let mut wrong = Vec::new();
    let mut number = |value: i32, field| {
        u32::try_from(value).unwrap_or_else(|_| {
            let message = format!("{field} is {value}: give 0 or more.");
            wrong.push(Refusal::invalid(message, &["warmUp", field]));
            0
        })
    };
    let warm_up = WarmUp {
        start_at: written.start_at,
        first_day_cap: number(written.first_day_cap, "firstDayCap"),
        daily_increase: number(written.daily_increase, "dailyIncrease"),
    };
    if wrong.is_empty() {
        Ok(warm_up)
    } else {
        Err(wrong)
    }
}
