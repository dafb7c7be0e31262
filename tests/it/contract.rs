//! The schema is the contract: what is built agrees with `docs/contract.graphql` exactly, what is
//! not built yet is listed in `docs/contract-missing.txt`, and `schema.graphql` is what the code
//! says. `UPDATE=1 cargo test --test it contract` writes both files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    ConstDirective, FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};

type Types = BTreeMap<String, TypeDefinition>;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn types(sdl: &str) -> Types {
    let document = parse_schema(sdl).unwrap_or_else(|error| panic!("the schema parses: {error}"));
    let definitions = document.definitions.into_iter();
    definitions
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => {
                Some((definition.node.name.node.to_string(), definition.node))
            }
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        })
        .collect()
}

/// What the comparison found.
#[derive(Default)]
struct Report {
    missing: BTreeSet<String>,
    different: Vec<String>,
}

impl Report {
    fn equal(&mut self, place: &str, contract: impl ToString, ours: impl ToString) {
        let (contract, ours) = (contract.to_string(), ours.to_string());
        if contract != ours {
            self.different.push(format!(
                "{place}: the contract has `{contract}`, the code `{ours}`"
            ));
        }
    }

    fn types(&mut self, contract: &Types, ours: &Types) {
        for (name, theirs) in contract {
            match ours.get(name) {
                None => {
                    self.missing.insert(name.clone());
                }
                Some(built) => self.type_(name, theirs, built),
            }
        }
    }

    fn type_(&mut self, name: &str, contract: &TypeDefinition, ours: &TypeDefinition) {
        self.equal(
            name,
            directives(&contract.directives),
            directives(&ours.directives),
        );
        match (&contract.kind, &ours.kind) {
            (TypeKind::Scalar, TypeKind::Scalar) => {}
            (TypeKind::Object(theirs), TypeKind::Object(built)) => {
                for interface in &theirs.implements {
                    if !built
                        .implements
                        .iter()
                        .any(|one| one.node == interface.node)
                    {
                        self.missing
                            .insert(format!("{name} implements {}", interface.node));
                    }
                }
                self.fields(name, &theirs.fields, &built.fields);
            }
            (TypeKind::Interface(theirs), TypeKind::Interface(built)) => {
                self.fields(name, &theirs.fields, &built.fields);
            }
            (TypeKind::Union(theirs), TypeKind::Union(built)) => {
                for member in &theirs.members {
                    if !built.members.iter().any(|one| one.node == member.node) {
                        self.missing.insert(format!("{name} = {}", member.node));
                    }
                }
            }
            (TypeKind::Enum(theirs), TypeKind::Enum(built)) => {
                for value in &theirs.values {
                    let value = &value.node.value.node;
                    if !built.values.iter().any(|one| &one.node.value.node == value) {
                        self.missing.insert(format!("{name}.{value}"));
                    }
                }
            }
            (TypeKind::InputObject(theirs), TypeKind::InputObject(built)) => {
                self.inputs(name, &theirs.fields, &built.fields);
            }
            _ => self
                .different
                .push(format!("{name} is another kind of type in the code")),
        }
    }

    fn fields(
        &mut self,
        name: &str,
        contract: &[Positioned<FieldDefinition>],
        ours: &[Positioned<FieldDefinition>],
    ) {
        for field in contract {
            let field = &field.node;
            let place = format!("{name}.{}", field.name.node);
            let Some(built) = ours
                .iter()
                .find(|one| one.node.name.node == field.name.node)
            else {
                self.missing.insert(place);
                continue;
            };
            self.equal(&place, &field.ty.node, &built.node.ty.node);
            self.inputs(&place, &field.arguments, &built.node.arguments);
        }
    }

    /// Input fields, or arguments.
    fn inputs(
        &mut self,
        name: &str,
        contract: &[Positioned<InputValueDefinition>],
        ours: &[Positioned<InputValueDefinition>],
    ) {
        for input in contract {
            let input = &input.node;
            let place = format!("{name}({})", input.name.node);
            let Some(built) = ours
                .iter()
                .find(|one| one.node.name.node == input.name.node)
            else {
                self.missing.insert(place);
                continue;
            };
            self.equal(&place, written(input), written(&built.node));
        }
        // Whoever wrote a document by the contract does not know of anything more that must be
        // given.
        for built in ours {
            let known = contract
                .iter()
                .any(|one| one.node.name.node == built.node.name.node);
            let must = !built.node.ty.node.nullable && built.node.default_value.is_none();
            if !known && must {
                let extra = &built.node.name.node;
                self.different.push(format!(
                    "{name}({extra}) must be given, and is not in the contract"
                ));
            }
        }
    }
}

fn written(input: &InputValueDefinition) -> String {
    match &input.default_value {
        Some(default) => format!("{} = {}", input.ty.node, default.node),
        None => input.ty.node.to_string(),
    }
}

