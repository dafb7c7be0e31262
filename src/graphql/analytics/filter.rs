//! The filter of analytics as an input.

use async_graphql::{Context, ID, InputObject, Result};

use super::load::OwnZone;
use crate::domain::analytics::Filter;
use crate::domain::zone::Zone;
use crate::graphql::channel::Channel;
use crate::graphql::context::ContextExt;
use crate::graphql::error::bad_input;
use crate::graphql::node;
use crate::graphql::problems::{Problems, each_once, told};
use crate::graphql::scalar::{Date, TimeZone};
use crate::store::StoreError;

/// The most values of one list.
const LIST_MAX: usize = 1_000;

/// Which messages count: every condition that is given must hold. A list means "any of these", so an
/// empty list means none.
#[derive(InputObject, Debug, Default)]
#[graphql(name = "AnalyticsFilter")]
pub struct AnalyticsFilterInput {
    /// Sent by one of these senders.
    sender_ids: Option<Vec<ID>>,
    /// Sent through one of these channels.
    channel: Option<Vec<Channel>>,
    /// Of one of these steps.
    step_keys: Option<Vec<String>>,
    /// Sent on this day or later.
    from: Option<Date>,
    /// Sent on this day or before.
    to: Option<Date>,
    /// Where days begin and end; the workspace's time zone, if it is not given.
    time_zone: Option<TimeZone>,
}

impl AnalyticsFilterInput {
    /// The filter that is meant.
    ///
    /// # Errors
    /// BAD_USER_INPUT with every problem; as the store has it.
    pub async fn read(self, ctx: &Context<'_>) -> Result<Filter> {
        let mut problems = Problems::of(&["filter"]);
        let lengths = [
            ("senderIds", self.sender_ids.as_ref().map_or(0, Vec::len)),
            ("stepKeys", self.step_keys.as_ref().map_or(0, Vec::len)),
        ];
        for (name, length) in lengths {
            problems.bound(length, LIST_MAX, &[name]);
        }
        let senders = self
            .sender_ids
            .map(|ids| problems.each(&ids, "senderIds", node::id));
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            problems.add(&["to"], "to is before from: give a later day.".into());
        }
        let zones = &ctx.services().zones;
        let zone = match self.time_zone {
            Some(name) => {
                let zone = zones.get(&name.0);
                if zone.is_none() {
                    let message = "timeZone is not a time zone of the IANA database; write one like \
                                   Europe/Lisbon.";
                    problems.add(&["timeZone"], message.into());
                }
                zone
            }
            None => Some(own_zone(ctx).await?),
        };
        if !problems.found.is_empty() {
            return Err(bad_input(told(problems.found)));
        }
        Ok(Filter {
            senders,
            channels: self
                .channel
                .map(|list| each_once(list.into_iter().map(Into::into))),
            steps: self.step_keys.map(each_once),
            from: self.from.map(|day| day.0),
            to: self.to.map(|day| day.0),
            zone: zone.unwrap_or_else(Zone::utc),
        })
    }
}

/// The zone of the caller's workspace.
async fn own_zone(ctx: &Context<'_>) -> Result<Zone> {
    let name = ctx.loaders()?.load_one(OwnZone).await?.unwrap_or_default();
    let zone = ctx.services().zones.get(&name);
    Ok(zone.ok_or_else(|| StoreError::corrupt("workspace's time zone", name))?)
}
