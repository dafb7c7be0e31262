//! What conditions ask: shown, and written.

use async_graphql::{Object, OneofObject, SimpleObject};

use crate::app::sequence as app;
use crate::domain::flow as domain;
use crate::graphql::person::{AttributeMatchInput, MatchOp, PersonField};
use crate::graphql::scalar::Json;

/// What a condition asks: exactly one field is set; see PredicateInput.
pub struct Predicate<'a>(pub &'a domain::Predicate);

/// What a condition asks: exactly one field is set; see PredicateInput.
#[Object]
impl<'a> Predicate<'a> {
    /// The lead opened the email of the step with this key, or with "*" any email; null where this is
    /// not what is asked.
    async fn opened(&self) -> Option<&'a str> {
        match self.0 {
            domain::Predicate::Opened(key) => Some(key),
            _ => None,
        }
    }

    /// The lead clicked a link in the email of the step with this key, or with "*" in any email; null
    /// where this is not what is asked.
    async fn clicked(&self) -> Option<&'a str> {
        match self.0 {
            domain::Predicate::Clicked(key) => Some(key),
            _ => None,
        }
    }

    /// True: the lead answered; false: it did not. Null where this is not what is asked.
    async fn replied(&self) -> Option<bool> {
        match self.0 {
            domain::Predicate::Replied(wanted) => Some(*wanted),
            _ => None,
        }
    }

    /// The person has all of these; null where this is not what is asked.
    async fn has(&self) -> Option<Vec<PersonField>> {
        match self.0 {
            domain::Predicate::Has(fields) => {
                Some(fields.iter().copied().map(Into::into).collect())
            }
            _ => None,
        }
    }

    /// An attribute of the person compares so; null where this is not what is asked.
    async fn attribute(&self) -> Option<AttributeMatch<'a>> {
        match self.0 {
            domain::Predicate::Attribute(written) => Some(written.into()),
            _ => None,
        }
    }

    /// All of these hold; null where this is not what is asked.
    async fn all(&self) -> Option<Vec<Predicate<'a>>> {
        match self.0 {
            domain::Predicate::All(all) => Some(all.iter().map(Predicate).collect()),
            _ => None,
        }
    }

    /// At least one of these holds; null where this is not what is asked.
    async fn any(&self) -> Option<Vec<Predicate<'a>>> {
        match self.0 {
            domain::Predicate::Any(any) => Some(any.iter().map(Predicate).collect()),
            _ => None,
        }
    }

    /// This does not hold; null where this is not what is asked.
    async fn not(&self) -> Option<Predicate<'a>> {
        match self.0 {
            domain::Predicate::Not(inner) => Some(Predicate(inner)),
            _ => None,
        }
    }
}

/// A condition on one attribute of a person.
#[derive(SimpleObject)]
pub struct AttributeMatch<'a> {
    /// The attribute's name, exactly.
    name: &'a str,
    /// How it is compared.
    op: MatchOp,
    /// What it is compared with; null where the operator takes no value.
    value: Option<Json>,
}

impl<'a> From<&'a domain::WrittenMatch> for AttributeMatch<'a> {
    fn from(written: &'a domain::WrittenMatch) -> Self {
        Self {
            name: &written.name,
            op: written.op.into(),
            value: (!written.value.is_null()).then(|| Json(written.value.clone())),
        }
    }
}

/// What a condition asks: exactly one field is set. At most 100 in one condition, and at most 8 in
/// one another.
#[derive(OneofObject, Debug)]
pub enum PredicateInput {
    /// The lead opened the email of the step with this key, or with "*" any email. The email must
    /// come before the condition and note openings.
    Opened(String),
    /// The lead clicked a link in the email of the step with this key, or with "*" in any email. The
    /// email must come before the condition and note clicks.
    Clicked(String),
    /// True: the lead answered; false: it did not. Of use where a reply does not stop the lead.
    Replied(bool),
    /// The person has all of these.
    Has(Vec<PersonField>),
    /// An attribute of the person compares so.
    Attribute(AttributeMatchInput),
    /// All of these hold.
    All(Vec<PredicateInput>),
    /// At least one of these holds.
    Any(Vec<PredicateInput>),
    /// This does not hold.
    Not(Box<PredicateInput>),
}

impl From<PredicateInput> for app::PredicateInput {
    fn from(input: PredicateInput) -> Self {
        let each = |inner: Vec<PredicateInput>| inner.into_iter().map(Into::into).collect();
        match input {
            PredicateInput::Opened(key) => Self::Opened(key),
            PredicateInput::Clicked(key) => Self::Clicked(key),
            PredicateInput::Replied(wanted) => Self::Replied(wanted),
            PredicateInput::Has(fields) => Self::Has(fields.into_iter().map(Into::into).collect()),
            PredicateInput::Attribute(wanted) => Self::Attribute {
                name: wanted.name,
                op: wanted.op.into(),
                value: wanted.value.map(|value| value.0),
            },
            PredicateInput::All(all) => Self::All(each(all)),
            PredicateInput::Any(any) => Self::Any(each(any)),
            PredicateInput::Not(inner) => Self::Not(Box::new((*inner).into())),
        }
    }
}
