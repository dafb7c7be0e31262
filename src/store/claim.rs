//! What a claim reads and writes: due leads, and the executions that it enters.
//!
//! All of them are set statements. The number of rows in a claim is written into the statement's
//! text: PostgreSQL plans a bound LIMIT for the general case, which was measured to be forty times
//! slower.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Value};
use serde::Deserialize;
use uuid::Uuid;

use super::lead::{kept, status_of};
use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::clock::from_ms;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Channel, CompiledFlow, CompiledStep};
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, VersionId, WorkerId};
use crate::domain::lead::{Happening, Hold, LeadState, StopReason};
use crate::domain::thread::Thread;

mod entering;
mod source;

pub use entering::{NewExecution, enter_executions};
pub use source::{Source, Turn};

/// A lead as the engine works on it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct LeadRow {
    /// Its id.
    pub id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// Its person.
    pub person_id: Uuid,
    /// What its row says of its status; see [`Self::state`].
    pub status: String,
    /// Why it stopped.
    pub stop_reason: Option<String>,
    /// The step it is at.
    pub step_key: Option<String>,
    /// 1 until its first message was sent, then 0.
    pub turn: i16,
    /// Who sends its next message.
    pub sender_id: Option<Uuid>,
    /// What decides its variants.
    pub bucket: i32,
    /// When the step before was done.
    pub anchor_at: i64,
    /// When the step is due.
    pub due_at: Option<i64>,
    /// When the step was first due, where a window, a limit or a failure has put it off since.
    pub first_due_at: Option<i64>,
    /// What holds it.
    pub hold: Option<String>,
    /// The rest of its wait while it is paused.
    pub paused_rest_ms: Option<i64>,
    /// When what it waits for in its step is given up.
    pub until_at: Option<i64>,
    /// Until when its contact is away, as a machine said.
    pub quiet_until: Option<i64>,
    /// Who works on it.
    pub worker_id: Option<Uuid>,
    /// The thread of its emails.
    pub thread: Option<serde_json::Value>,
    /// How many messages it got.
    pub messages_sent: i32,
    /// Whether a message came back.
    pub bounced: bool,
    /// When anything last happened.
    pub last_action_at: Option<i64>,
}

pub(super) const LEAD_COLUMNS: &str =
    "l.id, l.sequence_id, l.person_id, l.status, l.stop_reason, l.step_key,
    l.turn, l.sender_id, l.bucket, l.anchor_at, l.due_at, l.first_due_at, l.hold,
    l.paused_rest_ms, l.until_at, l.quiet_until, l.worker_id,
    l.thread, l.messages_sent, l.bounced, l.last_action_at";

impl LeadRow {
    /// Its id.
    pub const fn lead_id(&self) -> LeadId {
        LeadId::from_uuid(self.id)
    }

    /// The thread of its emails, and who has written to it; none where nothing was sent, or where what
    /// is kept is not to be read.
    pub fn thread(&self) -> Option<Thread> {
        Thread::deserialize(self.thread.as_ref()?).ok()
    }

    /// Whether its sender has not written to it, so that any sender of its step may.
    fn is_unbound(&self) -> bool {
        let writers = self.thread.as_ref().map(Writers::deserialize);
        let (Some(sender), Some(Ok(writers))) = (self.sender_id, writers) else {
            return true;
        };
        !writers
            .senders
            .into_values()
            .any(|writer| writer.uuid() == sender)
    }

    /// Who sends it its message at a step: whoever sent the last one on the step's channel, else whoever
    /// has the lead now, else one by its bucket.
    pub fn sender_at(&self, step: &CompiledStep) -> Option<SenderId> {
        // Where there is nobody to choose from, who wrote before need not be read.
        let thread = match step.senders() {
            [] | [_] => None,
            _ => self.thread(),
        };
        let current = self.sender_id.map(SenderId::from_uuid);
        step.sender_in(thread.as_ref(), current, self.bucket)
    }

    /// Who sends it its message where it stands: its step may be another one than when its message was
    /// claimed, as the sequence was published again. None where that needs no sender, or is gone, which
    /// is found out in the sequence's own lane: no sender that is switched off keeps it from there.
    pub fn standing_sender(&self, flow: &CompiledFlow) -> Option<SenderId> {
        self.sender_at(flow.step(self.step_key.as_deref()?)?)
    }

