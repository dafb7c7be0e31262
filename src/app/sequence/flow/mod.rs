//! A flow as it is written, read into the domain's.
//!
//! Only what could not be kept or shown is refused here: a key that is no key, a wait that is no
//! wait, a text beyond all measure. What publishing refuses (no sender, an unknown step, a broken
//! merge tag) may stand in a draft.

mod action;
mod message;
mod predicate;
mod update;
mod webhook;

pub use self::action::{ActionInput, BranchInput, ConditionInput, EndInput, SplitInput, TaskInput};
pub use self::message::{EmailInput, MessageInput, MessageVariantInput, VariantInput};
pub use self::predicate::PredicateInput;
pub use self::update::UpdateInput;
pub use self::webhook::WebhookInput;
use crate::app::{Refusal, RefusalCode};
use crate::domain::duration::WaitDuration;
use crate::domain::flow::{Flow, MissingPolicy, STEPS_MAX, Step};
use crate::zones::ZoneDatabase;

/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 64;
/// The longest name of a step or of who does a task, in characters.
const NAME_CHARS_MAX: usize = 200;
/// What `next` says to end the sequence; no step can have it as its key.
const END: &str = "end";
/// The most problems that one flow is told of.
const PROBLEMS_MAX: usize = 100;

/// A flow as it is written.
#[derive(Debug, Clone, Default)]
pub struct FlowInput {
    /// Its steps.
    pub steps: Vec<StepInput>,
}

/// A step as it is written.
#[derive(Debug, Clone)]
pub struct StepInput {
    /// Its key.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// How long after the step before it is due, as an ISO 8601 duration; left out, at once.
    pub wait: Option<String>,
    /// Whether only the days count on which the window opens.
    pub business_days: bool,
    /// What it does.
    pub action: ActionInput,
    /// What becomes of a lead that has no address for it.
    pub on_missing_address: MissingPolicy,
    /// What becomes of a lead that lacks merge data for it.
    pub on_missing_data: MissingPolicy,
    /// The step after; left out, the next one of the list. A step that names its ways out in its
    /// action, or that ends the sequence, has none.
    pub next: Option<String>,
}

/// Reads a flow.
///
/// # Errors
/// Everything that keeps it from being read.
pub(super) fn read(input: FlowInput, zones: &ZoneDatabase) -> Result<Flow, Vec<Refusal>> {
    let mut reader = Reader {
        zones,
        wrong: Vec::new(),
    };
    reader.limit(input.steps.len(), STEPS_MAX, "steps", &["flow", "steps"]);
    if !reader.wrong.is_empty() {
        return Err(reader.wrong);
    }
    // The step after in the list, by index.
    let following: Vec<Option<String>> = input
        .steps
        .iter()
        .skip(1)
        .map(|step| Some(step.key.clone()))
        .chain([None])
        .collect();
    let steps = input
        .steps
        .into_iter()
        .zip(following)
        .enumerate()
        .map(|(index, (step, following))| reader.step(index, step, following))
        .collect();
    if reader.wrong.is_empty() {
        Ok(Flow { steps })
    } else {
        reader.wrong.truncate(PROBLEMS_MAX);
        Err(reader.wrong)
    }
}

/// Reads a flow and notes all that is wrong on the way.
struct Reader<'a> {
    zones: &'a ZoneDatabase,
    wrong: Vec<Refusal>,
}

impl Reader<'_> {
    fn step(&mut self, index: usize, input: StepInput, following: Option<String>) -> Step {
        let index = index.to_string();
        let base = ["flow", "steps", &index];
        let at = |field| [&base[..], &[field]].concat();
        self.key(&input.key, &at("key"));
        if input.key == END {
            let message = "No step can have the key \"end\", which ends a sequence: rename it.";
            self.invalid(message, &at("key"));
        }
        if let Some(name) = &input.name {
            self.text(name, NAME_CHARS_MAX * 4, &at("name"));
        }
        let wait = self.duration(input.wait.as_deref(), &at("wait"));
        let next = match input.action.instead_of_next() {
            None => self.next(input.next, following.as_deref(), &at("next")),
            Some(remedy) => {
                if input.next.is_some() {
                    self.invalid(remedy, &at("next"));
                }
                None
            }
        };
        let action = self.action(&at("action"), input.action, following.as_deref());
        Step {
            key: input.key,
            name: said(input.name),
            wait: wait.unwrap_or_default(),
            business_days: input.business_days,
            action,
            on_missing_address: input.on_missing_address,
            on_missing_data: input.on_missing_data,
            next,
        }
    }

    /// Where a way out leads: left out, to the following step.
    fn next(
        &mut self,
        written: Option<String>,
        following: Option<&str>,
        path: &[&str],
    ) -> Option<String> {
        match written {
            None => following.map(str::to_owned),
            Some(next) if next == END => None,
            Some(next) => {
                self.key(&next, path);
                Some(next)
            }
        }
    }

    fn duration(&mut self, written: Option<&str>, path: &[&str]) -> Option<WaitDuration> {
        match written?.parse() {
            Ok(read) => Some(read),
            Err(error) => {
                let field = path.last().copied().unwrap_or_default();
                self.invalid(format!("{field}: {error}."), path);
                None
            }
        }
    }

    fn weight(&mut self, weight: i32, path: &[&str]) -> u32 {
        u32::try_from(weight).unwrap_or_else(|_| {
            let message = format!("weight is {weight}: give 0 or more.");
            self.invalid(message, path);
            0
        })
    }

    fn key(&mut self, key: &str, path: &[&str]) {
        let sound = (1..=KEY_CHARS_MAX).contains(&key.len())
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if !sound {
            let message = format!(
                "\"{}\" is not a key: write 1 to {KEY_CHARS_MAX} of the characters a-z, 0-9, \
                 _ and -.",
                shown(key)
            );
            self.invalid(message, path);
        }
    }

    fn text(&mut self, text: &str, bytes_max: usize, path: &[&str]) {
        let field = path.last().copied().unwrap_or_default();
        if text.len() > bytes_max {
            let message = format!("{field} is longer than {bytes_max} bytes: shorten it.");
            self.wrong
                .push(Refusal::new(RefusalCode::Limit, message, path));
        }
        // PostgreSQL cannot keep it.
        if text.contains('\0') {
            let message = format!("{field} holds a NUL character: remove it.");
            self.invalid(message, path);
        }
    }

    fn limit(&mut self, length: usize, most: usize, field: &str, path: &[&str]) {
        if length > most {
            let message =
                format!("{field} has {length} entries and may have {most}: take some out.");
            self.wrong
                .push(Refusal::new(RefusalCode::Limit, message, path));
        }
    }

    fn invalid(&mut self, message: impl Into<String>, path: &[&str]) {
        self.wrong.push(Refusal::invalid(message, path));
    }
}

/// So much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A text that people may leave out; blank, it is left out.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
