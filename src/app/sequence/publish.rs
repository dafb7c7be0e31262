//! Publishing: everything checked, everything refused at once, the leads of removed steps moved,
//! and a plan that tells all of it beforehand.

mod plan;
mod policy;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};

pub use self::plan::{PlannedChange, PublishPlan};
pub use self::policy::PolicyInput;
use super::problems::{self, CheckedSenders};
use super::{check_revision, locked, missing, transition};
use crate::app::given_up::give_up;
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::{
    self, Action, Destination, Flow, FlowProblem, RemovedSteps, Severity, StepChange,
    StepChangeKind,
};
use crate::domain::id::{LeadId, SenderId, SequenceId, WorkspaceId};
use crate::domain::planning;
use crate::domain::schedule::Calendar;
use crate::domain::sequence::{SequenceAction, SequenceStatus, Step};
use crate::domain::zone::Zone;
use crate::store::sequence::publish::{self as rows, Place};
use crate::store::sequence::version::{self, Version};
use crate::store::sequence::{self, Sequence};
use crate::store::{event, task};

/// How often a sequence is checked that is edited whenever it has been.
const CHECKS_MAX: usize = 5;
/// How many events are written by one statement.
const EVENTS_AT_ONCE: usize = 5_000;

/// What to publish, and how.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The sequence.
    pub id: SequenceId,
    /// Its revision as the caller has seen it.
    pub expected_revision: Option<i32>,
    /// What becomes of leads whose step is gone.
    pub on_removed_step: PolicyInput,
    /// Only tell what would happen.
    pub dry_run: bool,
    /// Whether the plan is asked for: it counts leads, which publishing does not.
    pub plan: bool,
}

/// What publishing came to.
#[derive(Debug, Clone)]
pub struct Published {
    /// The sequence as it is now.
    pub sequence: Sequence,
    /// Why it was not published; empty where it was, where it was already, and after a dry run.
    pub refusals: Vec<Refusal>,
    /// Everything found in the flow, warnings, too.
    pub problems: Vec<FlowProblem>,
    /// What it does, or would do, to the leads in flight; `None` where that was not asked for.
    pub plan: Option<PublishPlan>,
}

/// Publishes a sequence; publishing what is published already changes nothing.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`, `CONFLICT`, `WRONG_STATE`, or a policy that is wrong;
/// [`AppError::Store`] as the database has it. What is wrong with the flow is told in the answer.
pub async fn publish(
    services: &Services,
    caller: &Caller,
    input: Publish,
) -> Result<Published, AppError> {
    for _ in 0..CHECKS_MAX {
        let expected = Expected::read(services, caller, &input).await?;
        if input.dry_run {
            return Ok(expected.view.told(Vec::new(), expected.plan));
        }
        let tx = services.db.begin().await?;
        let found = locked(&tx, caller, input.id, input.expected_revision).await?;
        let Expected {
            step,
            view,
            senders,
            plan,
        } = expected;
        if found != view.sequence || !senders.are_still(&tx, caller.workspace).await? {
            tx.rollback().await?;
            continue;
        }
        return match (step, view.refusal()) {
            (Step::Already, _) => Ok(view.told(Vec::new(), plan)),
            (Step::To(_), Some(refusal)) => Ok(view.told(vec![refusal], plan)),
            (Step::To(_), None) => view.publish(services, caller, tx, plan).await,
        };
    }
    let message = "The sequence or its senders were changed each time that it had just been checked: \
                   publish it when nobody edits it.";
    Err(Refusal::new(RefusalCode::Conflict, message, &["id"]).into())
}

/// What publishing comes to, read before anything is locked: while flows are checked and leads are counted,
/// nobody waits. It counts if it was found of what is locked then.
struct Expected {
    step: Step,
    view: View,
    senders: CheckedSenders,
    plan: Option<PublishPlan>,
}

impl Expected {
    async fn read(services: &Services, caller: &Caller, input: &Publish) -> Result<Self, AppError> {
        let db = services.db.read();
        let found = sequence::find(db, caller.workspace, input.id)
            .await?
            .filter(|found| caller.scope.admits(found.id))
            .ok_or_else(missing)?;
        check_revision(&found, input.expected_revision)?;
        let step = transition(&found, SequenceAction::Publish)?;
        let policy = input.on_removed_step.clone().at(step);
        let found = Arc::new(found);
        let (problems, senders) = problems::checked(services, caller, Arc::clone(&found)).await?;
        let view = View::read(db, caller, Arc::unwrap_or_clone(found), policy, problems).await?;
        let plan = match input.plan {
            true => Some(view.plan(db, caller).await?),
            false => None,
        };
        Ok(Self {
            step,
            view,
            senders,
            plan,
        })
    }
}

/// What publishing would find and do.
struct View {
    sequence: Sequence,
    /// The version that ran last.
    before: Option<Version>,
    changes: Vec<StepChange>,
    problems: Vec<FlowProblem>,
}

