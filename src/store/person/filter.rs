//! A filter of people as SQL.

use sea_orm::DbBackend;

use crate::domain::id::WorkspaceId;
use crate::domain::person_filter::{
    AttributeMatch, AttributeTest, Comparison, Operand, PersonField, PersonFilter, same_company,
    searchable,
};
use crate::store::dialect;
use crate::store::sql::Arguments;

/// The conditions that a filter sets on the person called `alias` in the statement, joined by AND.
/// Nobody who is erased is chosen. The statement itself must bind the person to the workspace.
pub fn condition(
    backend: DbBackend,
    workspace: WorkspaceId,
    filter: &PersonFilter,
    alias: &str,
    arguments: &mut Arguments,
) -> String {
    let mut all = vec![format!("{alias}.erased_at IS NULL")];
    if let Some(ids) = &filter.ids {
        let list = arguments.list(ids.iter().map(|id| id.uuid()));
        all.push(format!("{alias}.id IN ({list})"));
    }
    for word in filter
        .search
        .iter()
        .flat_map(|text| text.split_whitespace())
    {
        let pattern = arguments.add(format!("%{}%", escaped(&searchable(word))));
        all.push(format!("{alias}.search_text LIKE {pattern} ESCAPE '\\'"));
    }
    for (column, wanted) in [("company", &filter.company), ("title", &filter.title)] {
        if let Some(wanted) = wanted {
            let list = arguments.list(wanted.iter().map(String::as_str));
            all.push(format!("{alias}.{column} IN ({list})"));
        }
    }
    if let Some(companies) = &filter.company {
        // What the index is by.
        let keys = arguments.list(companies.iter().map(|name| same_company(name)));
        all.push(format!("{alias}.company_key IN ({keys})"));
    }
    for field in &filter.has {
        all.push(format!("{alias}.{} IS NOT NULL", column(*field)));
    }
    for wanted in &filter.attributes {
        all.push(attribute(backend, wanted, alias, arguments));
    }
    if let Some(from) = filter.created_from {
        let from = arguments.add(from.timestamp_millis());
        all.push(format!("{alias}.created_at >= {from}"));
    }
    if let Some(to) = filter.created_to {
        all.push(format!(
            "{alias}.created_at < {}",
            arguments.add(to.timestamp_millis())
        ));
    }
    if let Some(sequence) = filter.not_in_sequence {
        let sequence = arguments.add(sequence.uuid());
        let workspace = arguments.add(workspace.uuid());
        all.push(format!(
            "NOT EXISTS (SELECT 1 FROM lead AS in_it WHERE in_it.sequence_id = {sequence}
                 AND in_it.workspace_id = {workspace} AND in_it.person_id = {alias}.id)"
        ));
    }
    all.join(" AND ")
}

/// A text in which the letters that LIKE reads as patterns stand for themselves.
pub(in crate::store) fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

const fn column(field: PersonField) -> &'static str {
    match field {
        PersonField::Email => "email",
        PersonField::Phone => "phone",
        PersonField::LinkedinUrl => "linkedin_url",
        PersonField::Company => "company",
        PersonField::Title => "title",
    }
}

fn attribute(
    backend: DbBackend,
    wanted: &AttributeMatch,
    alias: &str,
    arguments: &mut Arguments,
) -> String {
    let name = arguments.add(wanted.name.as_str());
    let column = format!("{alias}.attributes");
    let text = dialect::json_text(backend, &column, &name);
    let number = dialect::json_number(backend, &column, &name);
    match &wanted.test {
        AttributeTest::Compare(how, operand) => {
            let (value, given) = match operand {
                Operand::Number(given) => (&number, arguments.add(*given)),
                Operand::Text(given) => (&text, arguments.add(given.as_str())),
            };
            match how {
                Comparison::Equal => format!("{value} = {given}"),
                Comparison::NotEqual => format!("({value} IS NULL OR {value} <> {given})"),
                Comparison::Less => format!("{value} < {given}"),
                Comparison::LessOrEqual => format!("{value} <= {given}"),
                Comparison::Greater => format!("{value} > {given}"),
                Comparison::GreaterOrEqual => format!("{value} >= {given}"),
            }
        }
        AttributeTest::OneOf(operands) => {
            let mut numbers = Vec::new();
            let mut texts = Vec::new();
            for operand in operands {
                match operand {
                    Operand::Number(given) => numbers.push(*given),
                    Operand::Text(given) => texts.push(given.as_str()),
                }
            }
            let texts = arguments.list(texts);
            let numbers = arguments.list(numbers);
            format!("({text} IN ({texts}) OR {number} IN ({numbers}))")
        }
        // Without LIKE, which the databases disagree about.
        AttributeTest::Contains(part) => {
            let part = arguments.add(part.as_str());
            format!("replace({text}, {part}, '') <> {text}")
        }
        AttributeTest::StartsWith(start) => {
            let start = arguments.add(start.as_str());
            format!("substr({text}, 1, length({start})) = {start}")
        }
        AttributeTest::IsSet => format!("{text} IS NOT NULL"),
        AttributeTest::IsNotSet => format!("{text} IS NULL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_like_reads_as_patterns_is_escaped() {
        assert_eq!(escaped("50%_of\\it"), "50\\%\\_of\\\\it");
        assert_eq!(escaped("josé"), "josé");
    }
}
