//! What people call things.

use super::Refusal;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// A name without white space around it; `path` is where it stands in the input.
///
/// # Errors
/// `INVALID` for one that is empty, too long, or more than a line.
pub fn read(name: &str, path: &[&str]) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        let message = format!("name has from 1 to {NAME_CHARS_MAX} characters: correct it.");
        return Err(Refusal::invalid(message, path));
    }
    if name.chars().any(char::is_control) {
        let message = "name is a single line without control characters: correct it.";
        return Err(Refusal::invalid(message, path));
    }
    Ok(name.to_owned())
}
