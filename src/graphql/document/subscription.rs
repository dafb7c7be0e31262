//! The root of a subscription, written out: the library does not look for its field in fragments.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::{ConstValue, Value};

use super::{Invalid, chosen, chosen_mut, variables};

/// The type at the root of a subscription.
const ROOT_TYPE: &str = "Subscription";

/// Puts the one field of a subscription at its root, out of the fragments that hold it. The same
/// field several times is one field.
///
/// # Errors
/// Where there is not exactly one, where it is introspection, or where a condition decides whether
/// it is there (GraphQL specification, "Single Root Field").
pub(super) fn write_out_root(
    document: &mut ExecutableDocument,
    name: Option<&str>,
) -> Result<(), Invalid> {
    let set = &chosen(document, name)?.node.selection_set.node;
    let is_plain = matches!(set.items.as_slice(), [one] if matches!(one.node, Selection::Field(_)));
    let mut fields = Vec::new();
    gather(document, set, &mut fields)?;
    let field = fields.into_iter().map(Ok).reduce(merge);
    let field = field.unwrap_or(Err(Invalid::SubscriptionRoot))?;
    if field.node.name.node.starts_with("__") {
        return Err(Invalid::SubscriptionRoot);
    }
    if is_plain {
        return Ok(());
    }
    if let Some(operation) = chosen_mut(document, name) {
        let pos = field.pos;
        let field = Positioned::new(Selection::Field(field), pos);
        operation.node.selection_set.node.items = vec![field];
    }
    variables::keep_what_is_run(document, name);
    Ok(())
}

/// What a subscription follows, and from where on.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// The field.
    pub field: Name,
    /// What it is called in answers.
    pub key: Name,
    /// The fields below it with what they are called in answers, in their order: where these are
    /// nothing but fields without directives, arguments and fields of their own, each once.
    pub leaves: Option<Vec<Leaf>>,
    /// Its argument `after`; none where it is not given or null.
    pub after: Option<ConstValue>,
    /// The variable that stands for `after`.
    pub after_variable: Option<Name>,
}

/// A field that has none below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The field.
    pub field: Name,
    /// What it is called in answers.
    pub key: Name,
}

fn leaves(set: &SelectionSet) -> Option<Vec<Leaf>> {
    let mut leaves: Vec<Leaf> = Vec::with_capacity(set.items.len());
    for item in &set.items {
        let Selection::Field(field) = &item.node else {
            return None;
        };
        let field = &field.node;
        let key = &field.response_key().node;
        let is_plain = field.directives.is_empty()
            && field.arguments.is_empty()
            && field.selection_set.node.items.is_empty();
        if !is_plain || leaves.iter().any(|leaf| leaf.key == *key) {
            return None;
        }
        leaves.push(Leaf {
            field: field.name.node.clone(),
            key: key.clone(),
        });
    }
    Some(leaves)
}

/// The root of a subscription that was written out, with these variables, defaults filled in.
pub(super) fn root(
    operation: &Positioned<OperationDefinition>,
    variables: &Variables,
) -> Option<Root> {
    let selected = operation.node.selection_set.node.items.first()?;
    let Selection::Field(field) = &selected.node else {
        return None;
    };
    let after = field.node.get_argument("after").map(|after| &after.node);
    let after_variable = match after {
        Some(Value::Variable(name)) => Some(name.clone()),
        _ => None,
    };
    let after = after.and_then(|after| {
        let given = |name: Name| variables.get(&name).cloned().ok_or(());
        let resolved = after.clone().into_const_with(given);
        resolved.ok().filter(|after| *after != ConstValue::Null)
    });
    Some(Root {
        field: field.node.name.node.clone(),
        key: field.node.response_key().node.clone(),
        leaves: leaves(&field.node.selection_set.node),
        after,
        after_variable,
    })
}

/// A field that may be refused already.
type Merged = Result<Positioned<Field>, Invalid>;

