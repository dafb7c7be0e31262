//! A file, made what the API has.

use std::fmt;

use async_graphql::{InputType, Pos, Value as Written};
use serde_json::{Value, json};

use super::SequenceError;
use super::api::Api;
use super::definition::Definition;
use super::plan::Plan;
use super::publishing::{self, Move, Publishing, Standing, problems, wrong_move};
use super::senders::Senders;
use super::stored::{self, Stored, settings_input};
use super::wrong::{Wrong, below, place, texts};
use crate::app::Refusal;
use crate::app::sequence::{self, Change, Content};
use crate::domain::flow::{self, Facts, Flow, FlowProblem, RemovedStepPolicy, Severity};
use crate::domain::id::SequenceId;
use crate::domain::sequence::SequenceStatus;
use crate::graphql::flow::FlowInput;
use crate::graphql::settings::SequenceSettingsInput;
use crate::zones::ZoneDatabase;

/// What may be done beside the edit itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Disable a published sequence, so that it can be edited.
    pub disable: bool,
    /// Publish it in the end.
    pub publish: bool,
    /// What becomes of leads whose step is gone when it is published.
    pub on_removed_step: RemovedStepPolicy,
}

/// A file that was read and compared; nothing has changed yet.
#[derive(Debug)]
pub struct Prepared {
    /// How it differs from what the API has.
    pub plan: Plan,
    /// What publishing would refuse or warn of.
    pub problems: Vec<FlowProblem>,
    current: Option<Stored>,
    standing: Option<Standing>,
    name: String,
    /// The flow with ids for senders.
    flow: Value,
    settings: Value,
    after: Flow,
}

/// Reads a file's sequence as the server would, finds the one that it stands for, and compares.
///
/// # Errors
/// [`SequenceError`]: everything that is wrong with the file, or what the API said.
pub async fn prepare(
    api: &impl Api,
    zones: &ZoneDatabase,
    definition: &Definition,
) -> Result<Prepared, SequenceError> {
    let current = match current_id(api, definition).await? {
        Some(id) => Some(stored::find(api, id).await?),
        None => None,
    };
    let loaded;
    let senders = match &current {
        Some(current) => &current.senders,
        None => {
            loaded = Senders::load(api, &Value::Null).await?;
            &loaded
        }
    };
    let (after, flow) = read(zones, definition, senders)?;
    let before = match &current {
        Some(current) => Some(read(zones, &current.definition, senders)?.0),
        None => None,
    };
    let facts = Facts {
        senders: senders.facts(),
        ..Facts::default()
    };
    let standing = match &current {
        Some(current) => Some(Standing::ask(api, current.id).await?),
        None => None,
    };
    let plan = Plan::between(before.as_ref(), &after)?;
    let problems = match &standing {
        Some(standing) if plan.is_empty() => standing.problems(),
        Some(_) | None => flow::check(&after.flow, &after.settings, &facts),
    };
    Ok(Prepared {
        plan,
        problems,
        name: after.name,
        settings: settings_input(&after.settings)?.into(),
        current,
        standing,
        flow,
        after: after.flow,
    })
}

async fn current_id(
    api: &impl Api,
    definition: &Definition,
) -> Result<Option<SequenceId>, SequenceError> {
    if definition.id.is_some() {
        return Ok(definition.id);
    }
    let called = stored::called(api, definition.name.trim()).await?;
    match called[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        _ => Err(SequenceError::Ambiguous {
            name: definition.name.clone(),
            ids: called,
        }),
    }
}

/// What a definition says, and its flow with ids for senders.
fn read(
    zones: &ZoneDatabase,
    definition: &Definition,
    senders: &Senders,
) -> Result<(Content, Value), SequenceError> {
    let mut flow = definition.flow.clone();
    senders.resolve(&mut flow).map_err(SequenceError::Wrong)?;
    let settings = Value::Object(definition.settings.clone());
    let change = Change {
        name: Some(definition.name.clone()),
        flow: Some(input::<FlowInput>("flow", &flow)?.into()),
        settings: Some(input::<SequenceSettingsInput>("settings", &settings)?.into()),
    };
    let wrong = |refusals: Vec<Refusal>| {
        let refusals = refusals.into_iter();
        let wrong = refusals.map(|refusal| Wrong::new(&refusal.path, refusal.message));
        SequenceError::Wrong(wrong.collect())
    };
    let content = sequence::read(zones, change).map_err(wrong)?;
    Ok((content, flow))
}

