//! How many objects an answer has at most: pages multiply what is below them.

use async_graphql::Variables;
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Positioned, Value as Given};
use async_graphql_value::Value;

use super::TooMuch;
use super::ending;
use super::shape::Shape;
use crate::graphql::page::{PAGE_DEFAULT, PAGE_MAX};

/// The most objects of an answer, by estimate.
pub const COST_MAX: u64 = 30_000;
/// How many entries a list is taken to have that is not paged: the steps of a sequence, the errors
/// of an input.
const LIST: u64 = 10;
/// Lists that are taken to have another number of entries: the most paths of a preview, and the steps
/// on each, of which a long one has some twenty; the most days of a forecast; the most of a sample, and of the
/// outcomes that are counted.
const LISTS: [(&str, &str, u64); 6] = [
    ("Forecast", "days", 90),
    ("FlowPreview", "paths", 64),
    ("PreviewPath", "entries", 20),
    ("PeopleSelected", "sample", 50),
    ("LeadsSelected", "sample", 50),
    ("BulkOperation", "outcomeCounts", 20),
];
/// Fields that cost more to answer than the objects below them.
const WORK: [(&str, &str, u64); 2] = [
    ("Sequence", "forecast", 1_000),
    ("Sequence", "preview", 1_000),
];
/// How many sequences a token may be limited to.
const SEQUENCES: u64 = 100;
/// How often the lists of a type's parts may be asked for inside of each other: once is the usual
/// introspection query.
const INTROSPECTION_LEVELS_MAX: u32 = 2;
/// How many fields may stand in introspection; the usual query has about 120, fragments written out.
const INTROSPECTION_FIELDS_MAX: u64 = 300;

/// The cost of an operation with these variables, defaults filled in.
///
/// # Errors
/// Where it is more than is given at once.
pub(super) fn of(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
    variables: &Variables,
    shape: &Shape,
) -> Result<u64, TooMuch> {
    let operation = &operation.node;
    let root = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let mut estimate = Estimate {
        document,
        variables,
        shape,
        introspected: 0,
    };
    let cost = estimate.set(&operation.selection_set.node, root, 1)?;
    if estimate.introspected > INTROSPECTION_FIELDS_MAX {
        return Err(TooMuch::Introspection);
    }
    if cost > COST_MAX {
        return Err(TooMuch::Cost { cost });
    }
    Ok(cost)
}

/// What is stated of a field in a list.
fn stated(list: &[(&str, &str, u64)], of: &str, name: &str) -> Option<u64> {
    let mut entries = list.iter();
    let entry = entries.find(|entry| (entry.0, entry.1) == (of, name));
    entry.map(|(_, _, number)| *number)
}

struct Estimate<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    shape: &'a Shape,
    /// The fields of introspection that were met.
    introspected: u64,
}