impl View {
    async fn read(
        connection: &impl ConnectionTrait,
        caller: &Caller,
        sequence: Sequence,
        policy: PolicyInput,
        problems: Vec<FlowProblem>,
    ) -> Result<Self, AppError> {
        let workspace = caller.workspace;
        let before = match sequence.published_version {
            Some(id) => Some(version::of_sequence(connection, workspace, id).await?),
            None => None,
        };
        let old = before
            .as_ref()
            .map(|version| version.flow.clone())
            .unwrap_or_default();
        let policy = policy.read(&old, &sequence.flow)?;
        let changes = flow::reconcile(&old, &sequence.flow, &policy);
        Ok(Self {
            sequence,
            before,
            changes,
            problems,
        })
    }

    /// Why the flow cannot be published; `None` if it can.
    fn refusal(&self) -> Option<Refusal> {
        let count = self
            .problems
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count();
        let what = match count {
            0 => return None,
            1 => "one problem".to_owned(),
            more => format!("{more} problems"),
        };
        let message =
            format!("Publishing found {what}: repair what `problems` names and publish again.");
        Some(Refusal::invalid(message, &["id"]))
    }

    /// The keys of the steps at which leads may stand whose sender is not one of the step's: its senders
    /// are others than they were, leads are moved there, or the sequence has a lane of somebody who sends
    /// nothing of it, whose leads could not be moved before.
    fn to_reassign(&self, old: &Flow, lanes: &[SenderId]) -> HashSet<String> {
        let senders = self.sequence.flow.senders();
        let left_over = lanes.iter().any(|lane| !senders.contains(lane));
        let old_steps = old.steps.iter();
        let were: HashMap<&str, &[SenderId]> = old_steps
            .map(|step| (step.key.as_str(), step.action.senders()))
            .collect();
        let steps = self.sequence.flow.steps.iter();
        let strange = steps.filter(|step| {
            let were = were.get(step.key.as_str()).copied();
            left_over || were != Some(step.action.senders())
        });
        let destinations = self
            .changes
            .iter()
            .filter_map(|change| match &change.destination {
                Some(Destination::Step(to)) => Some(to),
                Some(Destination::Complete | Destination::Stop) | None => None,
            });
        strange
            .map(|step| &step.key)
            .chain(destinations)
            .cloned()
            .collect()
    }

