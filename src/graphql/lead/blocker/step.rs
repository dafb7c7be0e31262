//! What of a lead's own step keeps it: the window of work that no sender does, and the merge tags that
//! have no value.

use async_graphql::{Context, Result};
use chrono::{DateTime, Utc};

use super::{Blocker, there, whereabouts};
use crate::domain::flow::{self, Step};
use crate::domain::gate::{self, Closed};
use crate::domain::id::{PersonId, SenderId};
use crate::domain::planning::{self, Clocks};
use crate::domain::template::MergeData;
use crate::domain::tracking::BaseUrl;
use crate::domain::zone::Zone;
use crate::graphql::context::ContextExt;
use crate::store::lead::Row;
use crate::store::sequence::version::Version;

/// The step where a lead stands, in the version that runs.
pub(super) fn of<'a>(lead: &Row, version: Option<&'a Version>) -> Option<&'a Step> {
    let key = lead.step_key.as_deref()?;
    version?.flow.steps.iter().find(|step| step.key == key)
}

/// The window of a step without a sender, where it keeps to the windows and they are closed. The engine
/// reads them on the sequence's clock where the settings choose a sender's.
pub(super) async fn closed(
    ctx: &Context<'_>,
    lead: &Row,
    step: &Step,
    version: &Version,
    now: DateTime<Utc>,
) -> Result<Option<Closed>> {
    if !step.action.keeps_windows() {
        return Ok(None);
    }
    let zone = ctx.services().zones.get(&version.settings.time_zone);
    let zone = zone.unwrap_or_else(Zone::utc);
    let person = whereabouts(ctx, lead).await?;
    let clocks = Clocks {
        sequence: &zone,
        sender: &zone,
        person: &person,
    };
    let calendar = planning::calendar(&version.settings, clocks);
    Ok(gate::window(&calendar, now))
}

/// Has a blocker name the merge tags of the step that have no value for the lead.
pub(super) async fn name_missing_tags(
    ctx: &Context<'_>,
    lead: &Row,
    step: &Step,
    blocker: &mut Blocker,
) -> Result<()> {
    let loaders = ctx.loaders()?;
    let person = PersonId::from_uuid(lead.person_id);
    let person = there(loaders.load_one(person).await?, "lead's person")?;
    let sender = match lead.sender_id.map(SenderId::from_uuid) {
        Some(id) => Some(there(loaders.load_one(id).await?, "lead's sender")?),
        None => None,
    };
    // Whether there is any: which it is depends on the message.
    let own = sender
        .as_ref()
        .and_then(|sender| sender.tracking_url.as_ref());
    let unsubscribe_url = ctx.services().marks.base_of(own);
    let data = MergeData {
        email: person.email.as_deref(),
        phone: person.phone.as_deref(),
        linkedin_url: person.linkedin_url.as_deref(),
        first_name: person.first_name.as_deref(),
        last_name: person.last_name.as_deref(),
        company: person.company.as_deref(),
        title: person.title.as_deref(),
        time_zone: person.time_zone.as_deref(),
        country: person.country.as_deref(),
        attributes: person.attributes.as_object(),
        sender_name: sender.as_ref().map(|sender| sender.name.as_str()),
        sender_address: sender.as_ref().map(|sender| sender.address.as_str()),
        unsubscribe_url: unsubscribe_url.map(BaseUrl::as_str),
    };
    let tags = flow::missing_tags(step, lead.bucket, &data);
    if !tags.is_empty() {
        blocker.message = format!(
            "The step asks for what is not known of this person: {}. Complete the person with \
             personUpdate, or give the tag a default.",
            tags.join(", ")
        );
    }
    Ok(())
}
