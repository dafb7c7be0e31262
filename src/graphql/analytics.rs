//! What came of a sequence, in the API.

mod comparison;
mod filter;
mod live;
mod load;

use std::sync::Arc;

use async_graphql::{Context, Object, Result};

pub use self::comparison::{SignificanceTest, VariantComparison, VariantMeasure};
pub use self::filter::AnalyticsFilterInput;
pub use self::live::AnalyticsSubscription;
use self::load::Asked;
use super::channel::Channel;
use super::context::ContextExt;
use super::prompt::Prompt;
use super::scalar::Date;
use super::sender::{self, Sender};
use crate::domain::analytics::{self, Bucket, Report, StepReport};
use crate::domain::flow::Flow;
use crate::domain::id::SenderId;
use crate::store;

/// What came of a sequence: counts of leads and messages as they are now. Days are those on which
/// messages were sent; what contacts did counts for the message that they did it with, whenever that was.
pub struct SequenceAnalytics {
    report: Arc<Report>,
    flow: Arc<Flow>,
}

/// What came of a sequence: counts of leads and messages as they are now. Days are those on which
/// messages were sent; what contacts did counts for the message that they did it with, whenever that was.
#[Object]
impl SequenceAnalytics {
    /// How many leads got how far.
    async fn funnel(&self) -> Funnel {
        Funnel(self.report.total.funnel)
    }

    /// How many messages there were.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.report.total.messages)
    }

    /// By step: those of the flow as it is edited, in their order, then those that it has no more.
    async fn by_step(&self) -> Vec<StepAnalytics> {
        let reports = &self.report.steps;
        let of = |key: &str| reports.iter().find(|report| report.key == key);
        let empty = |key: &str| StepReport {
            key: key.to_owned(),
            bucket: Bucket::default(),
            variants: Vec::new(),
            waiting: 0,
        };
        let here = self.flow.steps.iter().map(|step| &step.key);
        let mut all: Vec<StepAnalytics> = here
            .map(|key| StepAnalytics(of(key).cloned().unwrap_or_else(|| empty(key))))
            .collect();
        let is_gone = |report: &&StepReport| {
            let mut here = self.flow.steps.iter();
            !here.any(|step| step.key == report.key)
        };
        all.extend(reports.iter().filter(is_gone).cloned().map(StepAnalytics));
        all
    }

    /// By sender: those that messages were sent by.
    async fn by_sender(&self) -> Vec<SenderAnalytics> {
        let each = self.report.senders.iter();
        each.map(|(id, bucket)| SenderAnalytics(*id, *bucket))
            .collect()
    }

    /// By channel: those that messages were sent through.
    async fn by_channel(&self) -> Vec<ChannelAnalytics> {
        let each = self.report.channels.iter();
        each.map(|(channel, bucket)| ChannelAnalytics((*channel).into(), *bucket))
            .collect()
    }

    /// By day: those on which messages were sent, the oldest first.
    async fn by_day(&self) -> Vec<DayAnalytics> {
        let each = self.report.days.iter();
        each.map(|(date, bucket)| DayAnalytics(Date(*date), *bucket))
            .collect()
    }
}

/// What came of a sequence, under a filter.
///
/// # Errors
/// BAD_USER_INPUT for a filter that cannot be; as the store has it.
pub async fn of_sequence(
    ctx: &Context<'_>,
    sequence: &store::sequence::Sequence,
    filter: Option<AnalyticsFilterInput>,
) -> Result<SequenceAnalytics> {
    let filter = filter.unwrap_or_default().read(ctx).await?;
    let asked = Asked {
        sequence: sequence.id,
        filter,
    };
    let report = ctx.loaders()?.load_one(asked).await?.unwrap_or_default();
    Ok(SequenceAnalytics {
        report,
        flow: Arc::clone(&sequence.flow),
    })
}

/// Counts of distinct leads: a lead counts once, where at least one of the messages that count did it.
pub struct Funnel(analytics::Funnel);

/// Counts of distinct leads: a lead counts once, where at least one of the messages that count did it.
#[Object]
impl Funnel {
    /// Got at least one message.
    async fn contacted(&self) -> i32 {
        count(self.0.contacted)
    }

    /// Opened at least one.
    async fn opened(&self) -> i32 {
        count(self.0.opened)
    }

    /// Clicked in at least one, or answered one.
    async fn interactions(&self) -> i32 {
        count(self.0.interactions)
    }

    /// Answered at least one.
    async fn answered(&self) -> i32 {
        count(self.0.answered)
    }

    /// Left the sequence early, and one of these messages was the last that they got. Without a filter
    /// also those who left before they got any.
    async fn interrupted(&self) -> i32 {
        count(self.0.interrupted)
    }
}