    async fn plan(
        &self,
        connection: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<PublishPlan, AppError> {
        let which = (caller.workspace, self.sequence.id);
        Ok(PublishPlan::read(connection, which, &self.changes).await?)
    }

    fn told(self, refusals: Vec<Refusal>, plan: Option<PublishPlan>) -> Published {
        Published {
            sequence: self.sequence,
            refusals,
            problems: self.problems,
            plan,
        }
    }

    async fn publish(
        self,
        services: &Services,
        caller: &Caller,
        tx: DatabaseTransaction,
        plan: Option<PublishPlan>,
    ) -> Result<Published, AppError> {
        let now = services.clock.now();
        let old = self.before.as_ref().map(|version| version.flow.clone());
        let old = old.unwrap_or_default();
        let lanes = rows::lanes(&tx, caller.workspace, self.sequence.id).await?;
        let to_reassign = self.to_reassign(&old, &lanes);
        let Self {
            mut sequence,
            before,
            changes,
            problems,
            ..
        } = self;
        let workspace = caller.workspace;
        let removed = before.as_ref().map(|version| version.removed.clone());
        let removed = flow::removed_steps(&removed.unwrap_or_default(), &changes, &sequence.flow);
        let unchanged = before.filter(|version| {
            version.flow == sequence.flow && version.settings == sequence.settings
        });
        let version = match unchanged {
            Some(version) => version,
            None => new_version((services, caller), &tx, &sequence, removed, now).await?,
        };
        sequence.status = SequenceStatus::Published;
        sequence.published_version = Some(version.id);
        sequence.published_at = Some(now);
        sequence.updated_at = now;
        sequence::save(&tx, workspace, &sequence).await?;
        let detail = json!({ "version": version.number });
        let published = NewEvent::of_sequence(now, EventKind::SequencePublished, sequence.id);
        let mut events = vec![published.with_detail(detail)];
        let mut moved = Vec::new();
        let zone = services.zones.get(&sequence.settings.time_zone);
        let zone = zone.unwrap_or_else(Zone::utc);
        let arrival = Arrival {
            now,
            flow: &sequence.flow,
            calendar: &Calendar::new(&zone, &sequence.settings),
        };
        for change in &changes {
            let step_key = change.step_key.as_str();
            let place = Place {
                workspace,
                sequence: sequence.id,
                step_key,
            };
            let (given_up, movers) = carry_out(&tx, place, change, arrival).await?;
            events.extend(given_up);
            moved.extend(movers);
            if gives_no_more(&old, &sequence.flow, step_key) {
                task::expire_at(&tx, place, now).await?;
            }
        }
        let steps = sequence.flow.steps.iter();
        for step in steps.filter(|step| to_reassign.contains(&step.key)) {
            let place = Place {
                workspace,
                sequence: sequence.id,
                step_key: &step.key,
            };
            rows::reassign(&tx, place, step.action.senders(), &lanes).await?;
        }
        let steps = sequence.flow.steps.iter().map(|step| step.key.as_str());
        // Leads that could not be moved stand at steps which are gone.
        let steps: Vec<&str> = steps
            .chain(version.removed.keys().map(String::as_str))
            .collect();
        let senders = sequence.flow.senders();
        rows::replace_lanes(&tx, (workspace, sequence.id), &lanes, &senders, &steps).await?;
        event::append(&tx, workspace, events).await?;
        for movers in &moved {
            movers.tell(&tx, (workspace, sequence.id), now).await?;
        }
        tx.commit().await?;
        services.wake.log();
        services.wake.due();
        Ok(Published {
            sequence,
            refusals: Vec::new(),
            problems,
            plan,
        })
    }
}

async fn new_version(
    (services, caller): (&Services, &Caller),
    tx: &DatabaseTransaction,
    sequence: &Sequence,
    removed: RemovedSteps,
    now: DateTime<Utc>,
) -> Result<Version, AppError> {
    let number = version::last_number(tx, caller.workspace, sequence.id).await? + 1;
    let version = Version {
        id: services.entropy.id(now),
        sequence: sequence.id,
        number,
        flow: sequence.flow.clone(),
        settings: sequence.settings.clone(),
        published_at: now,
        published_by: caller.name.clone(),
        removed,
    };
    version::insert(tx, caller.workspace, &version).await?;
    Ok(version)
}

/// Whether a step that gave work to people does something else now.
fn gives_no_more(old: &Flow, new: &Flow, key: &str) -> bool {
    let gives = |flow: &Flow| {
        let step = flow.steps.iter().find(|step| step.key == key);
        step.map(|step| matches!(step.action, Action::Task(_)))
    };
    gives(old) == Some(true) && gives(new) == Some(false)
}

/// What becomes of the leads of a step that has changed or is gone; answers what of theirs was given up, and
/// who moved.
async fn carry_out(
    tx: &DatabaseTransaction,
    place: Place<'_>,
    change: &StepChange,
    arrival: Arrival<'_>,
) -> Result<(Vec<NewEvent>, Option<Moved>), AppError> {
    let now = arrival.now;
    let moved = match &change.destination {
        Some(Destination::Step(to)) => {
            let waited = arrival.at(to);
            let leads = rows::move_leads(tx, place, to, (now, waited)).await?;
            let detail = json!({ "from": change.step_key, "reason": "STEP_REMOVED" });
            let step_key = Some(to.clone());
            (EventKind::LeadAdvanced, step_key, detail, leads)
        }
        Some(Destination::Complete) => {
            let leads = rows::complete_leads(tx, place, now).await?;
            let detail = json!({ "from": change.step_key, "reason": "STEP_REMOVED" });
            (EventKind::LeadCompleted, None, detail, leads)
        }
        Some(Destination::Stop) => {
            let leads = rows::stop_leads(tx, place, now).await?;
            let detail = json!({ "reason": "STEP_REMOVED" });
            let step_key = Some(change.step_key.clone());
            (EventKind::LeadStopped, step_key, detail, leads)
        }
        None => {
            if change.kind == StepChangeKind::Changed {
                rows::release_held(tx, place, now).await?;
            }
            return Ok((Vec::new(), None));
        }
    };
    let (kind, step_key, detail, leads) = moved;
    let given_up = give_up(tx, place.workspace, &leads, now).await?;
    let moved = Moved {
        kind,
        step_key,
        detail,
        leads,
    };
    Ok((given_up, Some(moved)))
}

/// When leads that were at work at a step which is gone come to the next one.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    now: DateTime<Utc>,
    flow: &'a Flow,
    calendar: &'a Calendar<'a>,
}

impl Arrival<'_> {
    /// When they are due at this step: its wait begins now, on the sequence's clock, which is the same for
    /// all of them. The windows of their own clocks are asked for as they are claimed.
    fn at(self, step_key: &str) -> DateTime<Utc> {
        let mut steps = self.flow.steps.iter();
        let step = steps.find(|step| step.key == step_key);
        step.map_or(self.now, |step| {
            planning::draft_due_at(step, self.now, self.calendar)
        })
    }
}

/// Leads that left a step which is gone, of which there may be very many: the events that say so are made
/// as they are written.
struct Moved {
    kind: EventKind,
    step_key: Option<String>,
    detail: Value,
    leads: Vec<LeadId>,
}

impl Moved {
    async fn tell(
        &self,
        tx: &DatabaseTransaction,
        place: (WorkspaceId, SequenceId),
        now: DateTime<Utc>,
    ) -> Result<(), AppError> {
        let (workspace, sequence) = place;
        for leads in self.leads.chunks(EVENTS_AT_ONCE) {
            let events = leads.iter().map(|lead| NewEvent {
                step_key: self.step_key.clone(),
                detail: Some(self.detail.clone()),
                ..NewEvent::of_lead(now, self.kind, sequence, *lead)
            });
            event::append(tx, workspace, events.collect()).await?;
        }
        Ok(())
    }
}
