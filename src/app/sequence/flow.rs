//! A flow as it is written, read into the domain's.
//!
//! Only what could not be kept or shown is refused here: a key that is no key, a wait that is no
//! wait, a text beyond all measure. What publishing refuses (no sender, an unknown step, a broken
//! merge tag) may stand in a draft.

use crate::app::{Refusal, RefusalCode};
use crate::domain::duration::WaitDuration;
use crate::domain::flow::{
    Action, EmailAction, EmailVariant, Flow, MissingPolicy, STEP_SENDERS_MAX, STEPS_MAX, Step,
    VARIANTS_MAX,
};
use crate::domain::id::SenderId;
use crate::domain::template::MAX_SOURCE_BYTES;

/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 64;
/// The longest name of a step, in characters.
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
    /// The step after; left out, the next one of the list.
    pub next: Option<String>,
}

/// What a step does, as it is written.
#[derive(Debug, Clone)]
pub enum ActionInput {
    /// Sends an email.
    Email(EmailInput),
}

/// An email as it is written.
#[derive(Debug, Clone)]
pub struct EmailInput {
    /// The ids of those who may send it.
    pub sender_ids: Vec<String>,
    /// Its texts.
    pub variants: Vec<VariantInput>,
    /// Whether it is a reply in the lead's thread.
    pub in_thread: bool,
    /// Whether openings are noted.
    pub track_opens: bool,
    /// Whether clicks are noted.
    pub track_clicks: bool,
}

/// A text of an email as it is written.
#[derive(Debug, Clone)]
pub struct VariantInput {
    /// Its key.
    pub key: String,
    /// Its share.
    pub weight: i32,
    /// Whether leads get it.
    pub enabled: bool,
    /// The subject.
    pub subject: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// The text part.
    pub text: Option<String>,
}

