//! How much a document stands for once its fragments are written out, counted without writing them
//! out: each fragment is weighed once.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::Positioned;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, OperationType, Selection, SelectionSet,
};

use super::{Invalid, Refused, TooMuch};

/// The deepest selection; the usual introspection query has 15 levels.
pub const DEPTH_MAX: u32 = 15;
/// The most levels of fields and fragments together: what follows a document recurses by them.
pub const LEVELS_MAX: usize = 60;
/// The most fields of an operation.
pub const FIELDS_MAX: u32 = 2_000;
/// The most aliases of an operation.
pub const ALIASES_MAX: u32 = 100;
/// The most directives in one place.
pub const DIRECTIVES_MAX: usize = 10;
/// The most directives of an operation.
pub const ALL_DIRECTIVES_MAX: u32 = 200;
/// The most fields at the root of a mutation.
pub const ROOT_MUTATIONS_MAX: u32 = 10;
/// The most operations of a document.
pub const OPERATIONS_MAX: usize = 50;

/// What a selection stands for.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    fields: u32,
    /// Fields that are not inside of others.
    roots: u32,
    aliases: u32,
    directives: u32,
    /// Levels of fields.
    depth: u32,
    /// Levels of fields and fragments.
    levels: usize,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.roots = self.roots.saturating_add(other.roots);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.depth = self.depth.max(other.depth);
        self.levels = self.levels.max(other.levels);
    }

    fn check(self) -> Result<Self, TooMuch> {
        let bounds = [
            (self.fields > FIELDS_MAX, TooMuch::Fields),
            (self.aliases > ALIASES_MAX, TooMuch::Aliases),
            (self.directives > ALL_DIRECTIVES_MAX, TooMuch::Directives),
            (self.depth > DEPTH_MAX, TooMuch::Depth),
            (self.levels > LEVELS_MAX, TooMuch::Levels),
        ];
        match bounds.into_iter().find(|(exceeded, _)| *exceeded) {
            Some((_, too_much)) => Err(too_much),
            None => Ok(self),
        }
    }
}

/// Checks every operation and every fragment of a document, also those that are not run: they are
/// validated as well.
///
/// # Errors
/// What is too much, or the fragment that holds itself.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), Refused> {
    if document.operations.iter().len() > OPERATIONS_MAX {
        return Err(TooMuch::Operations.into());
    }
    let mut scales = Scales {
        document,
        known: HashMap::new(),
    };
    for name in document.fragments.keys() {
        scales.fragment(name, 0)?;
    }
    for (_, operation) in document.operations.iter() {
        let variables = &operation.node.variable_definitions;
        let mut weight = scales.set(&operation.node.selection_set.node, 0)?;
        weight.directives += directives(&operation.node.directives)?;
        for variable in variables {
            weight.directives += directives(&variable.node.directives)?;
        }
        weight.check()?;
        if operation.node.ty == OperationType::Mutation && weight.roots > ROOT_MUTATIONS_MAX {
            return Err(TooMuch::RootMutations.into());
        }
    }
    Ok(())
}

fn directives(directives: &[Positioned<Directive>]) -> Result<u32, TooMuch> {
    if directives.len() > DIRECTIVES_MAX {
        return Err(TooMuch::Directives);
    }
    u32::try_from(directives.len()).map_err(|_| TooMuch::Directives)
}

/// What is known of a fragment.
enum Known {
    /// It is being weighed: whoever meets it again goes in a circle.
    Open,
    Weighed(Weight),
}

struct Scales<'a> {
    document: &'a ExecutableDocument,
    known: HashMap<&'a Name, Known>,
}