fn input<T: InputType>(field: &str, value: &Value) -> Result<T, SequenceError> {
    let path = [field.to_owned()];
    let refused = |message: String| SequenceError::Wrong(vec![Wrong::new(&path, message)]);
    let value = Written::from_json(value.clone()).map_err(|error| refused(error.to_string()))?;
    T::parse(Some(value)).map_err(|error| refused(error.into_server_error(Pos::default()).message))
}

impl Prepared {
    /// The sequence that the file stands for; none where it is new.
    pub fn current(&self) -> Option<(SequenceId, SequenceStatus)> {
        let current = self.current.as_ref();
        current.map(|current| (current.id, current.status))
    }

    /// What publishing would refuse.
    pub fn refused(&self) -> Vec<&FlowProblem> {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == Severity::Error)
            .collect()
    }

    /// What publishing does beside the edit; `None` where nothing is published or was before.
    ///
    /// # Errors
    /// What the API said, and [`SequenceError::RemovedStep`] where the wish names steps wrongly.
    pub async fn publishing(
        &self,
        api: &impl Api,
        wish: &Wish,
    ) -> Result<Option<Publishing>, SequenceError> {
        if !wish.publish || !self.changes(wish) {
            return Ok(None);
        }
        let policy = &wish.on_removed_step;
        let (Some(current), Some(standing)) = (&self.current, &self.standing) else {
            return match wrong_move(policy, &self.after, &[]) {
                Some(wrong) => Err(SequenceError::RemovedStep(wrong)),
                None => Ok(None),
            };
        };
        let publishing = standing
            .publishing(api, current.id, &self.after, policy)
            .await?;
        let moves = publishing.iter().flat_map(|publishing| &publishing.moves);
        let moves: Vec<Move> = moves.cloned().collect();
        match wrong_move(policy, &self.after, &moves) {
            Some(wrong) => Err(SequenceError::RemovedStep(wrong)),
            None => Ok(publishing),
        }
    }

    /// Whether anything is to be done.
    pub fn changes(&self, wish: &Wish) -> bool {
        let published = self
            .current()
            .is_some_and(|(_, status)| status == SequenceStatus::Published);
        !self.plan.is_empty() || (wish.publish && !published)
    }

    /// What stands in the way of the wish, before anything is done.
    ///
    /// # Errors
    /// [`SequenceError::State`] with the remedy, and [`SequenceError::Refused`] where publishing is
    /// wished for and would be refused.
    pub fn allow(&self, wish: &Wish) -> Result<(), SequenceError> {
        if !self.changes(wish) {
            return Ok(());
        }
        match self.current() {
            Some((_, SequenceStatus::Archived)) => {
                return Err(SequenceError::State(
                    "the sequence is archived: take it back out with sequenceUnarchive",
                ));
            }
            Some((_, SequenceStatus::Published)) if !wish.disable => {
                return Err(SequenceError::State(
                    "the sequence is published, and cannot be edited: with --disable it is \
                     disabled first, with --disable --publish also published again",
                ));
            }
            _ => {}
        }
        if wish.publish && !self.refused().is_empty() {
            return Err(SequenceError::Refused);
        }
        Ok(())
    }

    /// Does it, step by step, and tells what was done.
    ///
    /// # Errors
    /// Those of [`Self::allow`]; what the API said.
    pub async fn carry_out(
        &self,
        api: &impl Api,
        wish: Wish,
    ) -> Result<(SequenceId, Vec<Done>), SequenceError> {
        self.allow(&wish)?;
        self.publishing(api, &wish).await?;
        let mut done = Vec::new();
        let Some(current) = &self.current else {
            let input = json!({ "name": self.name, "flow": self.flow, "settings": self.settings });
            let payload = mutate(api, "sequenceCreate", "SequenceCreateInput", input).await?;
            let id = id_of(&payload)?;
            done.push(Done::Created);
            done.extend(self.warnings(&payload));
            if wish.publish {
                done.push(publish(api, id, &payload, &wish).await?);
            }
            return Ok((id, done));
        };
        let id = current.id;
        let disables = !self.plan.is_empty() && current.status == SequenceStatus::Published;
        if disables {
            let input = json!({ "id": id.to_string() });
            mutate(api, "sequenceDisable", "SequenceIdInput", input).await?;
            done.push(Done::Disabled);
        }
        match self.edit(api, current, &wish).await {
            Ok(edited) => done.extend(edited),
            Err(error) if disables => return Err(SequenceError::LeftDisabled(Box::new(error))),
            Err(error) => return Err(error),
        }
        Ok((id, done))
    }

    /// Edits and publishes a sequence that may be edited by now.
    async fn edit(
        &self,
        api: &impl Api,
        current: &Stored,
        wish: &Wish,
    ) -> Result<Vec<Done>, SequenceError> {
        let mut done = Vec::new();
        let mut payload = json!({ "sequence": { "revision": current.revision } });
        if !self.plan.is_empty() {
            let input = json!({ "id": current.id.to_string(),
                "expectedRevision": current.revision, "name": self.name, "flow": self.flow,
                "settings": self.settings });
            payload = mutate(api, "sequenceUpdate", "SequenceUpdateInput", input).await?;
            done.push(Done::Updated);
            done.extend(self.warnings(&payload));
        }
        if wish.publish && self.changes(wish) {
            done.push(publish(api, current.id, &payload, wish).await?);
        }
        Ok(done)
    }

    /// What the server warns of, which knows the attributes of people, and was not told before.
    fn warnings(&self, payload: &Value) -> Vec<Done> {
        let warnings = problems(&payload["sequence"])
            .into_iter()
            .filter(|problem| {
                let same =
                    |told: &&FlowProblem| told.code == problem.code && told.path == problem.path;
                problem.severity == Severity::Warning
                    && !self.problems.iter().any(|told| same(&told))
            });
        warnings.map(Done::Warned).collect()
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The sequence was made.
    Created,
    /// All its sends were paused.
    Disabled,
    /// It was edited.
    Updated,
    /// Something in it is probably not meant.
    Warned(FlowProblem),
    /// It sends; so many leads kept their step, went to another, and stopped or ended.
    Published {
        /// Leads that keep their step.
        staying: i64,
        /// Leads that go to another.
        moving: i64,
        /// Leads that stop or have finished.
        ending: i64,
    },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Disabled => f.write_str("disabled"),
            Self::Updated => f.write_str("updated"),
            Self::Warned(problem) => f.write_str(&describe(problem)),
            Self::Published {
                staying,
                moving,
                ending,
            } => write!(
                f,
                "published: {staying} leads keep their step, {moving} go to another, {ending} end"
            ),
        }
    }
}

