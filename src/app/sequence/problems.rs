//! What publishing a working copy would refuse or warn of: the flow's check, and what it has to know
//! of the workspace. Whoever shows it and whoever publishes find the same.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;

use crate::app::Caller;
use crate::domain::flow::{self, Action, Facts, Flow, FlowProblem, SenderFacts};
use crate::store::sender::Sender;
use crate::store::sequence::Sequence;
use crate::store::{self, StoreError};

/// What stands before the name of an attribute in a merge tag.
const ATTRIBUTES: &str = "attributes";

/// Everything that publishing the working copy would refuse or warn of, with the senders of its flow
/// and, where [`asks_attributes`] says so, the names of attributes that people have.
pub fn of(
    sequence: &Sequence,
    senders: impl IntoIterator<Item = impl Borrow<Sender>>,
    attributes: BTreeSet<String>,
) -> Vec<FlowProblem> {
    let senders = senders.into_iter().map(|sender| {
        let sender: &Sender = sender.borrow();
        let facts = SenderFacts {
            channel: sender.channel,
            enabled: sender.enabled,
        };
        (sender.id, facts)
    });
    let facts = Facts {
        senders: senders.collect(),
        attributes,
    };
    flow::check(&sequence.flow, &sequence.settings, &facts)
}

/// Whether a check of the flow may have use for the names of attributes: some text of it speaks of
/// attributes. Somebody who is limited to some sequences is told of none, because who else the
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
        Action::Condition(_) | Action::Split(_) | Action::Update(_) | Action::End(_) => false,
    }
}

/// The problems of a sequence as a database has it.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn read(
    connection: &impl ConnectionTrait,
    caller: &Caller,
    sequence: &Sequence,
) -> Result<Vec<FlowProblem>, StoreError> {
    let workspace = caller.workspace;
    let senders = sequence.flow.senders();
    let senders = store::sender::find_many(connection, workspace, &senders).await?;
    let attributes = if asks_attributes(caller, &sequence.flow) {
        store::person::attribute_names(connection, workspace).await?
    } else {
        BTreeSet::new()
    };
    Ok(of(sequence, senders, attributes))
}
