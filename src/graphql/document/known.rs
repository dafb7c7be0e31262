//! Documents that were read: a program asks the same few over and over, with other variables.
//!
//! What is remembered is what a document says, whoever asks: its parsed text, checked and put right.
//! It depends on the text, on which operation is meant and on which variables are given at all, and
//! on nothing else. What the variables' values decide (the cost, what is skipped) is read for every
//! request, and so are the library's own rules.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Request, Response, Variables};
use lru::LruCache;

use super::plan::{self, Plan};
use super::shape::Shape;
use super::{
    Operation, OperationKind, Refused, chosen, cost, ending, fragments, presence, scan,
    subscription, text, variables,
};
use crate::graphql::error::parse_failed;

/// A longer document is read every time, in bytes.
const TEXT_MAX: usize = 16 << 10;
/// A request that gives more variables is read every time.
const GIVEN_MAX: usize = 100;
/// How many documents are remembered.
const COUNT_MAX: usize = 1_000;
/// How much memory they take together, by estimate, in bytes.
const BYTES_MAX: usize = 32 << 20;
/// What a byte of text takes at most as part of a value, what a field takes that is written down, and
/// what one takes that an answer has.
const OF_TEXT: usize = 40;
const OF_WRITTEN: usize = 256;
const OF_ANSWERED: usize = 200;

/// A document that was read, and what it was read for.
pub(super) struct Known {
    text: String,
    operation_name: Option<String>,
    /// The names of the variables that were given, in order.
    given: Vec<Name>,
    /// The text without what the library does not read.
    plain: Option<String>,
    document: ExecutableDocument,
    kind: OperationKind,
    /// What every answer looks like, unless variables decide what is left out.
    plan: Option<Arc<Plan>>,
    /// The memory that all of this takes, by estimate.
    bytes: usize,
}

impl Known {
    /// Reads a request's document.
    ///
    /// # Errors
    /// The answer to a document that is too large or cannot be parsed, or where no operation is
    /// meant.
    pub(super) fn read(request: &Request, shape: &Shape) -> Result<Self, Box<Response>> {
        scan::check(&request.query).map_err(Refused::from)?;
        let plain = text::without_new_escapes(&request.query);
        let parsed = parse_query(plain.as_ref().unwrap_or(&request.query));
        let document = parsed.map_err(|error| Box::new(parse_failed(error.into())))?;
        Ok(Self::settle(document, plain, request, shape)?)
    }

    fn settle(
        mut document: ExecutableDocument,
        plain: Option<String>,
        request: &Request,
        shape: &Shape,
    ) -> Result<Self, Refused> {
        fragments::check(&document)?;
        let (name, given) = (request.operation_name.as_deref(), &request.variables);
        let kind = match chosen(&document, name)?.node.ty {
            OperationType::Query => OperationKind::Query,
            OperationType::Mutation => OperationKind::Mutation,
            OperationType::Subscription => OperationKind::Subscription,
        };
        variables::check_defined(&document, &chosen(&document, name)?.node)?;
        if kind == OperationKind::Subscription {
            subscription::write_out_root(&mut document, name)?;
        }
        variables::leave_out_absent(&mut document, name, given);
        presence::mark(&mut document);
        if kind == OperationKind::Mutation {
            ending::mark(&mut document, shape);
        }
        let plan = if variables::decide(&document) {
            None
        } else {
            let operation = chosen(&document, name)?;
            let plan = plan::of(&document, operation, &Variables::default(), shape);
            Some(Arc::new(plan))
        };
        let mut known = Self {
            text: request.query.clone(),
            operation_name: request.operation_name.clone(),
            given: given.keys().cloned().collect(),
            plain,
            document,
            kind,
            plan,
            bytes: 0,
        };
        known.bytes = known.estimate();
        Ok(known)
    }

    /// The document's text as the library reads it, if that is another one.
    pub(super) fn plain(&self) -> Option<&str> {
        self.plain.as_deref()
    }

    /// The document, checked and put right.
    pub(super) fn document(&self) -> &ExecutableDocument {
        &self.document
    }

    /// What is asked for with these variables.
    ///
    /// # Errors
    /// Where it is more than is given at once.
    pub(super) fn operation(
        &self,
        variables: &Variables,
        shape: &Shape,
    ) -> Result<Operation, Refused> {
        let document = &self.document;
        let operation = chosen(document, self.operation_name.as_deref())?;
        let cost = cost::of(document, operation, variables, shape)?;
        let root = match self.kind {
            OperationKind::Subscription => subscription::root(operation, variables),
            OperationKind::Query | OperationKind::Mutation => None,
        };
        let plan = match &self.plan {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(plan::of(document, operation, variables, shape)),
        };
        Ok(Operation {
            kind: self.kind,
            cost,
            root,
            plan,
        })
    }