    /// Where it stands, for the lead machine.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a word that this version does not know.
    pub fn state(&self) -> Result<LeadState> {
        Ok(LeadState {
            status: status_of(&self.status, self.worker_id, self.hold.as_deref())?,
            stop_reason: self
                .stop_reason
                .as_deref()
                .map(|reason| parse::<StopReason>("stop reason", reason))
                .transpose()?,
            step_key: self.step_key.clone(),
            due_at: self.due_at.map(from_ms),
            hold: self
                .hold
                .as_deref()
                .map(|hold| parse::<Hold>("hold", hold))
                .transpose()?,
            paused_rest: self.paused_rest_ms.map(chrono::Duration::milliseconds),
            until: self.until_at.map(from_ms),
            quiet_until: self.quiet_until.map(from_ms),
        })
    }

    /// Takes over where the lead machine says it stands now.
    pub fn set_state(&mut self, state: LeadState) {
        self.status = kept(state.status).to_owned();
        self.stop_reason = state.stop_reason.map(|reason| reason.to_string());
        self.step_key = state.step_key;
        self.due_at = state.due_at.map(|at| at.timestamp_millis());
        self.hold = state.hold.map(|hold| hold.to_string());
        self.paused_rest_ms = state.paused_rest.map(|rest| rest.num_milliseconds());
        self.until_at = state.until.map(|at| at.timestamp_millis());
        self.quiet_until = state.quiet_until.map(|at| at.timestamp_millis());
        self.first_due_at = None;
    }

    /// Like [`Self::set_state`], of what this happening made of it: a lead whose step is only put off, or
    /// being tried, keeps the time at which that was first due, and so does one whose message may or may
    /// not have left. Whose step is planned anew, as the contact is away, is not late.
    pub fn set_state_after(&mut self, happening: &Happening, state: LeadState) {
        let is_at_it = match happening {
            Happening::Later { .. }
            | Happening::Released
            | Happening::Claimed
            | Happening::SettledUnsent => state.due_at.is_some(),
            Happening::Ambiguous => true,
            Happening::AutoReplied { .. } => {
                state.due_at.map(|at| at.timestamp_millis()) == self.due_at
            }
            _ => false,
        };
        let first = self.first_due_at.or(self.due_at).filter(|_| is_at_it);
        self.set_state(state);
        self.first_due_at = first.filter(|first| self.due_at != Some(*first));
    }

    /// When its step was first due.
    pub fn first_due(&self) -> Option<DateTime<Utc>> {
        self.first_due_at.or(self.due_at).map(from_ms)
    }
}

/// What is kept with a lead's thread of who has written to it, by channel: all that has to be read of it
/// wherever a lead is written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Writers {
    senders: HashMap<String, SenderId>,
}

pub(super) fn parse<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|_| StoreError::corrupt(what, text))
}

/// A due lead with everything that deciding takes.
#[derive(Debug, Clone)]
pub struct DueLead {
    /// The lead.
    pub lead: LeadRow,
    /// The person.
    pub person: PersonRow,
    /// Whether the address that the lane's channel uses must not be contacted; in a sequence's own lane,
    /// whether the person must not be called.
    pub suppressed: bool,
    /// Whether the person must not be contacted on LinkedIn; asked only in a sequence's own lane.
    pub linkedin_suppressed: bool,
    /// The execution of its present step, if there was an attempt before.
    pub execution: Option<(ExecutionId, ExecutionStatus, i32)>,
    /// The version that this attempt ran under.
    pub ran_under: Option<VersionId>,
    /// The variant of this attempt, or the way out that the lead took.
    pub variant: Option<String>,
}

/// A person as messages need it.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct PersonRow {
    /// Its email address.
    pub email: Option<String>,
    /// Its phone number.
    pub phone: Option<String>,
    /// Its LinkedIn page.
    pub linkedin_url: Option<String>,
    /// Its first name.
    pub first_name: Option<String>,
    /// Its last name.
    pub last_name: Option<String>,
    /// Its company.
    pub company: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// Its country, as a code of ISO 3166.
    pub country: Option<String>,
    /// Whatever else is known.
    pub attributes: serde_json::Value,
}

#[derive(FromQueryResult)]
struct AttemptRow {
    suppressed: bool,
    linkedin_suppressed: bool,
    execution_id: Option<Uuid>,
    execution_status: Option<String>,
    execution_attempt: Option<i32>,
    execution_version: Option<Uuid>,
    execution_variant: Option<String>,
}

/// Due leads of a lane that nobody works on, longest due first; other nodes cannot take them
/// before this transaction ends.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn due(
    tx: &impl ConnectionTrait,
    source: Source<'_>,
    sequence: SequenceId,
    turn: Turn,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<DueLead>> {
    let (statement, arguments) = due_statement(tx, source, sequence, turn, now, limit);
    let rows: Vec<Joined> = sql::all(tx, &statement, arguments).await?;
    rows.into_iter()
        .map(|Joined(lead, person, attempt)| {
            let execution = match (
                attempt.execution_id,
                attempt.execution_status,
                attempt.execution_attempt,
            ) {
                (Some(id), Some(status), Some(number)) => {
                    let status = parse("execution status", &status)?;
                    Some((ExecutionId::from_uuid(id), status, number))
                }
                _ => None,
            };
            Ok(DueLead {
                lead,
                person,
                suppressed: attempt.suppressed,
                linkedin_suppressed: attempt.linkedin_suppressed,
                execution,
                ran_under: attempt.execution_version.map(VersionId::from_uuid),
                variant: attempt.execution_variant,
            })
        })
        .collect()
}

