//! Merging two people who are one.

use sea_orm::DatabaseTransaction;

use super::{ATTRIBUTES_BYTES_MAX, gone, stopping};
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services, deadlock, workflow};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{PersonId, SequenceId, WorkspaceId};
use crate::domain::lead::StopReason;
use crate::domain::merge::{self, Progress};
use crate::domain::workflow::Trigger;
use crate::store::claim::LeadRow;
use crate::store::person::{self, Row, consent, erasure};
use crate::store::sequence::{self, version};
use crate::store::{self, StoreError, dialect, event, lead};

/// Makes one person of two: the survivor keeps what is known of it and takes what it lacks from the
/// duplicate, with its leads and opportunities. Of two leads under way in one sequence the furthest goes
/// on. What either has opted out of, the survivor has. The duplicate goes; workflows run for the survivor
/// where they were to run for it. A survivor that takes something is a person that was updated.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for somebody whom the workspace does not have, with `INVALID` if
/// both are the same, with `LIMIT` if the attributes of both are too much for one; [`AppError::Store`] as
/// the database has it.
pub async fn merge(
    services: &Services,
    caller: &Caller,
    survivor: PersonId,
    duplicate: PersonId,
) -> Result<Row, AppError> {
    if survivor == duplicate {
        let message = "id and duplicateId are the same person; name two.";
        return Err(Refusal::invalid(message, &["duplicateId"]).into());
    }
    deadlock::repeated(|| merge_once(services, caller, survivor, duplicate)).await
}

async fn merge_once(
    services: &Services,
    caller: &Caller,
    survivor: PersonId,
    duplicate: PersonId,
) -> Result<Row, AppError> {
    let (workspace, now) = (caller.workspace, services.clock.now());
    let tx = services.db.begin().await?;
    // What is queued for the duplicate goes over as a whole.
    store::workflow::keep_all(&tx, workspace).await?;
    let mut found = erasure::lock(&tx, workspace, &[survivor, duplicate]).await?;
    found.retain(|row| row.erased_at.is_none());
    let mut take = |id: PersonId| {
        let at = found.iter().position(|row| row.id == id.uuid())?;
        Some(found.swap_remove(at))
    };
    let (kept, other) = match (take(survivor), take(duplicate)) {
        (Some(kept), Some(other)) => (kept, other),
        (kept, other) => {
            let missing = [(kept, "id"), (other, "duplicateId")];
            let missing = missing.into_iter().filter(|(row, _)| row.is_none());
            return Err(AppError::Refused(
                missing.map(|(_, field)| gone(&[field])).collect(),
            ));
        }
    };
    let merged = united(&kept, &other)?;
    let is_changed = merged != kept;
    let updated_at = match is_changed {
        true => now.timestamp_millis(),
        false => kept.updated_at,
    };
    let merged = Row {
        updated_at,
        ..merged
    };
    let mut events = stop_one_of_two(services, &tx, workspace, [survivor, duplicate]).await?;
    // Once their leads are locked, so that no message's answer opts one of them out unseen.
    let closed = opted_out(&tx, workspace, &kept, &other).await?;
    person::merge::move_all(&tx, &kept, other.id).await?;
    person::update(&tx, merged.clone()).await?;
    let closing: Vec<(Channel, String)> = closed
        .into_iter()
        .filter_map(|channel| Some((channel, consent::address(&merged, channel)?.to_owned())))
        .collect();
    let closed = consent::opt_out(&tx, workspace, &closing, now).await?;
    if !closed.is_empty() {
        let kind = EventKind::Unsubscribed;
        events.extend(super::consent::told(survivor, kind, &closed, now));
        events.extend(super::consent::close(services, &tx, workspace, &merged, &closed).await?);
    }
    person::release_leads(&tx, workspace, &[merged.id], now).await?;
    if is_changed {
        let updated = Trigger::PersonUpdated;
        workflow::set_off(services, &tx, workspace, updated, &[merged.id]).await?;
    }
    dialect::notify(&tx).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    services.wake.due();
    Ok(merged)
}

