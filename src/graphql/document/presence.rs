//! An object of which nothing is selected in the end is an empty object. The library takes it for null,
//! which says that there is none.
//!
//! Where all that is selected of an object may be left out, by a condition or because it is of another
//! type, one field more is asked for. The plan of the answer does not know it, and takes it out again.

use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::{Name, Positioned};

/// The name under which it is asked for, which no document can have.
pub(super) const MARK: &str = "!";

/// Asks for the field where it is needed.
pub(super) fn mark(document: &mut ExecutableDocument) {
    use async_graphql::parser::types::DocumentOperations::{Multiple, Single};
    match &mut document.operations {
        Single(operation) => mark_below(&mut operation.node.selection_set.node),
        Multiple(operations) => {
            for operation in operations.values_mut() {
                mark_below(&mut operation.node.selection_set.node);
            }
        }
    }
    for fragment in document.fragments.values_mut() {
        mark_below(&mut fragment.node.selection_set.node);
    }
}

fn mark_below(set: &mut SelectionSet) {
    for selection in &mut set.items {
        let pos = selection.pos;
        match &mut selection.node {
            // The schema itself is described as it is asked for.
            Selection::Field(field) if field.node.name.node.starts_with("__") => {}
            Selection::Field(field) => {
                let below = &mut field.node.selection_set.node;
                mark_below(below);
                if !below.items.is_empty()
                    && below.items.iter().all(|item| may_be_absent(&item.node))
                {
                    let typename = Field {
                        alias: Some(Positioned::new(Name::new(MARK), pos)),
                        name: Positioned::new(Name::new("__typename"), pos),
                        arguments: Vec::new(),
                        directives: Vec::new(),
                        selection_set: Positioned::default(),
                    };
                    let typename = Selection::Field(Positioned::new(typename, pos));
                    below.items.push(Positioned::new(typename, pos));
                }
            }
            Selection::InlineFragment(inline) => mark_below(&mut inline.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn may_be_absent(selection: &Selection) -> bool {
    match selection {
        Selection::Field(field) => !field.node.directives.is_empty(),
        Selection::InlineFragment(_) | Selection::FragmentSpread(_) => true,
    }
}