/// Whether the person `p` of the lead `l` must not be contacted on a channel: by its address or, of email, by
/// the domain of it. Asked of each lead by the key of the list.
fn is_suppressed(tx: &impl ConnectionTrait, channel: Channel) -> String {
    let addresses = addresses_of(tx.get_database_backend(), channel);
    format!(
        "EXISTS (SELECT 1 FROM suppression AS s WHERE s.workspace_id = l.workspace_id
                 AND s.channel = '{channel}' AND s.address IN ({addresses}))"
    )
}

/// The statement of [`due`], which is to cost what it answers, however many wait beside that.
pub fn due_statement(
    tx: &impl ConnectionTrait,
    source: Source<'_>,
    sequence: SequenceId,
    turn: Turn,
    now: DateTime<Utc>,
    limit: usize,
) -> (String, Arguments) {
    let mut arguments = Arguments::new()
        .with(sequence.uuid())
        .with(now.timestamp_millis());
    let (which, channel) = source.leads(turn, limit, &mut arguments);
    let suppressed = is_suppressed(tx, channel);
    let linkedin_suppressed = match source {
        Source::Own(_) => is_suppressed(tx, Channel::Linkedin),
        Source::Sender(..) | Source::Colleague(..) => "FALSE".to_owned(),
    };
    let statement = format!(
        "WITH due AS MATERIALIZED (
             SELECT * FROM lead AS d WHERE {which} ORDER BY {order} LIMIT {limit} {lock}
         )
         SELECT {LEAD_COLUMNS}, {PERSON_COLUMNS},
                {suppressed} AS suppressed,
                {linkedin_suppressed} AS linkedin_suppressed,
                e.id AS execution_id, e.status AS execution_status,
                e.attempt AS execution_attempt, e.version_id AS execution_version,
                e.variant AS execution_variant
         FROM due AS l
         JOIN person p ON p.id = l.person_id
         LEFT JOIN execution e ON e.lead_id = l.id AND e.step_key = l.step_key
         ORDER BY {order_of_answer}",
        order = source::longest_due("d"),
        order_of_answer = source::longest_due("l"),
        lock = dialect::for_update_skip_locked(tx, "d"),
    );
    (statement, arguments)
}

/// Those of the people who are no longer as they were read, or whom somebody is changing just now. The
/// others stay as they are until this transaction ends: whoever changes one of them later sees what
/// this transaction makes of its leads. On SQLite a transaction that writes is alone anyway.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn changed_people(
    tx: &impl ConnectionTrait,
    read: &HashMap<Uuid, PersonRow>,
) -> Result<HashSet<Uuid>> {
    if read.is_empty() || !dialect::is_shared(tx) {
        return Ok(HashSet::new());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, read.keys().copied());
    let statement = format!(
        "SELECT p.id, {PERSON_COLUMNS} FROM person p WHERE p.id {list} {}",
        dialect::for_share_skip_locked(tx, "p")
    );
    let rows: Vec<Kept> = sql::all(tx, &statement, arguments).await?;
    let mut changed: HashSet<Uuid> = read.keys().copied().collect();
    for Kept(id, person) in rows {
        if read.get(&id) == Some(&person) {
            changed.remove(&id);
        }
    }
    Ok(changed)
}

const PERSON_COLUMNS: &str = "p.email, p.phone, p.linkedin_url, p.first_name, p.last_name,
    p.company, p.title, p.time_zone, p.country, p.attributes";

/// The column of the person `p` whose value a channel's suppressions name.
pub(super) const fn address_of(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "p.email_key",
        Channel::Sms | Channel::Whatsapp | Channel::Call => "p.phone",
        Channel::Linkedin => "p.linkedin_url",
        // Nobody can opt out of these.
        Channel::Task | Channel::Webhook => "NULL",
    }
}

/// The entries of a list that stand for the person `p` on a channel, with commas: its address, and the domain
/// of it.
pub(super) fn addresses_of(backend: DbBackend, channel: Channel) -> String {
    let address = address_of(channel);
    match channel {
        Channel::Email => format!("{address}, {}", dialect::domain_of(backend, address)),
        _ => address.to_owned(),
    }
}

struct Kept(Uuid, PersonRow);