/// Reads a flow.
///
/// # Errors
/// Everything that keeps it from being read.
pub(super) fn read(input: FlowInput) -> Result<Flow, Vec<Refusal>> {
    let mut reader = Reader::default();
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

#[derive(Default)]
struct Reader {
    wrong: Vec<Refusal>,
}

impl Reader {
    fn step(&mut self, index: usize, input: StepInput, following: Option<String>) -> Step {
        let index = index.to_string();
        let base = ["flow", "steps", &index];
        let at = |field| [&base[..], &[field]].concat();
        self.key(&input.key, &at("key"));
        if input.key == END {
            let message = "No step can have the key \"end\", which ends a sequence: rename it.";
            self.wrong.push(Refusal::invalid(message, &at("key")));
        }
        if let Some(name) = &input.name {
            self.text(name, NAME_CHARS_MAX * 4, &at("name"));
        }
        let wait = match input.wait.as_deref().map(str::parse::<WaitDuration>) {
            None => WaitDuration::ZERO,
            Some(Ok(wait)) => wait,
            Some(Err(error)) => {
                self.wrong
                    .push(Refusal::invalid(format!("wait: {error}."), &at("wait")));
                WaitDuration::ZERO
            }
        };
        let next = match input.next {
            None => following,
            Some(next) if next == END => None,
            Some(next) => {
                self.key(&next, &at("next"));
                Some(next)
            }
        };
        let action = match input.action {
            ActionInput::Email(email) => Action::Email(self.email(&at("action"), email)),
        };
        let name = input.name.filter(|name| !name.trim().is_empty());
        Step {
            key: input.key,
            name,
            wait,
            business_days: input.business_days,
            action,
            on_missing_address: MissingPolicy::Skip,
            on_missing_data: MissingPolicy::Hold,
            next,
        }
    }

    fn email(&mut self, base: &[&str], input: EmailInput) -> EmailAction {
        let base = [base, &["email"]].concat();
        let at = |field| [&base[..], &[field]].concat();
        self.limit(
            input.sender_ids.len(),
            STEP_SENDERS_MAX,
            "senderIds",
            &at("senderIds"),
        );
        let mut senders: Vec<SenderId> = Vec::new();
        for (position, id) in input.sender_ids.iter().take(STEP_SENDERS_MAX).enumerate() {
            match id.parse() {
                // A sender named twice would get twice its share.
                Ok(id) if senders.contains(&id) => {}
                Ok(id) => senders.push(id),
                Err(error) => {
                    let shown: String = id.chars().take(60).collect();
                    let position = position.to_string();
                    let path = [&at("senderIds")[..], &[&position]].concat();
                    self.wrong
                        .push(Refusal::invalid(format!("\"{shown}\": {error}."), &path));
                }
            }
        }
        self.limit(
            input.variants.len(),
            VARIANTS_MAX,
            "variants",
            &at("variants"),
        );
        let variants = input
            .variants
            .into_iter()
            .take(VARIANTS_MAX)
            .enumerate()
            .map(|(position, variant)| {
                let position = position.to_string();
                self.variant(&[&at("variants")[..], &[&position]].concat(), variant)
            })
            .collect();
        EmailAction {
            senders,
            variants,
            in_thread: input.in_thread,
            track_opens: input.track_opens,
            track_clicks: input.track_clicks,
        }
    }

    fn variant(&mut self, base: &[&str], input: VariantInput) -> EmailVariant {
        let at = |field| [base, &[field]].concat();
        self.key(&input.key, &at("key"));
        let weight = u32::try_from(input.weight).unwrap_or_else(|_| {
            let message = format!("weight is {}: give 0 or more.", input.weight);
            self.wrong.push(Refusal::invalid(message, &at("weight")));
            0
        });
        let parts = [
            ("subject", &input.subject),
            ("html", &input.html),
            ("text", &input.text),
        ];
        for (field, text) in parts {
            if let Some(text) = text {
                self.text(text, MAX_SOURCE_BYTES, &at(field));
            }
        }
        EmailVariant {
            key: input.key,
            weight,
            enabled: input.enabled,
            subject: input.subject,
            html: input.html,
            text: input.text,
        }
    }

    fn key(&mut self, key: &str, path: &[&str]) {
        let sound = (1..=KEY_CHARS_MAX).contains(&key.len())
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if !sound {
            let shown: String = key.chars().take(60).collect();
            let message = format!(
                "\"{shown}\" is not a key: write 1 to {KEY_CHARS_MAX} of the characters a-z, 0-9, \
                 _ and -."
            );
            self.wrong.push(Refusal::invalid(message, path));
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
            self.wrong.push(Refusal::invalid(message, path));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(key: &str, next: Option<&str>) -> StepInput {
        StepInput {
            key: key.into(),
            name: None,
            wait: None,
            business_days: false,
            action: ActionInput::Email(EmailInput {
                sender_ids: vec![],
                variants: vec![],
                in_thread: false,
                track_opens: true,
                track_clicks: true,
            }),
            next: next.map(Into::into),
        }
    }

    #[test]
    fn a_step_goes_to_the_following_one_unless_it_says_otherwise() {
        let steps = vec![
            step("a", None),
            step("b", Some("d")),
            step("c", Some("end")),
            step("d", None),
        ];
        let flow = read(FlowInput { steps }).expect("readable");
        let next: Vec<_> = flow.steps.iter().map(|step| step.next.as_deref()).collect();
        assert_eq!(next, [Some("b"), Some("d"), None, None]);
    }

    #[test]
    fn everything_unreadable_is_named_with_its_place() {
        let mut bad_wait = step("b", Some("Not A Key"));
        bad_wait.wait = Some("two days".into());
        let ActionInput::Email(email) = &mut bad_wait.action;
        email.sender_ids = vec!["nobody".into()];
        email.variants = vec![VariantInput {
            key: String::new(),
            weight: -1,
            enabled: true,
            subject: Some("nul \0".into()),
            html: None,
            text: Some("x".repeat(MAX_SOURCE_BYTES + 1)),
        }];
        let steps = vec![step("A", None), bad_wait, step("end", None)];
        let wrong = read(FlowInput { steps }).expect_err("unreadable");
        let paths: Vec<String> = wrong.iter().map(|refusal| refusal.path.join(".")).collect();
        let email = "flow.steps.1.action.email";
        let expected = [
            "flow.steps.0.key".to_owned(),
            "flow.steps.1.wait".into(),
            "flow.steps.1.next".into(),
            format!("{email}.senderIds.0"),
            format!("{email}.variants.0.key"),
            format!("{email}.variants.0.weight"),
            format!("{email}.variants.0.subject"),
            format!("{email}.variants.0.text"),
            "flow.steps.2.key".into(),
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn the_number_of_steps_has_a_bound() {
        let of = |count: usize| {
            let steps = (0..count)
                .map(|index| step(&format!("s{index}"), None))
                .collect();
            read(FlowInput { steps })
        };
        assert!(of(STEPS_MAX).is_ok());
        let wrong = of(STEPS_MAX + 1).expect_err("too long");
        assert_eq!(wrong.len(), 1);
        assert_eq!(
            wrong.first().map(|refusal| refusal.code),
            Some(RefusalCode::Limit)
        );
    }
}