/// One field of two that ask for the same.
fn merge(one: Merged, other: Merged) -> Merged {
    let (mut one, other) = (one?, other?);
    let key = |field: &Field| field.response_key().node.clone();
    let arguments = |field: &Field| {
        let given = field.arguments.iter();
        let mut given: Vec<_> = given
            .map(|(name, value)| format!("{}: {}", name.node, value.node))
            .collect();
        given.sort();
        given
    };
    let is_same = key(&one.node) == key(&other.node)
        && one.node.name.node == other.node.name.node
        && arguments(&one.node) == arguments(&other.node);
    if !is_same {
        return Err(Invalid::SubscriptionRoot);
    }
    let below = other.node.selection_set.node.items;
    one.node.selection_set.node.items.extend(below);
    Ok(one)
}

fn gather(
    document: &ExecutableDocument,
    set: &SelectionSet,
    fields: &mut Vec<Positioned<Field>>,
) -> Result<(), Invalid> {
    for selection in &set.items {
        let conditions = ["skip", "include"];
        let mut directives = selection.node.directives().iter();
        if directives.any(|directive| conditions.contains(&directive.node.name.node.as_str())) {
            return Err(Invalid::SubscriptionCondition);
        }
        match &selection.node {
            Selection::Field(field) => fields.push(field.clone()),
            Selection::InlineFragment(inline) => {
                let condition = inline.node.type_condition.as_ref();
                if condition.is_some_and(|condition| condition.node.on.node != ROOT_TYPE) {
                    return Err(Invalid::SubscriptionRoot);
                }
                gather(document, &inline.node.selection_set.node, fields)?;
            }
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node);
                // One that is not there is refused when the document is validated.
                if let Some(fragment) = fragment {
                    if fragment.node.type_condition.node.on.node != ROOT_TYPE {
                        return Err(Invalid::SubscriptionRoot);
                    }
                    gather(document, &fragment.node.selection_set.node, fields)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn root(document: &str) -> Result<ExecutableDocument, Invalid> {
        let mut document = parse_query(document).expect("GraphQL");
        write_out_root(&mut document, None).map(|()| document)
    }

    #[test]
    fn the_field_comes_out_of_its_fragments() {
        for document in [
            "subscription { events { id } }",
            "subscription { ...F } fragment F on Subscription { events { id } }",
            "subscription { ... on Subscription { ... { ...F } } } fragment F on Subscription { events { id } }",
            "subscription { ...F ...G } fragment F on Subscription { events { at } } fragment G on Subscription { events { id } }",
            "subscription { events(a: 1, b: 2) { id } events(b: 2, a: 1) { at } }",
        ] {
            let written = root(document).unwrap_or_else(|error| panic!("{document}: {error}"));
            let items = &chosen(&written, None)
                .expect("one")
                .node
                .selection_set
                .node
                .items;
            assert!(
                matches!(items.as_slice(), [one] if matches!(&one.node, Selection::Field(field) if field.node.name.node == "events")),
                "{document}"
            );
            assert!(
                written.fragments.is_empty(),
                "{document}: nothing is left unused"
            );
        }
        let kept = root(
            "subscription { ...F } fragment F on Subscription { events { ...G } } fragment G on E { id }",
        );
        assert_eq!(kept.expect("one field").fragments.len(), 1);
    }

    #[test]
    fn there_is_exactly_one() {
        for document in [
            "subscription { __typename }",
            "subscription { events { id } bulk { id } }",
            "subscription { a: events { id } b: events { id } }",
            "subscription { events(a: 1) { id } events(a: 2) { id } }",
            "subscription { ...F } fragment F on Subscription { a: events { id } b: events { id } }",
            "subscription { ...F } fragment F on Query { events { id } }",
            "subscription { ...Gone }",
        ] {
            assert_eq!(
                root(document).err(),
                Some(Invalid::SubscriptionRoot),
                "{document}"
            );
        }
        let conditional = root("subscription { ... @include(if: true) { events { id } } }");
        assert_eq!(conditional.err(), Some(Invalid::SubscriptionCondition));
    }
}