fn directives(directives: &[Positioned<ConstDirective>]) -> String {
    let mut all: Vec<String> = directives
        .iter()
        .map(|directive| {
            let arguments = directive.node.arguments.iter();
            let arguments: Vec<String> = arguments
                .map(|(name, value)| format!("{}: {}", name.node, value.node))
                .collect();
            format!("@{}({})", directive.node.name.node, arguments.join(", "))
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// What the contract says of every connection, written out for those that it names.
fn with_connections(contract: &str) -> String {
    let mut text = contract.to_owned();
    let words = contract.split(|c: char| !c.is_ascii_alphanumeric());
    let connections: BTreeSet<&str> = words
        .filter_map(|word| word.strip_suffix("Connection"))
        .filter(|node| !node.is_empty())
        .collect();
    for node in connections {
        text.push_str(&format!(
            "\ntype {node}Connection {{ edges: [{node}Edge!]! nodes: [{node}!]! pageInfo: PageInfo! totalCount: Int }}\n\
             type {node}Edge {{ cursor: String! node: {node}! }}\n"
        ));
    }
    text.push_str(
        "\ntype PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }\n",
    );
    text
}

fn compare(contract: &str, ours: &str) -> Report {
    let mut report = Report::default();
    report.types(&types(&with_connections(contract)), &types(ours));
    report
}

/// Compares a file with what it should hold, or writes it.
fn check_file(path: &str, content: &str, remedy: &str) {
    let file = root(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, content).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed != content {
        let first = committed
            .lines()
            .zip(content.lines())
            .enumerate()
            .find(|(_, (before, now))| before != now)
            .map_or_else(
                || "the length".to_owned(),
                |(line, (before, now))| format!("line {}: `{before}` is now `{now}`", line + 1),
            );
        panic!("{path} is not what the code says ({first}); {remedy}");
    }
}

#[test]
fn what_is_built_agrees_with_the_contract() {
    let contract = std::fs::read_to_string(root("docs/contract.graphql")).expect("the contract");
    let report = compare(&contract, &cadenza::graphql::sdl());
    assert!(
        report.different.is_empty(),
        "not as agreed:\n{}",
        report.different.join("\n")
    );
    let mut list = String::from(
        "# What docs/contract.graphql has and this version does not build yet. Written by a test.\n",
    );
    for line in &report.missing {
        list.push_str(line);
        list.push('\n');
    }
    check_file(
        "docs/contract-missing.txt",
        &list,
        "`UPDATE=1 cargo test --test it contract` writes it anew",
    );
}

#[test]
fn the_committed_schema_is_the_codes() {
    check_file(
        "schema.graphql",
        &cadenza::graphql::sdl(),
        "`make schema` writes it anew",
    );
}

#[test]
fn every_part_of_the_schema_is_described() {
    let mut bare = Vec::new();
    for (name, definition) in types(&cadenza::graphql::sdl()) {
        let mut see = |place: String, described: bool| {
            if !described {
                bare.push(place);
            }
        };
        see(name.clone(), definition.description.is_some());
        let mut fields = |list: &[Positioned<FieldDefinition>]| {
            for field in list {
                let place = format!("{name}.{}", field.node.name.node);
                see(place.clone(), field.node.description.is_some());
                for argument in &field.node.arguments {
                    let argument = &argument.node;
                    see(
                        format!("{place}({})", argument.name.node),
                        argument.description.is_some(),
                    );
                }
            }
        };
        match &definition.kind {
            TypeKind::Object(object) => fields(&object.fields),
            TypeKind::Interface(interface) => fields(&interface.fields),
            TypeKind::InputObject(input) => {
                for field in &input.fields {
                    let described = field.node.description.is_some();
                    see(format!("{name}.{}", field.node.name.node), described);
                }
            }
            TypeKind::Enum(values) => {
                for value in &values.values {
                    let described = value.node.description.is_some();
                    see(format!("{name}.{}", value.node.value.node), described);
                }
            }
            TypeKind::Scalar | TypeKind::Union(_) => {}
        }
    }
    assert!(
        bare.is_empty(),
        "without a description:\n{}",
        bare.join("\n")
    );
}

#[test]
fn the_comparison_sees_every_kind_of_difference() {
    let contract = "scalar A @specifiedBy(url: \"u\") enum E { X Y }
        input I { a: Int = 1 b: String } input J @oneOf { a: Int }
        type T { a(x: Int = 1): String! b: Int c: [Int!]! } union U = T ";
    let same = compare(
        contract,
        &format!(
            "{contract}\ntype PageInfo {{ hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }}"
        ),
    );
    assert!(same.different.is_empty() && same.missing.is_empty());
    for (from, to) in [
        ("@specifiedBy(url: \"u\")", ""),
        ("a: Int = 1 b", "a: Int = 2 b"),
        ("a: Int = 1 b", "a: Int b"),
        ("b: String }", "b: String z: Int! }"),
        ("@oneOf", ""),
        ("x: Int = 1", "x: Int! = 1"),
        ("String!", "String"),
        ("[Int!]!", "[Int]!"),
        ("b: Int c", "b: ID c"),
        ("enum E { X Y }", "scalar E"),
    ] {
        let changed = contract.replacen(from, to, 1);
        assert_eq!(
            compare(contract, &changed).different.len(),
            1,
            "{from} -> {to}"
        );
    }
    for (from, to, missing) in [
        (" Y", "", "E.Y"),
        (" b: Int", "", "T.b"),
        ("(x: Int = 1)", "", "T.a(x)"),
        (" b: String", "", "I(b)"),
        ("enum E { X Y }", "", "E"),
    ] {
        let changed = contract.replacen(from, to, 1);
        assert!(
            compare(contract, &changed).missing.contains(missing),
            "{missing}"
        );
    }
}
