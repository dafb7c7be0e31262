//! What an answer looks like: its keys in the document's order, and null in the place of what could
//! not be answered, as far up as the schema says that it cannot be null.
//!
//! The library answers keys in the order in which their fields were done, and leaves out those that
//! failed (GraphQL specification, "Executing Selection Sets" and "Handling Execution Errors").

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, OperationDefinition, OperationType, Selection,
    SelectionSet, Type,
};
use async_graphql::{Name, Positioned, Value, Variables};
use async_graphql_value::Value as Given;

use super::ending;
use super::shape::Shape;

/// The fields of an object, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan(IndexMap<Name, Entry>);

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Its type; unknown for introspection.
    ty: Option<Type>,
    /// Whether it is there only for some types of object.
    is_conditional: bool,
    /// Whether it is an object, or a list of them.
    is_object: bool,
    /// What is below it.
    below: Plan,
}

impl Entry {
    fn arrange(&self, value: &mut Value, has_errors: bool) -> Result<(), IsNull> {
        if !self.is_object {
            return Ok(());
        }
        self.below.value(value, self.ty.as_ref(), has_errors)
    }
}

/// Something that cannot be null is.
struct IsNull;

/// The plan of an operation with these variables, defaults filled in.
pub(super) fn of(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
    variables: &Variables,
    shape: &Shape,
) -> Plan {
    let root = match operation.node.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let planner = Planner {
        document,
        variables,
        shape,
    };
    let mut plan = Plan::default();
    planner.add(
        &mut plan,
        &operation.node.selection_set.node,
        Some(root),
        false,
    );
    plan
}

struct Planner<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    shape: &'a Shape,
}

impl Planner<'_> {
    fn add(&self, plan: &mut Plan, set: &SelectionSet, of: Option<&str>, is_conditional: bool) {
        for selection in &set.items {
            if self.is_left_out(selection.node.directives()) {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    if ending::is_ours(&field.response_key().node) {
                        continue;
                    }
                    let name = field.name.node.as_str();
                    let known = of.and_then(|of| self.shape.field(of, name));
                    let entry = plan.0.entry(field.response_key().node.clone());
                    let entry = entry.or_insert_with(|| Entry {
                        ty: known.map(|known| known.ty.clone()),
                        is_conditional,
                        is_object: !field.selection_set.node.items.is_empty(),
                        below: Plan::default(),
                    });
                    entry.is_conditional &= is_conditional;
                    let below = known.map(|known| known.of.as_str());
                    self.add(&mut entry.below, &field.selection_set.node, below, false);
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref();
                    let on = condition
                        .map(|condition| condition.node.on.node.as_str())
                        .or(of);
                    let narrows = is_conditional || on != of;
                    self.add(plan, &inline.node.selection_set.node, on, narrows);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        let on = Some(fragment.node.type_condition.node.on.node.as_str());
                        let narrows = is_conditional || on != of;
                        self.add(plan, &fragment.node.selection_set.node, on, narrows);
                    }
                }
            }
        }
    }

    fn is_left_out(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().any(|directive| {
            let leaves_out = match directive.node.name.node.as_str() {
                "skip" => true,
                "include" => false,
                _ => return false,
            };
            let given = directive.node.get_argument("if").map(|given| &given.node);
            let holds = match given {
                Some(Given::Boolean(holds)) => Some(*holds),
                Some(Given::Variable(name)) => self.variable(name),
                _ => None,
            };
            holds == Some(leaves_out)
        })
    }

    fn variable(&self, name: &Name) -> Option<bool> {
        match self.variables.get(name) {
            Some(Value::Boolean(holds)) => Some(*holds),
            _ => None,
        }
    }
}

impl Plan {
    /// How many fields it has, on all levels.
    pub(super) fn fields(&self) -> usize {
        let below = self.0.values().map(|entry| entry.below.fields());
        self.0.len() + below.sum::<usize>()
    }

    /// Arranges the data of an answer. Where nothing failed, only the order can be wrong.
    pub fn arrange(&self, data: &mut Value, has_errors: bool) {
        // The library takes an answer without fields for none.
        if *data == Value::Null && !has_errors {
            *data = Value::Object(IndexMap::new());
        }
        if self.object(data, has_errors).is_err() {
            *data = Value::Null;
        }
    }

    fn object(&self, value: &mut Value, has_errors: bool) -> Result<(), IsNull> {
        let Value::Object(fields) = value else {
            return Ok(());
        };
        // Nearly always everything is there and in its place, which is seen without a look-up.
        let is_as_planned = fields.len() == self.0.len() && fields.keys().eq(self.0.keys());
        if is_as_planned {
            return self.below(fields, has_errors);
        }
        let in_order = self.0.keys().filter(|key| fields.contains_key(*key));
        if !in_order.eq(fields.keys()) {
            let mut arranged = IndexMap::with_capacity(fields.len());
            for key in self.0.keys() {
                if let Some(value) = fields.swap_remove(key) {
                    arranged.insert(key.clone(), value);
                }
            }
            *fields = arranged;
        }
        let is_whole = |entry: &Entry, key: &Name| {
            !has_errors || entry.is_conditional || fields.contains_key(key)
        };
        if !self.0.iter().all(|(key, entry)| is_whole(entry, key)) {
            let mut whole = IndexMap::with_capacity(self.0.len());
            for (key, entry) in &self.0 {
                match fields.swap_remove(key) {
                    Some(value) => whole.insert(key.clone(), value),
                    None if entry.is_conditional => None,
                    None if entry.ty.as_ref().is_some_and(|ty| !ty.nullable) => return Err(IsNull),
                    None => whole.insert(key.clone(), Value::Null),
                };
            }
            *fields = whole;
        }
        for (key, value) in fields.iter_mut() {
            if let Some(entry) = self.0.get(key) {
                entry.arrange(value, has_errors)?;
            }
        }
        Ok(())
    }