/// What is known of both: the survivor's, and of the other what that lacks.
fn united(kept: &Row, other: &Row) -> Result<Row, Refusal> {
    let either =
        |kept: &Option<String>, other: &Option<String>| kept.clone().or_else(|| other.clone());
    let of_other = kept.email.is_none();
    let email_key = if of_other {
        &other.email_key
    } else {
        &kept.email_key
    };
    let mut merged = Row {
        email: either(&kept.email, &other.email),
        email_key: email_key.clone(),
        phone: either(&kept.phone, &other.phone),
        linkedin_url: either(&kept.linkedin_url, &other.linkedin_url),
        first_name: either(&kept.first_name, &other.first_name),
        last_name: either(&kept.last_name, &other.last_name),
        company: either(&kept.company, &other.company),
        title: either(&kept.title, &other.title),
        time_zone: either(&kept.time_zone, &other.time_zone),
        country: either(&kept.country, &other.country),
        attributes: merge::attributes(&kept.attributes, &other.attributes),
        ..kept.clone()
    };
    if merged.attributes.to_string().len() > ATTRIBUTES_BYTES_MAX {
        let message = format!(
            "The attributes of both take more than {ATTRIBUTES_BYTES_MAX} bytes: remove some of them first."
        );
        return Err(Refusal::new(RefusalCode::Limit, message, &["duplicateId"]));
    }
    person::refresh_keys(&mut merged);
    Ok(merged)
}

/// The channels that one of them has opted out of, each by the address that it had.
async fn opted_out(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    kept: &Row,
    other: &Row,
) -> Result<Vec<Channel>, StoreError> {
    let suppressed = consent::of_people(tx, workspace, &[kept, other]).await?;
    let of_person = suppressed
        .into_iter()
        .filter(consent::Suppressed::is_of_person);
    Ok(of_person.map(|one| one.channel).collect())
}

/// Of two leads of one sequence that are under way, one stops.
async fn stop_one_of_two(
    services: &Services,
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    people: [PersonId; 2],
) -> Result<Vec<NewEvent>, StoreError> {
    let mut active = Vec::new();
    for lead in erasure::lock_leads(tx, workspace, &people).await? {
        if !lead.state()?.status.is_over() {
            active.push(lead);
        }
    }
    active.sort_by_key(|lead| (lead.sequence_id, lead.id));
    let mut stopping = Vec::new();
    // A person has at most one lead under way in a sequence.
    for pair in active.windows(2) {
        if let [one, other] = pair
            && one.sequence_id == other.sequence_id
        {
            let goes_on = is_further(tx, workspace, one, other).await?;
            stopping.push(if goes_on { other.clone() } else { one.clone() });
        }
    }
    let reason = StopReason::PersonMerged;
    stopping::stop(tx, workspace, &mut stopping, reason, services.clock.now()).await
}

async fn is_further(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    one: &LeadRow,
    other: &LeadRow,
) -> Result<bool, StoreError> {
    let sequence = SequenceId::from_uuid(one.sequence_id);
    let sequence = sequence::find(tx, workspace, sequence).await?;
    let version = match sequence.and_then(|sequence| sequence.published_version) {
        Some(version) => Some(version::of_sequence(tx, workspace, version).await?),
        None => None,
    };
    let is_ahead = |lead: &LeadRow, than: &LeadRow| {
        let steps = than.step_key.as_deref().zip(lead.step_key.as_deref());
        let flow = version.as_ref().map(|version| &version.flow);
        flow.zip(steps)
            .is_some_and(|(flow, (from, to))| flow.leads_to(from, to))
    };
    let rows = lead::find_many(tx, workspace, &[one.lead_id(), other.lead_id()]).await?;
    let enrolled_at = |lead: &LeadRow| {
        let row = rows.iter().find(|row| row.id == lead.id);
        row.map_or(i64::MAX, |row| row.enrolled_at)
    };
    let progress = |lead: &LeadRow, than: &LeadRow| Progress {
        is_ahead: is_ahead(lead, than),
        messages_sent: lead.messages_sent,
        enrolled_at: enrolled_at(lead),
    };
    Ok(merge::first_goes_on(
        progress(one, other),
        progress(other, one),
    ))
}
