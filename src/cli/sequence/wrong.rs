//! What is wrong with a file, each with its place in it.

use std::fmt;

use serde_json::Value;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where, from the top of the file; empty where it is the file as a whole.
    pub path: Vec<String>,
    /// What, in a sentence that names the remedy.
    pub message: String,
}

impl Wrong {
    /// Something wrong at `path`.
    pub fn new(path: &[String], message: impl Into<String>) -> Self {
        Self {
            path: path.to_vec(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", place(&self.path))?;
        }
        f.write_str(&self.message)
    }
}

/// A path as people write it: `flow.steps[2].action.email.senderIds[0]`.
pub fn place(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

/// The path of a field below `base`.
pub(super) fn below(base: &[String], field: impl ToString) -> Vec<String> {
    let mut path = base.to_vec();
    path.push(field.to_string());
    path
}

/// The texts of a list in an answer of the API.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|part| part.as_str().unwrap_or_default().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_in_the_file() {
        let path = ["flow", "steps", "2", "action", "email", "senderIds", "0"].map(str::to_owned);
        let wrong = Wrong::new(&path, "no such sender");
        assert_eq!(
            wrong.to_string(),
            "flow.steps[2].action.email.senderIds[0]: no such sender"
        );
        assert_eq!(Wrong::new(&[], "empty").to_string(), "empty");
    }
}