    /// What is below fields that are these, in this order.
    fn below(&self, fields: &mut IndexMap<Name, Value>, has_errors: bool) -> Result<(), IsNull> {
        let entries = self.0.values().zip(fields.values_mut());
        for (entry, value) in entries {
            entry.arrange(value, has_errors)?;
        }
        Ok(())
    }

    /// A value of a type: an object of this plan, or lists of them.
    fn value(&self, value: &mut Value, ty: Option<&Type>, has_errors: bool) -> Result<(), IsNull> {
        let done = match value {
            // The library takes an object all of whose fields failed for none.
            Value::Null if has_errors => Err(IsNull),
            Value::List(values) => {
                let of = match ty.map(|ty| &ty.base) {
                    Some(BaseType::List(of)) => Some(&**of),
                    Some(BaseType::Named(_)) | None => None,
                };
                values
                    .iter_mut()
                    .try_for_each(|value| self.value(value, of, has_errors))
            }
            _ => self.object(value, has_errors),
        };
        match done {
            Err(IsNull) if ty.is_none_or(|ty| ty.nullable) => {
                *value = Value::Null;
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::super::chosen;
    use super::*;

    const SDL: &str = "type Query { lead: Lead leads: [Lead!]! maybe: [Lead]! node: Node name: String! }
        interface Node { id: ID! } type Lead implements Node { id: ID! name: String person: Person! }
        type Person { id: ID! email: String! }";

    fn arranged(document: &str, data: serde_json::Value, has_errors: bool) -> String {
        let shape = Shape::read(SDL).expect("a schema");
        let document = parse_query(document).expect("GraphQL");
        let operation = chosen(&document, None).expect("one");
        let variables = Variables::from_json(json!({ "yes": true }));
        let plan = of(&document, operation, &variables, &shape);
        let mut data = Value::from_json(data).expect("a value");
        plan.arrange(&mut data, has_errors);
        serde_json::to_string(&data).expect("JSON")
    }

    #[test]
    fn keys_come_in_the_documents_order() {
        let document = "{ b: name lead { person { email id } id } ...F a: name }
            fragment F on Query { leads { ... on Lead { name } id } }";
        let data = json!({
            "a": "1", "leads": [{ "id": 1, "name": "x" }], "lead": { "id": 2, "person": { "id": 3, "email": "e" } }, "b": "2",
        });
        assert_eq!(
            arranged(document, data, false),
            r#"{"b":"2","lead":{"person":{"email":"e","id":3},"id":2},"leads":[{"name":"x","id":1}],"a":"1"}"#
        );
        // The same field twice stands where it stood first.
        let twice = "{ lead { id } name lead { name } }";
        assert_eq!(
            arranged(
                twice,
                json!({ "name": "n", "lead": { "name": "x", "id": 1 } }),
                false
            ),
            r#"{"lead":{"id":1,"name":"x"},"name":"n"}"#
        );
    }

    #[test]
    fn what_failed_is_null_as_far_up_as_it_must_be() {
        let of = |document: &str, data: serde_json::Value| arranged(document, data, true);
        assert_eq!(
            of("{ lead { id } name }", json!({ "lead": { "id": 1 } })),
            "null"
        );
        assert_eq!(
            of("{ lead { id name } }", json!({ "lead": { "id": 1 } })),
            r#"{"lead":{"id":1,"name":null}}"#
        );
        let deep = "{ lead { id person { email } } }";
        assert_eq!(of(deep, json!({ "lead": { "id": 1 } })), r#"{"lead":null}"#);
        assert_eq!(
            of(deep, json!({ "lead": { "id": 1, "person": {} } })),
            r#"{"lead":null}"#
        );
        assert_eq!(
            of(deep, json!({ "lead": { "id": 1, "person": null } })),
            r#"{"lead":null}"#
        );
        assert_eq!(
            of("{ leads { id } }", json!({ "leads": [{ "id": 1 }, null] })),
            "null"
        );
        let lists = json!([{ "id": 1 }, {}]);
        assert_eq!(of("{ leads { id } }", json!({ "leads": lists })), "null");
        assert_eq!(
            of("{ maybe { id } }", json!({ "maybe": lists })),
            r#"{"maybe":[{"id":1},null]}"#
        );
    }

    #[test]
    fn what_need_not_be_there_is_not_missed() {
        let of = |document: &str, data: serde_json::Value| arranged(document, data, true);
        let skipped = "query ($yes: Boolean!) { lead { id @skip(if: $yes) name @include(if: true) person @include(if: false) { id } } }";
        assert_eq!(
            of(skipped, json!({ "lead": { "name": "x" } })),
            r#"{"lead":{"name":"x"}}"#
        );
        let of_type = "{ node { ... on Lead { name person { id } } id } }";
        assert_eq!(
            of(of_type, json!({ "node": { "id": 1 } })),
            r#"{"node":{"id":1}}"#
        );
        assert_eq!(
            of(
                "{ __schema { types { name } } name }",
                json!({ "__schema": { "types": [{ "name": "x" }] }, "name": "n" })
            ),
            r#"{"__schema":{"types":[{"name":"x"}]},"name":"n"}"#
        );
    }
}
