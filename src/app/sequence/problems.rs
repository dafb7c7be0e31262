//! What publishing a working copy would refuse or warn of: the flow's check, and what it has to know
//! of the workspace. Whoever shows it and whoever publishes find the same.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use crate::app::{AppError, Caller, Services};
use crate::domain::flow::{
    self, Action, Attributes, Channel, Facts, Flow, FlowProblem, Predicate, SenderFacts,
};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::zone::Zone;
use crate::store::sender::Sender;
use crate::store::sequence::Sequence;
use crate::store::{self, StoreError};

/// What stands before the name of an attribute in a merge tag.
const ATTRIBUTES: &str = "attributes";

/// What a check of a sequence's working copy has to know of the workspace: the senders of the flow and,
/// where [`asks_attributes`] says so, the attributes that people have.
pub fn facts(
    services: &Services,
    sequence: &Sequence,
    senders: impl IntoIterator<Item = impl Borrow<Sender>>,
    attributes: Option<Attributes>,
) -> Facts {
    let zone = services.zones.get(&sequence.settings.time_zone);
    let senders: Vec<_> = senders.into_iter().collect();
    let unmarked = senders.iter().map(Borrow::borrow).filter(|sender| {
        let is_email = sender.channel == Channel::Email;
        is_email
            && services
                .marks
                .base_of(sender.tracking_url.as_ref())
                .is_none()
    });
    Facts {
        unmarked: unmarked.map(|sender: &Sender| sender.id).collect(),
        senders: sender_facts(senders),
        attributes,
        opening: Some((services.clock.now(), zone.unwrap_or_else(Zone::utc))),
    }
}

/// The attributes that people have, where a check of the flow may have use for them.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn attributes(
    connection: &impl ConnectionTrait,
    caller: &Caller,
    flow: &Flow,
) -> Result<Option<Attributes>, StoreError> {
    if !asks_attributes(caller, flow) {
        return Ok(None);
    }
    store::person::known_attributes(connection, caller.workspace).await
}

fn sender_facts(
    senders: impl IntoIterator<Item = impl Borrow<Sender>>,
) -> HashMap<SenderId, SenderFacts> {
    let senders = senders.into_iter().map(|sender| {
        let sender: &Sender = sender.borrow();
        let facts = SenderFacts {
            channel: sender.channel,
            enabled: sender.enabled,
        };
        (sender.id, facts)
    });
    senders.collect()
}

/// Everything that publishing the working copy would refuse or warn of. It is found aside: a long flow
/// takes its time, and others are to be answered meanwhile.
///
/// # Errors
/// [`AppError::Internal`] where the check broke off.
pub async fn of(sequence: Arc<Sequence>, facts: Facts) -> Result<Vec<FlowProblem>, AppError> {
    let check = move || flow::check(&sequence.flow, &sequence.settings, &facts);
    let checking = tokio::task::spawn_blocking(check);
    checking
        .await
        .map_err(|error| AppError::Internal(format!("a check broke off: {error}")))
}

/// Whether a check of the flow may have use for the names of attributes: some text or condition of it
/// speaks of attributes. Somebody who is limited to some sequences is told of none, because who else the
/// workspace has is not theirs to know.
pub fn asks_attributes(caller: &Caller, flow: &Flow) -> bool {
    caller.scope.is_all() && flow.steps.iter().any(|step| names_attribute(&step.action))
}

fn names_attribute(action: &Action) -> bool {
    let names = |text: &str| text.contains(ATTRIBUTES);
    let maybe = |text: &Option<String>| text.as_deref().is_some_and(names);
    match action {
        Action::Email(email) => (email.variants.iter())
            .any(|one| maybe(&one.subject) || maybe(&one.html) || maybe(&one.text)),
        Action::Sms(message) | Action::Whatsapp(message) => {
            message.variants.iter().any(|one| names(&one.body))
        }
        Action::Task(task) => names(&task.title) || maybe(&task.instructions),
        Action::Webhook(webhook) => maybe(&webhook.body),
        Action::Condition(condition) => {
            let mut asks = false;
            let mut look = |one: &Predicate| asks |= matches!(one, Predicate::Attribute(_));
            condition.predicate.visit(&mut look);
            asks
        }
        Action::Split(_) | Action::Update(_) | Action::End(_) => false,
    }
}

/// The senders of a flow, as they were when it was checked.
#[derive(Debug)]
pub(super) struct CheckedSenders {
    ids: Vec<SenderId>,
    facts: HashMap<SenderId, SenderFacts>,
}

impl CheckedSenders {
    /// Whether the same would be found of them now.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn are_still(
        &self,
        connection: &impl ConnectionTrait,
        workspace: WorkspaceId,
    ) -> Result<bool, StoreError> {
        let senders = store::sender::find_many(connection, workspace, &self.ids).await?;
        Ok(sender_facts(senders) == self.facts)
    }
}

/// Checks a sequence as it was read, without a lock on anything: its problems, and the senders of which they
/// were found. Which attributes people have may be another thing meanwhile: no publishing hangs on it.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub(super) async fn checked(
    services: &Services,
    caller: &Caller,
    sequence: Arc<Sequence>,
) -> Result<(Vec<FlowProblem>, CheckedSenders), AppError> {
    let (connection, workspace) = (services.db.read(), caller.workspace);
    let ids = sequence.flow.senders();
    let senders = store::sender::find_many(connection, workspace, &ids).await?;
    let attributes = attributes(connection, caller, &sequence.flow).await?;
    let facts = facts(services, &sequence, senders, attributes);
    let senders = CheckedSenders {
        ids,
        facts: facts.senders.clone(),
    };
    Ok((of(sequence, facts).await?, senders))
}