impl FromQueryResult for Kept {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self(
            row.try_get(pre, "id")?,
            PersonRow::from_query_result(row, pre)?,
        ))
    }
}

struct Joined(LeadRow, PersonRow, AttemptRow);

impl FromQueryResult for Joined {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self(
            LeadRow::from_query_result(row, pre)?,
            PersonRow::from_query_result(row, pre)?,
            AttemptRow::from_query_result(row, pre)?,
        ))
    }
}

/// Writes that a worker took leads up, which changes nothing else of them than
/// [`crate::domain::lead::Happening::Claimed`] does: the fewer columns a statement names, the fewer
/// indexes it touches.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn take_leads(
    tx: &impl ConnectionTrait,
    worker: WorkerId,
    leads: &[LeadId],
) -> Result<()> {
    if leads.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new().with(worker.uuid());
    let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
    let statement = format!("UPDATE lead SET hold = NULL, worker_id = $1 WHERE id {list}");
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Locks leads in the order of their ids, as everybody does who locks several, so that nobody waits in
/// a circle. On SQLite a transaction that writes is alone anyway.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn lock_leads(tx: &impl ConnectionTrait, leads: &[LeadId]) -> Result<()> {
    if !dialect::is_shared(tx) {
        return Ok(());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
    lock_leads_where(tx, &format!("l.id {list}"), arguments).await
}

/// Like [`lock_leads`], for the leads `l` that a condition holds for.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn lock_leads_where(
    tx: &impl ConnectionTrait,
    condition: &str,
    arguments: Arguments,
) -> Result<()> {
    if !dialect::is_shared(tx) {
        return Ok(());
    }
    let statement = format!(
        "SELECT count(*) AS n FROM
             (SELECT 1 FROM lead AS l WHERE {condition} ORDER BY l.id {}) AS locked",
        dialect::for_update(tx, "l")
    );
    sql::number(tx, &statement, arguments).await?;
    Ok(())
}

/// Writes leads back and answers how many. Their rows must be locked by this transaction, or, with
/// `still_of`, only those are written that are still in the step for which this worker took them up.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn save_leads(
    tx: &impl ConnectionTrait,
    leads: &[LeadRow],
    still_of: Option<WorkerId>,
) -> Result<u64> {
    let mut written = 0;
    for chunk in sql::chunks(leads) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|lead| -> [Value; 19] {
                [
                    lead.id.into(),
                    lead.status.as_str().into(),
                    lead.stop_reason.clone().into(),
                    lead.step_key.clone().into(),
                    lead.turn.into(),
                    lead.sender_id.into(),
                    lead.is_unbound().into(),
                    lead.anchor_at.into(),
                    lead.due_at.into(),
                    lead.first_due_at.into(),
                    lead.hold.clone().into(),
                    lead.paused_rest_ms.into(),
                    lead.until_at.into(),
                    lead.quiet_until.into(),
                    lead.worker_id.into(),
                    json(lead.thread.clone()),
                    lead.messages_sent.into(),
                    lead.bounced.into(),
                    lead.last_action_at.into(),
                ]
            }),
        );
        let condition = still_of.map_or_else(String::new, |worker| {
            let worker = arguments.add(worker.uuid());
            // Whose contact is away since then is planned otherwise.
            let still_in_step = format!(
                "lead.status = 'ACTIVE' AND lead.worker_id = {worker}
                 AND lead.quiet_until IS NOT DISTINCT FROM v.quiet_until"
            );
            format!(" AND {}", sql::of_found("v.id", &still_in_step))
        });
        let statement = format!(
            "WITH v (id, status, stop_reason, step_key, turn, sender_id, unbound, anchor_at, due_at,
                     first_due_at, hold, paused_rest_ms, until_at, quiet_until, worker_id, thread,
                     messages_sent, bounced, last_action_at)
                 AS ({rows})
             UPDATE lead SET status = v.status, stop_reason = v.stop_reason,
                 step_key = v.step_key, turn = v.turn, sender_id = v.sender_id,
                 unbound = v.unbound, anchor_at = v.anchor_at, due_at = v.due_at,
                 first_due_at = v.first_due_at, hold = v.hold,
                 paused_rest_ms = v.paused_rest_ms, until_at = v.until_at,
                 quiet_until = v.quiet_until, worker_id = v.worker_id, thread = v.thread,
                 messages_sent = v.messages_sent, bounced = v.bounced,
                 last_action_at = v.last_action_at
             FROM v WHERE lead.id = v.id{condition}"
        );
        written += sql::execute(tx, &statement, arguments).await?;
    }
    Ok(written)
}

fn json(value: Option<serde_json::Value>) -> Value {
    Value::Json(value.map(Box::new))
}
