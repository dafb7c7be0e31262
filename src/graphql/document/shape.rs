//! The shape of the schema: which field has which type and whether it is a list, so that the size of
//! an answer can be estimated before anything is read.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    BaseType, FieldDefinition, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql::parser::{Error, parse_schema};

/// What is known of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// The type of what it answers.
    pub ty: Type,
    /// The name of that type, or of each entry's.
    pub of: String,
    /// Whether it answers several.
    pub is_list: bool,
    /// Whether it is paged: `first` and `last` say how many.
    pub is_paged: bool,
}

/// The fields of every type that has some.
#[derive(Debug)]
pub struct Shape {
    fields: HashMap<String, HashMap<String, Field>>,
    /// Types whose entries are the entries of the page that they are.
    connections: HashSet<String>,
}

impl Shape {
    /// The shape of a schema.
    ///
    /// # Errors
    /// Where the text is no schema.
    pub fn read(sdl: &str) -> Result<Self, Error> {
        let mut shape = Self {
            fields: HashMap::new(),
            connections: HashSet::new(),
        };
        for definition in parse_schema(sdl)?.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                TypeKind::Scalar
                | TypeKind::Union(_)
                | TypeKind::Enum(_)
                | TypeKind::InputObject(_) => continue,
            };
            let name = definition.node.name.node.to_string();
            let fields: HashMap<String, Field> = fields
                .iter()
                .map(|field| (field.node.name.node.to_string(), known(&field.node)))
                .collect();
            if fields.contains_key("pageInfo") {
                shape.connections.insert(name.clone());
            }
            shape.fields.insert(name, fields);
        }
        Ok(shape)
    }

    pub(super) fn field(&self, of: &str, name: &str) -> Option<&Field> {
        self.fields.get(of)?.get(name)
    }

    pub(super) fn fields_of(&self, of: &str) -> impl Iterator<Item = (&str, &Field)> {
        let fields = self.fields.get(of).into_iter().flatten();
        fields.map(|(name, field)| (name.as_str(), field))
    }

    pub(super) fn is_connection(&self, name: &str) -> bool {
        self.connections.contains(name)
    }
}

fn known(field: &FieldDefinition) -> Field {
    let (of, is_list) = named(&field.ty.node);
    let mut arguments = field.arguments.iter();
    Field {
        ty: field.ty.node.clone(),
        of,
        is_list,
        is_paged: arguments.any(|argument| argument.node.name.node == "first"),
    }
}

fn named(ty: &Type) -> (String, bool) {
    match &ty.base {
        BaseType::Named(name) => (name.to_string(), false),
        BaseType::List(entry) => (named(entry).0, true),
    }
}