    fn is_of(&self, request: &Request) -> bool {
        self.text == request.query
            && self.operation_name == request.operation_name
            && self.given.iter().eq(request.variables.keys())
    }

    fn estimate(&self) -> usize {
        let names: usize = self.given.iter().map(|name| name.len() + OF_TEXT).sum();
        let name = self.operation_name.as_ref().map_or(0, String::len);
        let operations = self.document.operations.iter();
        let operations = operations.map(|(_, operation)| &operation.node.selection_set.node);
        let fragments = self.document.fragments.values();
        let fragments = fragments.map(|fragment| &fragment.node.selection_set.node);
        let written: usize = operations.chain(fragments).map(selections).sum();
        let answered = self.plan.as_ref().map_or(0, |plan| plan.fields());
        self.text.len() * OF_TEXT + names + name + written * OF_WRITTEN + answered * OF_ANSWERED
    }
}

/// How many fields and fragments are written in a selection, on all levels.
fn selections(set: &SelectionSet) -> usize {
    let below = set.items.iter().map(|item| match &item.node {
        Selection::Field(field) => selections(&field.node.selection_set.node),
        Selection::InlineFragment(inline) => selections(&inline.node.selection_set.node),
        Selection::FragmentSpread(_) => 0,
    });
    set.items.len() + below.sum::<usize>()
}

/// The documents that were read last.
pub struct Remembered {
    /// Keyed at random: nobody can make documents that push each other out.
    hashes: RandomState,
    documents: Mutex<Documents>,
}

struct Documents {
    /// By the hash of what they were read for; two of the same hash push each other out.
    last: LruCache<u64, Arc<Known>>,
    bytes: usize,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            hashes: RandomState::new(),
            documents: Mutex::new(Documents {
                last: LruCache::unbounded(),
                bytes: 0,
            }),
        }
    }
}

impl Remembered {
    /// The request's document, if it was read lately.
    pub(super) fn find(&self, request: &Request) -> Option<Arc<Known>> {
        if request.query.len() > TEXT_MAX || request.variables.len() > GIVEN_MAX {
            return None;
        }
        let hash = self.hash(
            &request.query,
            &request.operation_name,
            request.variables.keys(),
        );
        let known = self.documents().last.get(&hash).cloned();
        known.filter(|known| known.is_of(request))
    }

    /// Remembers a document, if it is small, for as long as there are not too many later ones.
    pub(super) fn keep(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        if known.text.len() > TEXT_MAX || known.given.len() > GIVEN_MAX {
            return known;
        }
        let hash = self.hash(&known.text, &known.operation_name, known.given.iter());
        let mut documents = self.documents();
        documents.bytes += known.bytes;
        if let Some((_, before)) = documents.last.push(hash, Arc::clone(&known)) {
            documents.bytes -= before.bytes;
        }
        while documents.bytes > BYTES_MAX || documents.last.len() > COUNT_MAX {
            let Some((_, oldest)) = documents.last.pop_lru() else {
                break;
            };
            documents.bytes -= oldest.bytes;
        }
        known
    }

