//! What is shown promptly is what the library shows, and what is said of fields is so.

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, TypeKind, TypeSystemDefinition};
use async_graphql::{
    EmptyMutation, EmptySubscription, ID, Object, PathSegment, Request, Result, Schema,
};
use proptest::prelude::*;

use super::*;
use crate::graphql::bulk::BulkOutcome;
use crate::graphql::event::ExecutionEvent;
use crate::graphql::execution::Execution;
use crate::graphql::flow::Step;
use crate::graphql::lead::Lead;
use crate::graphql::page::PageInfo;
use crate::graphql::person::Person;
use crate::graphql::sender::Sender;
use crate::graphql::sequence::{Sequence, SequenceVersion};
use crate::graphql::token::{ApiToken, TokenUse};

struct Toy(usize);

#[Object]
impl Toy {
    async fn id(&self) -> ID {
        ID(format!("toy_{}", self.0))
    }

    async fn name(&self) -> Option<&str> {
        (!self.0.is_multiple_of(3)).then_some("a toy")
    }

    /// Fails for some.
    async fn price(&self) -> Result<i32> {
        if self.0.is_multiple_of(2) {
            return Err("no price".into());
        }
        Ok(7)
    }

    /// Is not ready at once, though it is said to be.
    async fn late(&self) -> i32 {
        tokio::task::yield_now().await;
        1
    }

    /// Waits, and fails for some.
    async fn slow(&self) -> Result<i32> {
        tokio::task::yield_now().await;
        if self.0 == 1 {
            return Err("too slow".into());
        }
        Ok(2)
    }

    async fn parts(&self, n: usize) -> Vec<Promptly<Self>> {
        (0..n.min(3))
            .map(|n| Promptly(Self(self.0 + n + 1)))
            .collect()
    }

    async fn inner(&self) -> Option<Promptly<Self>> {
        tokio::task::yield_now().await;
        (self.0 < 5).then(|| Promptly(Self(self.0 + 1)))
    }
}

impl Prompt for Toy {
    const AT_ONCE: &'static [&'static str] = &["id", "name", "price", "late"];
}

struct Shelf;

#[Object]
impl Shelf {
    async fn by_library(&self) -> Vec<Toy> {
        (0..4).map(Toy).collect()
    }

    async fn promptly(&self) -> Vec<Promptly<Toy>> {
        (0..4).map(|n| Promptly(Toy(n))).collect()
    }

    async fn together(&self) -> Prompts<Toy> {
        Prompts((0..4).map(Toy).collect())
    }
}

/// The data and the errors of `{ field { … } }`, the errors sorted and without their places.
fn shown(field: &str, selection: &str, with_patterns: bool) -> (Value, Vec<String>) {
    let schema = Schema::new(Shelf, EmptyMutation, EmptySubscription);
    let mut request = Request::new(format!("{{ toys: {field} {selection} }}"));
    if with_patterns {
        request = request.data(Patterns::default());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let answer = runtime
        .expect("a runtime")
        .block_on(schema.execute(request));
    let mut errors: Vec<String> = answer
        .errors
        .iter()
        .map(|error| {
            let path = error.path.iter().map(|part| match part {
                PathSegment::Field(name) => name.clone(),
                PathSegment::Index(index) => index.to_string(),
            });
            format!("{}: {}", path.collect::<Vec<_>>().join("."), error.message)
        })
        .collect();
    errors.sort();
    (answer.data, errors)
}

fn is_the_same(selection: &str) {
    let expected = shown("byLibrary", selection, false);
    for with_patterns in [false, true] {
        for way in ["promptly", "together"] {
            let promptly = shown(way, selection, with_patterns);
            assert_eq!(promptly, expected, "{way} {selection}");
        }
    }
}

#[test]
fn what_is_shown_promptly_is_what_the_library_shows() {
    for selection in [
        "{ id }",
        "{ __typename a: id b: name c: id }",
        "{ price }",
        "{ id price slow name late }",
        "{ slow price }",
        "{ id id name }",
        "{ parts(n: 2) { id } parts(n: 2) { name } }",
        "{ id ... { name } ... on Toy { price } }",
        "{ id @skip(if: true) name @include(if: true) }",
        "{ id @skip(if: true) }",
        "{ inner { inner { inner { id price slow } } } parts(n: 3) { id parts(n: 2) { slow } } }",
    ] {
        is_the_same(selection);
    }
}

fn selections() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "id",
        "name",
        "price",
        "late",
        "slow",
        "__typename",
        "a: id",
        "b: price",
        "c: slow",
        "... { id }",
        "... on Toy { name slow }",
        "name @skip(if: true)",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    let field = leaf.prop_recursive(3, 12, 4, |inner| {
        let below = prop::collection::vec(inner, 1..4);
        (
            prop::sample::select(vec!["inner", "parts(n: 2)", "other: inner"]),
            below,
        )
            .prop_map(|(field, below)| format!("{field} {{ {} }}", below.join(" ")))
    });
    prop::collection::vec(field, 1..6).prop_map(|fields| format!("{{ {} }}", fields.join(" ")))
}

