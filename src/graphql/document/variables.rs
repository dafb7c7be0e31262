//! Variables that a request does not give: an argument or an input field that one stands for is left
//! out, as the specification has it. The library would take it for null, and an update would then
//! empty what it does not mention.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition,
    OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::Value;

use super::{Invalid, chosen, chosen_mut};

/// Refuses a variable that the operation does not define, wherever it stands: the library does not
/// look into the directives of every field.
///
/// # Errors
/// The variable that is not defined.
pub(super) fn check_defined(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
) -> Result<(), Invalid> {
    let mut reached = HashSet::new();
    let set = &operation.selection_set.node;
    reach(set, &document.fragments, &mut reached);
    let mut names = HashSet::new();
    of_directives(&operation.directives, &mut names);
    of_set(set, &mut names);
    for name in &reached {
        if let Some(fragment) = document.fragments.get(name) {
            of_directives(&fragment.node.directives, &mut names);
            of_set(&fragment.node.selection_set.node, &mut names);
        }
    }
    let is_defined = |name: &Name| {
        let mut definitions = operation.variable_definitions.iter();
        definitions.any(|definition| definition.node.name.node == *name)
    };
    match names.into_iter().find(|name| !is_defined(name)) {
        Some(name) => Err(Invalid::UndefinedVariable(name)),
        None => Ok(()),
    }
}

/// Gives the variables that are not given, and have a default, their defaults: the library does not
/// look there for a condition such as `@include(if: $details)`.
pub(super) fn fill_in_defaults(
    document: &ExecutableDocument,
    name: Option<&str>,
    given: &mut Variables,
) {
    let Ok(operation) = chosen(document, name) else {
        return;
    };
    for variable in &operation.node.variable_definitions {
        let variable = &variable.node;
        if let Some(default) = &variable.default_value {
            let given = given.entry(variable.name.node.clone());
            given.or_insert_with(|| default.node.clone());
        }
    }
}

/// Leaves out arguments and input fields whose variable is optional, has no default and is not
/// given (GraphQL specification, "Coercing Field Arguments" and "Input Objects").
pub(super) fn leave_out_absent(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    given: &Variables,
) {
    let Ok(operation) = chosen(document, name) else {
        return;
    };
    let definitions = operation.node.variable_definitions.iter();
    let absent: HashSet<Name> = definitions
        .map(|definition| &definition.node)
        .filter(|variable| variable.var_type.node.nullable && variable.default_value.is_none())
        .filter(|variable| !given.contains_key(&variable.name.node))
        .map(|variable| variable.name.node.clone())
        .collect();
    if absent.is_empty() {
        return;
    }
    let before = mentioned(document);
    if before.is_disjoint(&absent) {
        return;
    }
    // What is changed below fits this operation's variables alone.
    keep_what_is_run(document, name);
    if let Some(operation) = chosen_mut(document, name) {
        leave_out(&mut operation.node.selection_set.node, &absent);
    }
    for fragment in document.fragments.values_mut() {
        leave_out(&mut fragment.node.selection_set.node, &absent);
    }
    // What was mentioned and is no more would be refused as unused.
    let after = mentioned(document);
    if let Some(operation) = chosen_mut(document, name) {
        operation.node.variable_definitions.retain(|definition| {
            let name = &definition.node.name.node;
            !(absent.contains(name) && before.contains(name) && !after.contains(name))
        });
    }
}

fn leave_out(set: &mut SelectionSet, absent: &HashSet<Name>) {
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                let Field {
                    arguments,
                    selection_set,
                    ..
                } = &mut field.node;
                arguments.retain(|(_, value)| !is_absent(&value.node, absent));
                for (_, value) in arguments {
                    prune(&mut value.node, absent);
                }
                leave_out(&mut selection_set.node, absent);
            }
            Selection::InlineFragment(inline) => {
                leave_out(&mut inline.node.selection_set.node, absent);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn is_absent(value: &Value, absent: &HashSet<Name>) -> bool {
    matches!(value, Value::Variable(name) if absent.contains(name))
}

/// An absent entry of a list stays: there it is null.
fn prune(value: &mut Value, absent: &HashSet<Name>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !is_absent(value, absent));
            fields.values_mut().for_each(|value| prune(value, absent));
        }
        Value::List(values) => values.iter_mut().for_each(|value| prune(value, absent)),
        _ => {}
    }
}