    fn hash<'a>(
        &self,
        text: &str,
        operation_name: &Option<String>,
        given: impl Iterator<Item = &'a Name>,
    ) -> u64 {
        let given: Vec<&Name> = given.collect();
        self.hashes.hash_one((text, operation_name, given))
    }

    fn documents(&self) -> std::sync::MutexGuard<'_, Documents> {
        // No code that holds the lock can leave the documents half changed.
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::graphql::document::read;

    const SDL: &str = "type Query { lead(id: ID, a: Int): Lead leads(first: Int): [Lead!]! }
        type Lead { id: ID! name: String leads(first: Int): [Lead!]! }
        type Subscription { events(after: String): Lead! }";

    fn request(text: &str, name: Option<&str>, variables: Json) -> Request {
        let mut request = Request::new(text).variables(Variables::from_json(variables));
        request.operation_name = name.map(str::to_owned);
        request
    }

    /// What a request is read as: what it asks for and the document, or why not.
    fn seen(mut request: Request, shape: &Shape, remembered: &Remembered) -> String {
        match read(&mut request, shape, remembered) {
            Ok(operation) => {
                let document = format!("{:?}", request.parsed_query());
                // The order in which a map is shown is its own.
                let mut words: Vec<&str> = document.split(|c: char| !c.is_alphanumeric()).collect();
                words.sort_unstable();
                format!("{operation:?} {} {words:?}", request.query)
            }
            Err(refused) => format!("{refused:?}"),
        }
    }

    #[test]
    fn what_is_remembered_is_what_would_be_read() {
        let shape = Shape::read(SDL).expect("a schema");
        let texts = [
            "query A($n: Int, $yes: Boolean) { leads(first: $n) { id } }
             query B($n: Int = 7, $yes: Boolean = true) { leads(first: $n) { id name @skip(if: $yes) } }",
            "query ($n: Int, $yes: Boolean!) { leads(first: $n) { leads(first: $n) { ...F @include(if: $yes) } } }
             fragment F on Lead { id name }",
            "query A($n: ID) { lead(id: $n, a: 1) { id } }",
            "subscription ($n: String) { events(after: $n) { id } }",
            r#"{ lead(id: "\u{1F600}") { id } }"#,
            "{ lead { id }",
            "query A { lead(id: $gone) { id } }",
        ];
        let names = [None, Some("A"), Some("B"), Some("")];
        let variables = [
            json!({}),
            json!({ "n": 5 }),
            json!({ "n": 250, "yes": true }),
            json!({ "n": null, "yes": false }),
            json!({ "n": "x", "other": 1 }),
        ];
        let remembered = Remembered::default();
        // Twice: what was read in the first round is remembered in the second.
        for _ in 0..2 {
            for text in texts {
                for name in names {
                    for variables in &variables {
                        let request = || request(text, name, variables.clone());
                        let afresh = seen(request(), &shape, &Remembered::default());
                        let again = seen(request(), &shape, &remembered);
                        assert_eq!(again, afresh, "{text} {name:?} {variables}");
                    }
                }
            }
        }
        assert!(remembered.documents().last.len() > 20);
    }

    #[test]
    fn what_is_asked_again_is_not_read_again() {
        let shape = Shape::read(SDL).expect("a schema");
        let remembered = Remembered::default();
        let first = |first: u32| {
            request(
                "query ($n: Int) { leads(first: $n) { id } }",
                None,
                json!({ "n": first }),
            )
        };
        assert!(remembered.find(&first(1)).is_none());
        read(&mut first(1), &shape, &remembered).expect("read");
        let known = remembered.find(&first(2)).expect("remembered");
        read(&mut first(2), &shape, &remembered).expect("read");
        let again = remembered.find(&first(3)).expect("remembered");
        assert!(Arc::ptr_eq(&known, &again));
    }

    #[test]
    fn memory_has_bounds() {
        let shape = Shape::read(SDL).expect("a schema");
        let remembered = Remembered::default();
        let state = || {
            let documents = remembered.documents();
            let bytes: usize = documents.last.iter().map(|(_, known)| known.bytes).sum();
            assert_eq!(bytes, documents.bytes, "what is counted is what is there");
            (documents.last.len(), bytes)
        };
        let ask = |text: String| {
            let asked = &mut request(&text, None, json!({}));
            read(asked, &shape, &remembered).expect("read");
        };
        for n in 0..COUNT_MAX + 100 {
            ask(format!("{{ lead(a: {n}) {{ id }} }}"));
        }
        assert_eq!(state().0, COUNT_MAX);
        for n in 0..100 {
            ask(format!(
                "{{ lead(a: {n}) {{ id }} }} #{}",
                "x".repeat(10_000)
            ));
        }
        let (count, bytes) = state();
        assert!(bytes <= BYTES_MAX && count >= 20, "{count} {bytes}");
        // The last ones are there, the first ones are not, and a long one never is.
        let known = |text: String| remembered.find(&request(&text, None, json!({}))).is_some();
        assert!(known(format!(
            "{{ lead(a: 99) {{ id }} }} #{}",
            "x".repeat(10_000)
        )));
        assert!(!known("{ lead(a: 1) { id } }".to_owned()));
        let long = format!("{{ lead {{ id }} }} #{}", "x".repeat(TEXT_MAX));
        ask(long.clone());
        assert!(!known(long));
        let many: serde_json::Map<String, Json> = (0..=GIVEN_MAX)
            .map(|n| (format!("v{n}"), json!(1)))
            .collect();
        let mut asked = request("{ lead { id } }", None, Json::Object(many));
        read(&mut asked, &shape, &remembered).expect("read");
        assert!(remembered.find(&asked).is_none());
    }
}
