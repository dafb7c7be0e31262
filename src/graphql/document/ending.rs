//! How each mutation of a document ended, asked for with it.
//!
//! Whether a mutation was refused stands in the `userErrors` of its payload, and what it made in the
//! payload's objects, both of which a client need not select. So both are selected with every mutation,
//! under names that no document can have; the audit reads them, and the plan of the answer does not know
//! them.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned};

use super::shape::Shape;

/// Where the refusals are, with their codes.
pub const REFUSALS: &str = "!userErrors";
/// How the names of the objects begin, each with its id.
pub const OBJECT: &str = "!";

/// Whether something was not asked for by the client.
pub(super) fn is_ours(key: &str) -> bool {
    key.starts_with(OBJECT)
}

/// Asks for it.
pub(super) fn mark(document: &mut ExecutableDocument, shape: &Shape) {
    use async_graphql::parser::types::DocumentOperations::{Multiple, Single};
    let operations: Vec<_> = match &mut document.operations {
        Single(operation) => vec![operation],
        Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        if operation.node.ty == OperationType::Mutation {
            mark_root(&mut operation.node.selection_set.node, shape);
        }
    }
    for fragment in document.fragments.values_mut() {
        if fragment.node.type_condition.node.on.node == ROOT {
            mark_root(&mut fragment.node.selection_set.node, shape);
        }
    }
}

const ROOT: &str = "Mutation";

fn mark_root(set: &mut SelectionSet, shape: &Shape) {
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                let name = field.node.name.node.as_str();
                let Some(payload) = shape.field(ROOT, name).map(|field| &field.of) else {
                    continue;
                };
                let pos = field.pos;
                let asked = shape.fields_of(payload).filter_map(|(name, field)| {
                    let below = if name == "userErrors" {
                        "code"
                    } else if !field.is_list && shape.field(&field.of, "id").is_some() {
                        "id"
                    } else {
                        return None;
                    };
                    Some(asked(name, below, pos))
                });
                field.node.selection_set.node.items.extend(asked);
            }
            Selection::InlineFragment(inline) => {
                mark_root(&mut inline.node.selection_set.node, shape);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn asked(name: &str, below: &str, pos: Pos) -> Positioned<Selection> {
    let field = |alias: Option<String>, name: &str, items| {
        let field = Field {
            alias: alias.map(|alias| Positioned::new(Name::new(alias), pos)),
            name: Positioned::new(Name::new(name), pos),
            arguments: Vec::new(),
            directives: Vec::new(),
            selection_set: Positioned::new(SelectionSet { items }, pos),
        };
        Positioned::new(Selection::Field(Positioned::new(field, pos)), pos)
    };
    let below = field(None, below, Vec::new());
    field(Some(format!("{OBJECT}{name}")), name, vec![below])
}