impl Prompt for Funnel {
    const AT_ONCE: &'static [&'static str] = &[
        "contacted",
        "opened",
        "interactions",
        "answered",
        "interrupted",
    ];
}

/// Counts of messages and of what was done with them; work for people and requests are no messages.
pub struct MessageCounts(analytics::MessageCounts);

/// Counts of messages and of what was done with them; work for people and requests are no messages.
#[Object]
impl MessageCounts {
    /// Accepted by the receiving server.
    async fn sent(&self) -> i32 {
        count(self.0.sent)
    }

    /// Known to have arrived.
    async fn delivered(&self) -> i32 {
        count(self.0.delivered)
    }

    /// Given up: the error of the execution says why.
    async fn failed(&self) -> i32 {
        count(self.0.failed)
    }

    /// Openings, of one message as many as there were.
    async fn opens(&self) -> i32 {
        count(self.0.opens)
    }

    /// Clicks, in one message as many as there were.
    async fn clicks(&self) -> i32 {
        count(self.0.clicks)
    }

    /// Answers, to one message as many as there were.
    async fn replies(&self) -> i32 {
        count(self.0.replies)
    }

    /// Messages that came back.
    async fn bounces(&self) -> i32 {
        count(self.0.bounces)
    }

    /// Messages by which the contact opted out.
    async fn unsubscribes(&self) -> i32 {
        count(self.0.unsubscribes)
    }
}

impl Prompt for MessageCounts {
    const AT_ONCE: &'static [&'static str] = &[
        "sent",
        "delivered",
        "failed",
        "opens",
        "clicks",
        "replies",
        "bounces",
        "unsubscribes",
    ];
}

fn count(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What came of a step.
pub struct StepAnalytics(StepReport);

/// What came of a step.
#[Object]
impl StepAnalytics {
    /// The key of the step.
    async fn step_key(&self) -> &str {
        &self.0.key
    }

    /// How many leads got how far by its messages.
    async fn funnel(&self) -> Funnel {
        Funnel(self.0.bucket.funnel)
    }

    /// How many messages it sent.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.0.bucket.messages)
    }

    /// By variant: those that were sent, by their names.
    async fn by_variant(&self) -> Vec<VariantAnalytics> {
        let each = self.0.variants.iter();
        each.map(|(name, bucket)| VariantAnalytics(name.clone(), *bucket))
            .collect()
    }

    /// Whether its variants differ by more than chance: the best against the next best, for each
    /// measure. Empty where fewer than two were sent.
    async fn comparisons(&self) -> Vec<VariantComparison> {
        comparison::all(&self.0.variants)
    }

    /// Leads that sit at this step now, whatever the filter; those that are paused too.
    async fn waiting(&self) -> i32 {
        count(self.0.waiting)
    }
}

/// What came of one variant of a step.
pub struct VariantAnalytics(String, Bucket);

/// What came of one variant of a step.
#[Object]
impl VariantAnalytics {
    /// The variant's name.
    async fn variant(&self) -> &str {
        &self.0
    }

    /// How many leads got how far by its messages.
    async fn funnel(&self) -> Funnel {
        Funnel(self.1.funnel)
    }

    /// How many of its messages there were.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.1.messages)
    }
}

/// What came of what one sender sent.
pub struct SenderAnalytics(SenderId, Bucket);

/// What came of what one sender sent.
#[Object]
impl SenderAnalytics {
    /// The sender.
    async fn sender(&self, ctx: &Context<'_>) -> Result<Sender> {
        let found = sender::load(ctx, self.0).await?;
        found.ok_or_else(|| {
            store::StoreError::corrupt("execution", "its sender is not there").into()
        })
    }

    /// How many leads got how far by its messages.
    async fn funnel(&self) -> Funnel {
        Funnel(self.1.funnel)
    }

    /// How many messages it sent.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.1.messages)
    }
}

/// What came of what went through one channel.
pub struct ChannelAnalytics(Channel, Bucket);

/// What came of what went through one channel.
#[Object]
impl ChannelAnalytics {
    /// The channel.
    async fn channel(&self) -> Channel {
        self.0
    }

    /// How many leads got how far by its messages.
    async fn funnel(&self) -> Funnel {
        Funnel(self.1.funnel)
    }

    /// How many messages went through it.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.1.messages)
    }
}

/// What came of what was sent on one day.
pub struct DayAnalytics(Date, Bucket);

/// What came of what was sent on one day.
#[Object]
impl DayAnalytics {
    /// The day, in the zone that was asked for.
    async fn date(&self) -> Date {
        self.0
    }

    /// How many leads got how far by the messages of the day.
    async fn funnel(&self) -> Funnel {
        Funnel(self.1.funnel)
    }

    /// How many messages were sent on it.
    async fn messages(&self) -> MessageCounts {
        MessageCounts(self.1.messages)
    }
}