impl Estimate<'_> {
    /// The objects below one of the type `of`. Where that is a page, its lists have `page` entries.
    fn set(&mut self, set: &SelectionSet, of: &str, page: u64) -> Result<u64, TooMuch> {
        let mut sum = 0_u64;
        for selection in &set.items {
            let cost = match &selection.node {
                // The client has not asked for it.
                Selection::Field(field) if ending::is_ours(&field.node.response_key().node) => 0,
                Selection::Field(field) => self.field(&field.node, of, page)?,
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref();
                    let on = condition.map_or(of, |condition| condition.node.on.node.as_str());
                    self.set(&inline.node.selection_set.node, on, page)?
                }
                Selection::FragmentSpread(spread) => {
                    match self.document.fragments.get(&spread.node.fragment_name.node) {
                        Some(fragment) => {
                            let on = &fragment.node.type_condition.node.on.node;
                            self.set(&fragment.node.selection_set.node, on, page)?
                        }
                        None => 0,
                    }
                }
            };
            sum = sum.saturating_add(cost);
        }
        Ok(sum)
    }

    fn field(&mut self, field: &Field, of: &str, page: u64) -> Result<u64, TooMuch> {
        let below = &field.selection_set.node;
        let name = field.name.node.as_str();
        if name.starts_with("__") {
            self.introspection(below, 0)?;
            return Ok(0);
        }
        // A field that is not there is refused when the document is validated.
        let Some(known) = self.shape.field(of, name) else {
            return Ok(0);
        };
        if below.items.is_empty() {
            return Ok(0);
        }
        let asked = if known.is_paged {
            Some(self.page_of(field))
        } else {
            None
        };
        let entries = match (known.is_list, asked) {
            (false, _) => 1,
            (true, Some(asked)) => asked,
            (true, None) if self.shape.is_connection(of) => page,
            (true, None) if (of, name) == ("ApiToken", "sequences") => SEQUENCES,
            (true, None) => match stated(&LISTS, of, name) {
                Some(entries) => entries,
                None => self.ids_of(field).unwrap_or(LIST),
            },
        };
        let of_each = self.set(below, &known.of, asked.unwrap_or(1))?;
        let objects = entries.saturating_mul(of_each.saturating_add(1));
        Ok(objects.saturating_add(stated(&WORK, of, name).unwrap_or(0)))
    }

    /// How many entries a paged field may answer; a number out of bounds is refused by the field.
    fn page_of(&self, field: &Field) -> u64 {
        let asked = ["first", "last"].into_iter().filter_map(|name| {
            let value = &field.get_argument(name)?.node;
            match value {
                Value::Number(number) => number.as_u64(),
                Value::Variable(name) => match self.variable(name)? {
                    Given::Number(number) => number.as_u64(),
                    _ => None,
                },
                _ => None,
            }
        });
        asked.max().unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)
    }

    /// How many objects are asked for by their ids.
    fn ids_of(&self, field: &Field) -> Option<u64> {
        let count = match &field.get_argument("ids")?.node {
            Value::List(ids) => ids.len(),
            Value::Variable(name) => match self.variable(name)? {
                Given::List(ids) => ids.len(),
                _ => 1,
            },
            _ => 1,
        };
        u64::try_from(count).ok()
    }

    fn variable(&self, name: &str) -> Option<&Given> {
        self.variables.get(name)
    }

    /// Introspection is bounded by its fields, and by how often the lists of a type's parts stand
    /// in each other: each such level multiplies the answer.
    fn introspection(&mut self, set: &SelectionSet, levels: u32) -> Result<(), TooMuch> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    let is_list = matches!(
                        name,
                        "fields" | "interfaces" | "possibleTypes" | "inputFields"
                    );
                    let levels = levels + u32::from(is_list);
                    self.introspected += 1;
                    if levels > INTROSPECTION_LEVELS_MAX {
                        return Err(TooMuch::Introspection);
                    }
                    self.introspection(&field.node.selection_set.node, levels)?;
                }
                Selection::InlineFragment(inline) => {
                    self.introspection(&inline.node.selection_set.node, levels)?;
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) =
                        self.document.fragments.get(&spread.node.fragment_name.node)
                    {
                        self.introspection(&fragment.node.selection_set.node, levels)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::super::chosen;
    use super::super::variables::fill_in_defaults;
    use super::*;

    fn cost(document: &str, variables: serde_json::Value) -> Result<u64, TooMuch> {
        let shape = Shape::read(
            "type Query { sequence: Sequence leads(first: Int): LeadConnection! events(first: Int): [Lead!]! lead: Lead nodes(ids: [ID!]!): [Lead]! }
             type LeadConnection { nodes: [Lead!]! edges: [LeadEdge!]! pageInfo: PageInfo! }
             type LeadEdge { node: Lead! }
             type PageInfo { endCursor: String }
             type Lead { id: ID! tags: [String!]! steps: [Step!]! person: Person leads(first: Int): LeadConnection! }
             type Step { key: String } type Person { id: ID! }
             type Sequence { preview: FlowPreview! } type FlowPreview { paths: [PreviewPath!]! pathsLeftOut: Int! }
             type PreviewPath { entries: [Step!]! }",
        );
        let document = parse_query(document).expect("GraphQL");
        let operation = chosen(&document, None).expect("one");
        let mut variables = Variables::from_json(variables);
        fill_in_defaults(&document, None, &mut variables);
        of(&document, operation, &variables, &shape.expect("a schema"))
    }

    #[test]
    fn pages_multiply_what_is_below_them() {
        for (document, expected) in [
            ("{ lead { id tags } }", 1),
            ("{ lead { person { id } steps { key } } }", 12),
            ("{ leads { pageInfo { endCursor } } }", 2),
            ("{ leads(first: 3) { nodes { id person { id } } } }", 7),
            ("{ leads(first: 3) { edges { node { id } } } }", 7),
            ("{ leads { nodes { id } } }", 51),
            ("{ events(first: 4) { person { id } } }", 8),
            ("{ nodes(ids: [1, 2, 3]) { id } }", 3),
            (
                "{ leads(first: 10) { nodes { leads(first: 10) { nodes { id } } } } }",
                121,
            ),
            (
                "{ ...F } fragment F on Query { leads(first: 3) { ... { nodes { id } } } }",
                4,
            ),
            ("{ sequence { preview { pathsLeftOut } } }", 1_002),
            (
                "{ sequence { preview { paths { entries { key } } } } }",
                1_002 + 64 * (1 + 20),
            ),
            ("{ __typename lead { __typename } }", 1),
            ("{ nothing { id } }", 0),
        ] {
            assert_eq!(cost(document, json!({})), Ok(expected), "{document}");
        }
        let asked = "query ($n: Int = 7, $i: [ID!]!) { leads(first: $n) { nodes { id } } nodes(ids: $i) { id } }";
        assert_eq!(cost(asked, json!({ "i": [1, 2] })), Ok(10));
        assert_eq!(cost(asked, json!({ "i": [], "n": 100 })), Ok(101));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let nested = "{ leads(first: 100) { nodes { leads(first: 100) { nodes { leads(first: 100) { nodes { id } } } } } } }";
        assert!(matches!(cost(nested, json!({})), Err(TooMuch::Cost { cost }) if cost > 1_000_000));
        let two = "{ leads(first: 100) { nodes { leads(first: 100) { nodes { id } } } } }";
        assert_eq!(cost(two, json!({})), Ok(10_201));
    }

    #[test]
    fn introspection_is_bounded() {
        let levels = |n: usize| {
            let open = "fields { type { ".repeat(n);
            format!(
                "{{ __schema {{ types {{ {open} name {} }} }} }}",
                "} }".repeat(n)
            )
        };
        assert_eq!(cost(&levels(2), json!({})), Ok(0));
        assert_eq!(cost(&levels(3), json!({})), Err(TooMuch::Introspection));
        let wide = format!("{{ __schema {{ types {{ {} }} }} }}", "name ".repeat(301));
        assert_eq!(cost(&wide, json!({})), Err(TooMuch::Introspection));
    }
}