/// The variables that anything in a document mentions.
fn mentioned(document: &ExecutableDocument) -> HashSet<Name> {
    let mut names = HashSet::new();
    for (_, operation) in document.operations.iter() {
        of_directives(&operation.node.directives, &mut names);
        of_set(&operation.node.selection_set.node, &mut names);
    }
    for fragment in document.fragments.values() {
        of_directives(&fragment.node.directives, &mut names);
        of_set(&fragment.node.selection_set.node, &mut names);
    }
    names
}

/// Whether variables decide anything about which fields an answer has: one stands in a directive.
pub(super) fn decide(document: &ExecutableDocument) -> bool {
    let mut names = HashSet::new();
    for (_, operation) in document.operations.iter() {
        of_directives_below(&operation.node.selection_set.node, &mut names);
    }
    for fragment in document.fragments.values() {
        of_directives_below(&fragment.node.selection_set.node, &mut names);
    }
    !names.is_empty()
}

fn of_directives_below(set: &SelectionSet, names: &mut HashSet<Name>) {
    for selection in &set.items {
        of_directives(selection.node.directives(), names);
        match &selection.node {
            Selection::Field(field) => of_directives_below(&field.node.selection_set.node, names),
            Selection::InlineFragment(inline) => {
                of_directives_below(&inline.node.selection_set.node, names);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn of_set(set: &SelectionSet, names: &mut HashSet<Name>) {
    for selection in &set.items {
        of_directives(selection.node.directives(), names);
        match &selection.node {
            Selection::Field(field) => {
                let arguments = field.node.arguments.iter();
                arguments.for_each(|(_, value)| of_value(&value.node, names));
                of_set(&field.node.selection_set.node, names);
            }
            Selection::InlineFragment(inline) => of_set(&inline.node.selection_set.node, names),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn of_directives(directives: &[Positioned<Directive>], names: &mut HashSet<Name>) {
    for directive in directives {
        let arguments = directive.node.arguments.iter();
        arguments.for_each(|(_, value)| of_value(&value.node, names));
    }
}

fn of_value(value: &Value, names: &mut HashSet<Name>) {
    match value {
        Value::Variable(name) => {
            names.insert(name.clone());
        }
        Value::Object(fields) => fields.values().for_each(|value| of_value(value, names)),
        Value::List(values) => values.iter().for_each(|value| of_value(value, names)),
        _ => {}
    }
}

/// Drops what is not run: the other operations, and fragments that this one does not reach.
pub(super) fn keep_what_is_run(document: &mut ExecutableDocument, name: Option<&str>) {
    if let DocumentOperations::Multiple(operations) = &mut document.operations
        && let Some(name) = name
    {
        operations.retain(|other, _| other == name);
    }
    let mut reached = HashSet::new();
    if let Ok(operation) = chosen(document, name) {
        reach(
            &operation.node.selection_set.node,
            &document.fragments,
            &mut reached,
        );
    }
    document.fragments.retain(|name, _| reached.contains(name));
}

fn reach(
    set: &SelectionSet,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
    reached: &mut HashSet<Name>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                reach(&field.node.selection_set.node, fragments, reached);
            }
            Selection::InlineFragment(inline) => {
                reach(&inline.node.selection_set.node, fragments, reached);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if reached.insert(name.clone())
                    && let Some(fragment) = fragments.get(name)
                {
                    reach(&fragment.node.selection_set.node, fragments, reached);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::{Value as Json, json};

    use super::*;

    /// The arguments of the one field, and the variables that are left.
    fn left(document: &str, given: Json) -> (String, Vec<String>) {
        let mut document = parse_query(document).expect("GraphQL");
        leave_out_absent(&mut document, None, &Variables::from_json(given));
        let operation = &chosen(&document, None).expect("one").node;
        let set = match document.fragments.values().next() {
            Some(fragment) => &fragment.node.selection_set.node,
            None => &operation.selection_set.node,
        };
        let Some(Selection::Field(field)) = set.items.first().map(|item| &item.node) else {
            panic!("a field");
        };
        let arguments = field.node.arguments.iter();
        let arguments: Vec<String> = arguments
            .map(|(name, value)| format!("{}: {}", name.node, value.node))
            .collect();
        let variables = operation.variable_definitions.iter();
        (
            arguments.join(", "),
            variables
                .map(|variable| variable.node.name.node.to_string())
                .collect(),
        )
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        let update =
            "mutation ($a: String, $b: String) { f(input: { id: 1, a: $a, in: { b: $b } }) }";
        assert_eq!(
            left(update, json!({})),
            ("input: {id: 1, in: {}}".into(), vec![])
        );
        assert_eq!(
            left(update, json!({ "a": null })),
            ("input: {id: 1, a: $a, in: {}}".into(), vec!["a".to_owned()])
        );
        let argument = "query ($a: Int, $b: Int) { f(a: $a, b: $b) }";
        assert_eq!(
            left(argument, json!({ "b": 1 })),
            ("b: $b".into(), vec!["b".to_owned()])
        );
        let fragment = "query ($a: Int) { ...F } fragment F on Query { f(a: $a) }";
        assert_eq!(left(fragment, json!({})), (String::new(), vec![]));
    }

    #[test]
    fn everything_else_stays() {
        for (document, arguments, variables) in [
            // A default, an entry of a list, what must be given, what is never used.
            ("query ($a: Int = 1) { f(a: $a) }", "a: $a", vec!["a"]),
            ("query ($a: Int) { f(a: [$a]) }", "a: [$a]", vec!["a"]),
            ("query ($a: Int!) { f(a: $a) }", "a: $a", vec!["a"]),
            ("query ($a: Int) { f }", "", vec!["a"]),
            ("query ($a: Int, $b: Int) { f(b: $b) }", "", vec!["a"]),
            ("query ($a: Int) { f(a: $a) @x(y: $a) }", "", vec!["a"]),
        ] {
            let variables: Vec<String> = variables.into_iter().map(str::to_owned).collect();
            assert_eq!(
                left(document, json!({})),
                (arguments.to_owned(), variables),
                "{document}"
            );
        }
    }

    #[test]
    fn a_variable_must_be_defined_wherever_it_stands() {
        let checked = |text: &str| {
            let document = parse_query(text).expect("GraphQL");
            let operation = chosen(&document, Some("A")).expect("an operation");
            check_defined(&document, &operation.node)
        };
        for text in [
            "query A { __typename @skip(if: $x) }",
            "query A { f(a: [{ b: $x }]) }",
            "query A @d(a: $x) { f }",
            "query A { ...F } fragment F on Query { ... @include(if: $x) { f } }",
        ] {
            assert_eq!(
                checked(text),
                Err(Invalid::UndefinedVariable(Name::new("x"))),
                "{text}"
            );
        }
        let apart = "query A { f } query B($x: Int) { ...F } fragment F on Query { f(a: $x) }";
        assert_eq!(checked(apart), Ok(()));
        assert_eq!(checked("query A($x: Boolean!) { f @skip(if: $x) }"), Ok(()));
    }

    #[test]
    fn the_other_operations_do_not_get_in_the_way() {
        let text = "query A($a: Int) { ...F } query B($a: Int) { ...F ...G }
                    fragment F on Query { f(a: $a) } fragment G on Query { g }";
        let mut document = parse_query(text).expect("GraphQL");
        leave_out_absent(&mut document, Some("A"), &Variables::default());
        assert_eq!(document.operations.iter().len(), 1);
        assert_eq!(document.fragments.len(), 1);
    }
}