impl<'a> Scales<'a> {
    /// The weight of a fragment, which is met `at` so many levels below where weighing began. That
    /// bounds how deep this recurses, whatever is known already.
    fn fragment(&mut self, name: &'a Name, at: usize) -> Result<Weight, Refused> {
        match self.known.get(name) {
            Some(Known::Open) => return Err(Invalid::Cycle(name.clone()).into()),
            Some(Known::Weighed(weight)) => return Ok(*weight),
            None => {}
        }
        // One that is not there is refused when the document is validated.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Weight::default());
        };
        self.known.insert(name, Known::Open);
        let mut weight = self.set(&fragment.node.selection_set.node, at)?;
        weight.directives += directives(&fragment.node.directives)?;
        self.known.insert(name, Known::Weighed(weight.check()?));
        Ok(weight)
    }

    fn set(&mut self, set: &'a SelectionSet, at: usize) -> Result<Weight, Refused> {
        if at > LEVELS_MAX {
            return Err(TooMuch::Levels.into());
        }
        let mut sum = Weight::default();
        for selection in &set.items {
            let mut weight = match &selection.node {
                Selection::Field(field) => {
                    let below = self.set(&field.node.selection_set.node, at + 1)?;
                    Weight {
                        fields: below.fields.saturating_add(1),
                        roots: 1,
                        aliases: below.aliases + u32::from(field.node.alias.is_some()),
                        depth: below.depth + 1,
                        ..below
                    }
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, at + 1)?
                }
                Selection::InlineFragment(inline) => {
                    self.set(&inline.node.selection_set.node, at + 1)?
                }
            };
            weight.levels += 1;
            weight.directives += directives(selection.node.directives())?;
            sum.add(weight);
            // Stops where it is too much, and keeps the sums small.
            sum.check()?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn checked(document: &str) -> Result<(), Refused> {
        check(&parse_query(document).expect("GraphQL"))
    }

    fn too_much(document: &str) -> TooMuch {
        match checked(document) {
            Err(Refused::TooMuch(too_much)) => too_much,
            other => panic!("{other:?}"),
        }
    }

    /// Fragments of which each spreads the next one `width` times.
    fn bomb(count: usize, width: usize) -> String {
        let fragments = (0..count).map(|n| {
            let below = if n + 1 == count {
                "id".to_owned()
            } else {
                format!("...F{} ", n + 1).repeat(width)
            };
            format!("fragment F{n} on Query {{ {below} }}")
        });
        format!("{{ ...F0 }} {}", fragments.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn fragments_count_as_what_they_stand_for() {
        assert_eq!(checked(&bomb(10, 2)), Ok(()));
        assert_eq!(too_much(&bomb(12, 2)), TooMuch::Fields);
        assert_eq!(too_much(&bomb(28, 2)), TooMuch::Fields);
        assert_eq!(too_much(&bomb(50, 40)), TooMuch::Fields);
        assert_eq!(checked(&bomb(59, 1)), Ok(()));
        assert_eq!(too_much(&bomb(60, 1)), TooMuch::Levels);
        assert_eq!(too_much(&bomb(4_000, 1)), TooMuch::Levels);
    }

    #[test]
    fn a_fragment_that_holds_itself_is_found_wherever_it_is() {
        for document in [
            "{ ...A } fragment A on Query { ...A }",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { x { ...A } }",
            "{ id } fragment A on Query { ...B } fragment B on Query { ... on Query { ...A } }",
        ] {
            let refused = checked(document);
            assert!(
                matches!(refused, Err(Refused::Invalid(Invalid::Cycle(_)))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn each_bound_counts_what_it_says() {
        let deep = |n: usize| format!("{}{}", "{ a ".repeat(n), "}".repeat(n));
        assert_eq!(checked(&deep(15)), Ok(()));
        assert_eq!(too_much(&deep(16)), TooMuch::Depth);
        let inline = |n: usize| format!("{{ {} a {} }}", "... {".repeat(n), "}".repeat(n));
        assert_eq!(checked(&inline(59)), Ok(()));
        assert_eq!(too_much(&inline(60)), TooMuch::Levels);
        let aliases = |n: usize| format!("{{ {} }}", "x: a ".repeat(n));
        assert_eq!(checked(&aliases(100)), Ok(()));
        assert_eq!(too_much(&aliases(101)), TooMuch::Aliases);
        let twice = "{ ...F ...F } fragment F on Query { ".to_owned() + &"x: a ".repeat(51) + "}";
        assert_eq!(too_much(&twice), TooMuch::Aliases);
        let mutations = |n: usize| {
            format!(
                "mutation {{ ...F }} fragment F on Mutation {{ {} }}",
                "a ".repeat(n)
            )
        };
        assert_eq!(checked(&mutations(10)), Ok(()));
        assert_eq!(too_much(&mutations(11)), TooMuch::RootMutations);
        let many = "@x ".repeat(11);
        for document in [
            format!("{{ a {many} }}"),
            format!("query {many} {{ a }}"),
            format!("{{ ...F {many} }} fragment F on Query {{ a }}"),
            format!("{{ ...F }} fragment F on Query {many} {{ a }}"),
            format!("{{ ... {many} {{ a }} }}"),
            format!("query ($x: Int {many}) {{ a }}"),
            format!("{{ {} }}", "a @x @x ".repeat(101)),
        ] {
            assert_eq!(too_much(&document), TooMuch::Directives, "{document}");
        }
        let operations = |n: usize| {
            (0..n)
                .map(|n| format!("query Q{n} {{ a }}"))
                .collect::<String>()
        };
        assert_eq!(checked(&operations(50)), Ok(()));
        assert_eq!(too_much(&operations(51)), TooMuch::Operations);
    }
}
