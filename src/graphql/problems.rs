//! Everything that is wrong with an input, gathered, so that all of it is refused at once.

use super::error::{UserError, UserErrorCode};

/// So many problems are told at most: whoever mends these finds out about the rest.
const PROBLEMS_MAX: usize = 50;

/// Gathers what is wrong with an input.
pub struct Problems<'a> {
    /// Where the input stands.
    pub path: &'a [&'a str],
    /// What is wrong so far.
    pub found: Vec<UserError>,
}

impl<'a> Problems<'a> {
    /// None yet, of the input at `path`.
    pub const fn of(path: &'a [&'a str]) -> Self {
        Self {
            path,
            found: Vec::new(),
        }
    }

    /// Notes what is wrong with the field at `at`.
    pub fn add(&mut self, at: &[&str], message: String) {
        let path = [self.path, at].concat();
        self.note(UserError::new(UserErrorCode::Invalid, message, &path));
    }

    /// Notes a list that is too long; `length` is what it has.
    pub fn bound(&mut self, length: usize, most: usize, at: &[&str]) {
        if length > most {
            let name = at.last().copied().unwrap_or_default();
            self.add(at, format!("{name} has at most {most} entries; split it."));
        }
    }

    /// What `read` makes of the field at `at`; a refusal is noted.
    pub fn one<T>(
        &mut self,
        at: &[&str],
        read: impl FnOnce(&[&str]) -> Result<T, UserError>,
    ) -> Option<T> {
        read(&[self.path, at].concat())
            .map_err(|error| self.note(error))
            .ok()
    }

    fn note(&mut self, error: UserError) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(error);
        }
    }

    /// What `read` makes of each entry of the list called `name`; refusals are noted.
    pub fn each<I: IntoIterator, T>(
        &mut self,
        list: I,
        name: &str,
        read: impl Fn(I::Item, &[&str]) -> Result<T, UserError>,
    ) -> Vec<T> {
        let mut done = Vec::new();
        for (index, item) in list.into_iter().enumerate() {
            if self.found.len() >= PROBLEMS_MAX {
                break;
            }
            done.extend(self.one(&[name, &index.to_string()], |at| read(item, at)));
        }
        done
    }
}

/// The entries of a list of words, each once: a client may repeat a word as often as it likes, and a
/// statement has only so many arguments.
pub fn each_once<T: PartialEq>(list: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut words = Vec::new();
    for word in list {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// The same for an argument of a query, as one sentence for each problem.
pub fn told(problems: Vec<UserError>) -> String {
    let told = problems.into_iter().map(|problem| {
        format!(
            "{}: {}",
            problem.path.unwrap_or_default().join("."),
            problem.message
        )
    });
    told.collect::<Vec<_>>().join(" ")
}
