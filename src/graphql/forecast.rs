//! Forecasts in the API: when the leads of a sequence will be sent what.

use std::sync::Arc;

use async_graphql::{Context, Result, SimpleObject};

use super::context::ContextExt;
use super::error::{bad_input, user_errors};
use super::problems::told;
use super::scalar::{Date, DateTime};
use super::sender::Sender;
use crate::app::sequence::forecast::{Answered, forecast};
use crate::domain::forecast::DAYS_MAX;
use crate::domain::id::SenderId;
use crate::store;

/// How many days are shown where nothing else is asked.
const DAYS: i32 = 14;

/// When the leads that are enrolled now will be sent what.
#[derive(SimpleObject)]
pub struct Forecast {
    /// The days from today, those without a message among them.
    days: Vec<ForecastDay>,
    /// When the send windows close on the day on which the last message leaves; null where there is
    /// nothing to send, or not all of it leaves on these days.
    completed_by: Option<DateTime>,
    /// Senders whose caps or pace make messages wait for another day.
    bottlenecks: Vec<Sender>,
}

/// What is sent on one day.
#[derive(SimpleObject)]
pub struct ForecastDay {
    /// The day, on the sequence's clock.
    date: Date,
    /// How many messages are sent.
    sends: i32,
    /// How many of them each sender sends; those that send none are left out.
    by_sender: Vec<SenderCount>,
}

/// How many messages a sender sends.
#[derive(SimpleObject)]
pub struct SenderCount {
    /// The sender.
    sender: Sender,
    /// How many.
    count: i32,
}

fn number(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl From<Answered> for Forecast {
    fn from(Answered { forecast, senders }: Answered) -> Self {
        let sender = |id: &SenderId| Some(Sender(Arc::clone(senders.get(id)?)));
        let days = forecast.days.iter().map(|day| {
            let by_sender = day.by_sender.iter().filter_map(|(id, count)| {
                Some(SenderCount {
                    sender: sender(id)?,
                    count: number(*count),
                })
            });
            ForecastDay {
                date: Date(day.date),
                sends: number(day.sends()),
                by_sender: by_sender.collect(),
            }
        });
        Self {
            days: days.collect(),
            completed_by: forecast.completed_by.map(Into::into),
            bottlenecks: forecast.bottlenecks.iter().filter_map(sender).collect(),
        }
    }
}

/// What the leads of a sequence will be sent on so many days.
///
/// # Errors
/// BAD_USER_INPUT for a number of days out of bounds; otherwise as the store has it.
pub(super) async fn of(
    ctx: &Context<'_>,
    sequence: &store::sequence::Sequence,
    days: Option<i32>,
) -> Result<Forecast> {
    let caller = ctx.caller_within()?;
    let within = u32::try_from(days.unwrap_or(DAYS)).ok();
    let within = within.filter(|days| (1..=DAYS_MAX).contains(days));
    let Some(days) = within else {
        let message = format!("`days` must be from 1 to {DAYS_MAX}.");
        return Err(bad_input(message));
    };
    match forecast(ctx.services(), caller, sequence, days).await {
        Ok(answered) => Ok(answered.into()),
        Err(error) => Err(bad_input(told(user_errors(error)?))),
    }
}
