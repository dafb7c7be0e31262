//! The filter of people as an input: read into the domain's, with every problem at once.

use async_graphql::{Enum, ID, InputObject};

use crate::domain::person_filter::{self, AttributeMatch, PersonFilter};
use crate::graphql::error::{UserError, UserErrorCode};
use crate::graphql::node;
use crate::graphql::problems::{Problems, each_once};
use crate::graphql::scalar::{DateTime, Json};

/// Something that a person may have.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::person_filter::PersonField")]
pub enum PersonField {
    /// An email address.
    Email,
    /// A phone number.
    Phone,
    /// A LinkedIn page.
    LinkedinUrl,
    /// A company.
    Company,
    /// A job title.
    Title,
}

/// How an attribute is compared. Text is compared letter by letter, upper and lower case apart;
/// with a number, attributes count that are numbers or texts that read like one.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::person_filter::MatchOp")]
pub enum MatchOp {
    /// Is the value.
    Eq,
    /// Is another value, or is not set.
    Ne,
    /// Is less than the value.
    Lt,
    /// Is the value or less.
    Lte,
    /// Is greater than the value.
    Gt,
    /// Is the value or greater.
    Gte,
    /// Holds the text.
    Contains,
    /// Begins with the text.
    StartsWith,
    /// Is one of the values; the value is a list.
    In,
    /// Is there; takes no value.
    IsSet,
    /// Is not there; takes no value.
    IsNotSet,
}

/// A condition on one attribute of a person.
#[derive(InputObject, Debug)]
pub struct AttributeMatchInput {
    /// The attribute's name, exactly.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// What it is compared with: a text, a number, true or false; for IN a list of these.
    pub value: Option<Json>,
}

/// A span of time.
#[derive(InputObject, Debug)]
pub struct DateTimeRange {
    /// Inclusive; left out, there is no beginning.
    pub from: Option<DateTime>,
    /// Exclusive; left out, there is no end.
    pub to: Option<DateTime>,
}

/// Which people: every condition that is given must hold. A list means "any of these", so an empty
/// list matches nobody; `has` and `attributes` mean "all of these".
#[derive(InputObject, Debug, Default)]
#[graphql(name = "PersonFilter")]
pub struct PersonFilterInput {
    /// One of these people.
    pub ids: Option<Vec<ID>>,
    /// Every word of this is part of the name, the email address or the company; upper and lower
    /// case are the same.
    pub search: Option<String>,
    /// At one of these companies, spelled exactly so.
    pub company: Option<Vec<String>>,
    /// With one of these job titles, spelled exactly so.
    pub title: Option<Vec<String>>,
    /// Has all of these.
    pub has: Option<Vec<PersonField>>,
    /// All of these hold for the attributes.
    pub attributes: Option<Vec<AttributeMatchInput>>,
    /// Created within this span.
    pub created_at: Option<DateTimeRange>,
    /// Has never been a lead of this sequence, which must be there.
    pub not_in_sequence_id: Option<ID>,
}

impl PersonFilterInput {
    /// The filter that is meant; `path` is where it stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub fn read(self, path: &[&str]) -> Result<PersonFilter, Vec<UserError>> {
        let mut problems = Problems::of(path);
        let ids = self.ids.map(|ids| {
            problems.bound(ids.len(), person_filter::LIST_MAX, &["ids"]);
            problems.each(&ids, "ids", node::id)
        });
        for (list, name) in [(&self.company, "company"), (&self.title, "title")] {
            let length = list.as_ref().map_or(0, Vec::len);
            problems.bound(length, person_filter::LIST_MAX, &[name]);
        }
        let text_max = person_filter::TEXT_CHARS_MAX;
        if self
            .search
            .as_ref()
            .is_some_and(|text| text.chars().count() > text_max)
        {
            problems.add(
                &["search"],
                format!("search has at most {text_max} characters; shorten it."),
            );
        }
        let lists = [&self.company, &self.title];
        let texts = lists.into_iter().flatten().flatten().chain(&self.search);
        if texts.into_iter().any(|text| text.contains('\0')) {
            let message = "A text of the filter holds a NUL character; leave it out.";
            problems.add(&[], message.into());
        }
        let attributes = self.attributes.unwrap_or_default();
        problems.bound(
            attributes.len(),
            person_filter::MATCHES_MAX,
            &["attributes"],
        );
        let attributes = problems.each(attributes, "attributes", |wanted, at| {
            let value = wanted.value.map(|value| value.0);
            AttributeMatch::new(wanted.name, wanted.op.into(), value)
                .map_err(|error| UserError::new(UserErrorCode::Invalid, format!("{error}."), at))
        });
        let created_at = self.created_at;
        let not_in_sequence = self
            .not_in_sequence_id
            .and_then(|id| problems.one(&["notInSequenceId"], |at| node::id(&id, at)));
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        Ok(PersonFilter {
            ids,
            search: self.search,
            company: self.company,
            title: self.title,
            has: each_once(self.has.unwrap_or_default().into_iter().map(Into::into)),
            attributes,
            created_from: created_at
                .as_ref()
                .and_then(|range| range.from)
                .map(|at| at.0),
            created_to: created_at
                .as_ref()
                .and_then(|range| range.to)
                .map(|at| at.0),
            not_in_sequence,
        })
    }
}
