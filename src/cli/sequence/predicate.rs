//! What is asked of predicates, which lie in one another and are asked for level by level: a query
//! names each level, and one for all that may be there would be beyond every limit.

use serde_json::Value;

/// The fields that hold other predicates.
const NESTING: [&str; 3] = ["all", "any", "not"];

/// Which fields of a predicate are asked for below which.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Branches([Option<Box<Branches>>; 3]);

impl Branches {
    /// All fields, so many levels deep.
    pub(super) fn levels(count: usize) -> Self {
        match count.checked_sub(1) {
            None | Some(0) => Self::default(),
            Some(rest) => Self([(); 3].map(|()| Some(Box::new(Self::levels(rest))))),
        }
    }

    /// The selection of a predicate.
    pub(super) fn select(&self) -> String {
        let mut text = "opened clicked replied has attribute { name op value }".to_owned();
        for (field, below) in NESTING.iter().zip(&self.0) {
            if let Some(below) = below {
                text.push_str(&format!(" {field} {{ {} }}", below.select()));
            }
        }
        text
    }

    /// Asks for more where an answer shows nothing; whether it does.
    pub(super) fn grow(&mut self, shown: &Value) -> bool {
        match shown {
            Value::Array(list) => list.iter().fold(false, |grown, one| self.grow(one) | grown),
            Value::Object(fields) if fields.values().all(Value::is_null) => {
                let full = self.0.iter().all(Option::is_some);
                if !full {
                    *self = Self::levels(2);
                }
                !full
            }
            Value::Object(fields) => {
                let mut grown = false;
                for (field, below) in NESTING.iter().zip(&mut self.0) {
                    if let (Some(below), Some(shown)) = (below, fields.get(*field)) {
                        grown |= below.grow(shown);
                    }
                }
                grown
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn more_is_asked_where_nothing_is_shown() {
        let mut branches = Branches::levels(1);
        assert!(!branches.select().contains("all"));
        assert!(!branches.grow(&Value::Null));
        assert!(!branches.grow(&json!({ "opened": "*", "has": null })));
        assert!(branches.grow(&json!({ "opened": null, "has": null })));
        assert_eq!(branches, Branches::levels(2));
        let shown = json!({ "opened": null, "all": [{ "opened": "*" }, { "opened": null }] });
        assert!(branches.grow(&shown));
        assert!(
            branches
                .select()
                .contains("all { opened clicked replied has attribute { name op value } all {")
        );
        assert!(!branches.grow(&json!({ "all": [{ "all": [{ "opened": "*" }] }] })));
    }
}