async fn publish(
    api: &impl Api,
    id: SequenceId,
    edited: &Value,
    wish: &Wish,
) -> Result<Done, SequenceError> {
    let input = json!({ "id": id.to_string(),
        "expectedRevision": edited["sequence"]["revision"],
        "onRemovedStep": publishing::input(&wish.on_removed_step) });
    let payload = mutate(api, "sequencePublish", "SequencePublishInput", input).await?;
    let count = |field: &str| payload["plan"][field].as_i64().unwrap_or_default();
    Ok(Done::Published {
        staying: count("staying"),
        moving: count("moving"),
        ending: count("stopping") + count("completing"),
    })
}

/// Runs a mutation; what it refuses is told with its place in the file.
async fn mutate(
    api: &impl Api,
    field: &str,
    input_type: &str,
    input: Value,
) -> Result<Value, SequenceError> {
    let document = format!(
        "mutation Apply($input: {input_type}!) {{ {field}(input: $input) {{
           sequence {{ id revision problems {{ severity code message stepKey path }} }} userErrors {{ message path }}
           problems {{ severity message path }} plan {{ staying moving stopping completing }} }} }}"
    );
    let mut answer = api.ask(&document, json!({ "input": input })).await?;
    let payload = answer[field].take();
    let problems = payload["problems"].as_array().into_iter().flatten();
    let problems = problems.filter(|problem| problem["severity"] == "ERROR");
    let problems = problems.map(|problem| (below_flow(&texts(&problem["path"])), problem));
    let refused = payload["userErrors"].as_array().into_iter().flatten();
    let refused = refused.map(|error| (texts(&error["path"]), error));
    let wrong: Vec<Wrong> = refused
        .chain(problems)
        .map(|(path, said)| Wrong::new(&path, said["message"].as_str().unwrap_or_default()))
        .collect();
    if wrong.is_empty() {
        Ok(payload)
    } else {
        Err(SequenceError::Wrong(wrong))
    }
}

fn id_of(payload: &Value) -> Result<SequenceId, SequenceError> {
    let id = payload["sequence"]["id"].as_str().unwrap_or_default();
    id.parse().map_err(|_| SequenceError::Unreadable)
}

/// A problem's place begins at the flow or at the settings.
fn below_flow(path: &[String]) -> Vec<String> {
    match path.first().map(String::as_str) {
        Some("settings") | None => path.to_vec(),
        Some(_) => path
            .iter()
            .fold(vec!["flow".to_owned()], |path, part| below(&path, part)),
    }
}

/// A problem as people read it.
pub(super) fn describe(problem: &FlowProblem) -> String {
    let severity = match problem.severity {
        Severity::Error => "refused",
        Severity::Warning => "warning",
    };
    let path = place(&below_flow(&problem.path));
    format!("{severity} {}: {path}: {}", problem.code, problem.message)
}