proptest! {
    #[test]
    fn so_is_anything_else(selection in selections()) {
        is_the_same(&selection);
    }
}

#[test]
fn keys_come_in_the_documents_order() {
    let (data, _) = shown("promptly", "{ slow name inner { late id } id }", true);
    let text = serde_json::to_string(&data).expect("JSON");
    let third = r#"{"slow":2,"name":"a toy","inner":{"late":1,"id":"toy_3"},"id":"toy_2"}"#;
    assert!(text.contains(third), "{text}");
}

/// What is said of a type's fields: they are scalars without arguments, or objects.
fn said<T: Prompt>(scalars: &[&str], schema: &[TypeSystemDefinition]) {
    let of = T::type_name();
    let fields = schema.iter().find_map(|definition| match definition {
        TypeSystemDefinition::Type(ty) if ty.node.name.node == *of => match &ty.node.kind {
            TypeKind::Object(object) => Some(&object.fields),
            _ => None,
        },
        _ => None,
    });
    let fields = fields.unwrap_or_else(|| panic!("no type {of}"));
    let soon = T::SOON.iter().map(|(name, _)| (name, false));
    for (name, is_scalar) in T::AT_ONCE.iter().map(|name| (name, true)).chain(soon) {
        let field = fields.iter().find(|field| field.node.name.node == *name);
        let field = field.unwrap_or_else(|| panic!("{of} has no {name}"));
        assert!(field.node.arguments.is_empty(), "{of}.{name}");
        let BaseType::Named(ty) = &field.node.ty.node.base else {
            panic!("{of}.{name} is a list");
        };
        assert_eq!(scalars.contains(&ty.as_str()), is_scalar, "{of}.{name}");
    }
}

#[test]
fn what_is_said_of_fields_fits_the_schema() {
    let schema = parse_schema(crate::graphql::sdl()).expect("a schema");
    let built_in = ["Int", "Float", "String", "Boolean", "ID"];
    let mut scalars: Vec<&str> = built_in.to_vec();
    for definition in &schema.definitions {
        if let TypeSystemDefinition::Type(ty) = definition
            && matches!(ty.node.kind, TypeKind::Scalar | TypeKind::Enum(_))
        {
            scalars.push(ty.node.name.node.as_str());
        }
    }
    let schema = &schema.definitions;
    said::<Lead>(&scalars, schema);
    said::<Person>(&scalars, schema);
    said::<Sequence>(&scalars, schema);
    said::<SequenceVersion>(&scalars, schema);
    said::<Step>(&scalars, schema);
    said::<Execution>(&scalars, schema);
    said::<ExecutionEvent>(&scalars, schema);
    said::<Sender>(&scalars, schema);
    said::<BulkOutcome>(&scalars, schema);
    said::<ApiToken>(&scalars, schema);
    said::<TokenUse>(&scalars, schema);
    said::<PageInfo>(&scalars, schema);
}
