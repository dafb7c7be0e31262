//! What a condition asks, as it is written.

use serde_json::Value;

use super::Reader;
use crate::app::{Refusal, RefusalCode};
use crate::domain::flow::{ANY_STEP, DEPTH_MAX, PREDICATES_MAX, Predicate, WrittenMatch};
use crate::domain::person_filter::{BadMatch, MatchOp, PersonField};

/// The most that an attribute is compared with, as JSON, in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What a condition asks, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum PredicateInput {
    /// The message of the step with this key was opened, or any.
    Opened(String),
    /// A link of it was clicked.
    Clicked(String),
    /// Whether the lead answered.
    Replied(bool),
    /// The person has all of these.
    Has(Vec<PersonField>),
    /// An attribute compares so.
    Attribute {
        /// Its name.
        name: String,
        /// How it is compared.
        op: MatchOp,
        /// With what.
        value: Option<Value>,
    },
    /// All of these hold.
    All(Vec<PredicateInput>),
    /// At least one of these holds.
    Any(Vec<PredicateInput>),
    /// This does not hold.
    Not(Box<PredicateInput>),
}

impl PredicateInput {
    /// How many predicates it is made of.
    fn count(&self) -> usize {
        let within = match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().map(Self::count).sum(),
            Self::Not(inner) => inner.count(),
            _ => 0,
        };
        1 + within
    }
}

impl Reader<'_> {
    /// A condition's predicate, which is none of any where it was refused.
    pub(super) fn predicate(&mut self, base: &[&str], input: PredicateInput) -> Predicate {
        let count = input.count();
        if count > PREDICATES_MAX {
            let message = format!(
                "The condition has {count} predicates and may have {PREDICATES_MAX}: take some \
                 out, or divide it among several conditions."
            );
            self.over(message, base);
            return Predicate::Any(Vec::new());
        }
        self.predicate_at(base, input, 1)
    }

    fn predicate_at(&mut self, base: &[&str], input: PredicateInput, depth: usize) -> Predicate {
        if depth > DEPTH_MAX {
            let message = format!(
                "Predicates lie in one another more than {DEPTH_MAX} deep: write it flatter."
            );
            self.over(message, base);
            return Predicate::Any(Vec::new());
        }
        let at = |field| [base, &[field]].concat();
        let each = |reader: &mut Self, field, inner: Vec<PredicateInput>| {
            let path = at(field);
            let inner = inner.into_iter().enumerate();
            inner
                .map(|(position, one)| {
                    let position = position.to_string();
                    let path = [&path[..], &[&position]].concat();
                    reader.predicate_at(&path, one, depth + 1)
                })
                .collect()
        };
        match input {
            PredicateInput::Opened(key) => {
                self.asked_step(&key, &at("opened"));
                Predicate::Opened(key)
            }
            PredicateInput::Clicked(key) => {
                self.asked_step(&key, &at("clicked"));
                Predicate::Clicked(key)
            }
            PredicateInput::Replied(wanted) => Predicate::Replied(wanted),
            PredicateInput::Has(fields) => {
                let mut each_once: Vec<PersonField> = Vec::new();
                for field in fields {
                    if !each_once.contains(&field) {
                        each_once.push(field);
                    }
                }
                Predicate::Has(each_once)
            }
            PredicateInput::Attribute { name, op, value } => {
                let value = value.unwrap_or_default();
                let written = WrittenMatch { name, op, value };
                self.attribute(&at("attribute"), &written);
                Predicate::Attribute(written)
            }
            PredicateInput::All(all) => Predicate::All(each(self, "all", all)),
            PredicateInput::Any(any) => Predicate::Any(each(self, "any", any)),
            PredicateInput::Not(inner) => {
                let inner = self.predicate_at(&at("not"), *inner, depth + 1);
                Predicate::Not(Box::new(inner))
            }
        }
    }

    fn asked_step(&mut self, key: &str, path: &[&str]) {
        if key != ANY_STEP {
            self.key(key, path);
        }
    }

    fn attribute(&mut self, base: &[&str], written: &WrittenMatch) {
        if let Err(error) = written.read() {
            let path = match error {
                BadMatch::Name => [base, &["name"]].concat(),
                BadMatch::Nul => base.to_vec(),
                BadMatch::NotScalar(_)
                | BadMatch::NotText(_)
                | BadMatch::NotList
                | BadMatch::NoValue(_) => [base, &["value"]].concat(),
            };
            self.invalid(format!("{error}."), &path);
        } else if written.value.to_string().len() > VALUE_BYTES_MAX {
            let message = format!("value is longer than {VALUE_BYTES_MAX} bytes: shorten it.");
            self.over(message, &[base, &["value"]].concat());
        }
    }

    fn over(&mut self, message: String, path: &[&str]) {
        self.wrong
            .push(Refusal::new(RefusalCode::Limit, message, path));
    }
}
