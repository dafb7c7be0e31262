//! Reads Rust sources as text: code, comments and string literals told apart, paths and attributes
//! found. It knows no rule; its reading is as deep as the rules need and no parser.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the repository that hold Rust sources.
const FOLDERS: &[&str] = &["src", "entity", "migration", "tests", "benches", "examples"];

/// One thing that is wrong; lines count from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub line: usize,
    pub message: String,
}

impl Finding {
    pub fn new(line: usize, message: String) -> Self {
        Self { line, message }
    }
}

/// A file's text in three readings of the same shape: as it is, its code alone, and the contents
/// of its string literals alone; what does not belong is blank.
pub struct Source {
    /// From the repository's root, with forward slashes.
    pub path: String,
    pub raw: String,
    pub code: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let (code, text) = separate(raw);
        Self {
            path: path.to_owned(),
            raw: raw.to_owned(),
            code,
            text,
        }
    }

    /// The module right under the crate's root that this file belongs to; none outside `src`.
    pub fn top_module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// How many names lead from the crate's root to this file's module.
    fn module_depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inside = inside.strip_suffix(".rs").unwrap_or(inside);
        inside
            .strip_suffix("/mod")
            .unwrap_or(inside)
            .split('/')
            .count()
    }

    pub fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }

    pub fn raw_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.raw
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    pub fn text_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    fn line_at(&self, offset: usize) -> usize {
        self.code
            .as_bytes()
            .iter()
            .take(offset)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    /// The names that follow `root::` anywhere in the code, groups in braces included.
    pub fn uses_of(&self, root: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for start in word_offsets(&self.code, root) {
            self.names_after(start + root.len(), &mut found);
        }
        found
    }

    /// Names reached by `super::super::…` chains that climb to the crate's root.
    pub fn uses_by_super(&self) -> Vec<(usize, String)> {
        let inline = inline_modules(&self.code);
        let mut found = Vec::new();
        let mut chain_end = 0;
        for start in word_offsets(&self.code, "super") {
            if start < chain_end {
                continue;
            }
            let mut climbed = 1;
            let mut end = start + "super".len();
            while let Some(next) = after_colons(&self.code, end) {
                if word_at(&self.code, next) != "super" {
                    break;
                }
                climbed += 1;
                end = next + "super".len();
            }
            chain_end = end;
            let nested = inline
                .iter()
                .filter(|(from, to)| (*from..*to).contains(&start))
                .count();
            if climbed >= self.module_depth() + nested {
                self.names_after(end, &mut found);
            }
        }
        found
    }

    /// Lines of `use` statements that begin with the crate `name`.
    pub fn statements_using(&self, name: &str) -> Vec<usize> {
        self.code_lines()
            .filter(|(_, text)| {
                let mut names =
                    words(text).skip_while(|word| matches!(*word, "pub" | "crate" | "super"));
                names.next() == Some("use") && names.next() == Some(name)
            })
            .map(|(line, _)| line)
            .collect()
    }

    /// Collects the names of a path's next step: one, or those of a group in braces.
    fn names_after(&self, offset: usize, found: &mut Vec<(usize, String)>) {
        let Some(next) = after_colons(&self.code, offset) else {
            return;
        };
        let rest = self.code.get(next..).unwrap_or("");
        if !rest.starts_with('{') {
            let name = if rest.starts_with('*') {
                "*"
            } else {
                word_at(&self.code, next)
            };
            if !name.is_empty() {
                found.push((self.line_at(next), name.to_owned()));
            }
            return;
        }
        // Of a group, the first word of each branch at its outermost level.
        let mut depth = 0_usize;
        let mut branch_begins = false;
        for (index, letter) in rest.char_indices() {
            match letter {
                '{' => {
                    depth += 1;
                    branch_begins = depth == 1;
                }
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                ',' => branch_begins = depth == 1,
                _ if letter.is_whitespace() => {}
                _ if branch_begins => {
                    branch_begins = false;
                    let name = if letter == '*' {
                        "*"
                    } else {
                        word_at(&self.code, next + index)
                    };
                    found.push((self.line_at(next + index), name.to_owned()));
                }
                _ => {}
            }
        }
    }

    /// The inside of each `#[…]` and `#![…]`, with the line it starts on.
    pub fn attributes(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (start, _) in self.code.match_indices('#') {
            let rest = self.code.get(start + 1..).unwrap_or("").trim_start();
            let rest = rest.strip_prefix('!').unwrap_or(rest).trim_start();
            let Some(rest) = rest.strip_prefix('[') else {
                continue;
            };
            let mut depth = 1_usize;
            let inside = rest.chars().take_while(|letter| {
                match letter {
                    '[' => depth += 1,
                    ']' => depth -= 1,
                    _ => {}
                }
                depth > 0
            });
            found.push((self.line_at(start), inside.collect()));
        }
        found
    }

    /// Lines that belong to no inline `#[cfg(test)] mod`.
    pub fn lines_outside_test_modules(&self) -> usize {
        let mut test_lines = BTreeSet::new();
        for (start, _) in self.code.match_indices("#[cfg(test)]") {
            let rest = self.code.get(start..).unwrap_or("");
            let header = rest.find(['{', ';']).unwrap_or(rest.len());
            let is_module = words(rest.get(..header).unwrap_or("")).any(|word| word == "mod");
            if !is_module || !rest.get(header..).unwrap_or("").starts_with('{') {
                continue;
            }
            let end = closing_brace(&self.code, start + header);
            test_lines.extend(self.line_at(start)..=self.line_at(end));
        }
        self.raw.lines().count() - test_lines.len().min(self.raw.lines().count())
    }
}

/// Every Rust source of the repository, in the order of their paths.
pub fn read_sources(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect_paths(&root.join(folder), &mut paths);
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let raw = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path
                .strip_prefix(root)
                .expect("every path was found under the root");
            Source::new(&relative.to_string_lossy().replace('\\', "/"), &raw)
        })
        .collect()
}

fn collect_paths(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry
            .expect("a folder that was opened can be listed")
            .path();
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("target") {
                collect_paths(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// What the reader of `separate` stands in.
#[derive(Clone, Copy)]
enum Within {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Splits a source into its code and the contents of its string literals. Both keep every line
/// break and every byte's place, with blanks for what was taken out.
fn separate(raw: &str) -> (String, String) {
    let letters = raw.char_indices().collect::<Vec<_>>();
    let mut code = String::with_capacity(raw.len());
    let mut text = String::with_capacity(raw.len());
    let mut within = Within::Code;
    let mut index = 0;
    let mut previous = ' ';
    while let Some(&(offset, letter)) = letters.get(index) {
        let rest = raw.get(offset..).unwrap_or("");
        // How many letters this step takes, and where they show.
        let (taken, in_code, in_text) = match within {
            Within::Code => {
                let after_word = previous.is_alphanumeric() || previous == '_';
                if rest.starts_with("//") {
                    within = Within::LineComment;
                    (2, false, false)
                } else if rest.starts_with("/*") {
                    within = Within::BlockComment { depth: 1 };
                    (2, false, false)
                } else if letter == '"' {
                    within = Within::Text;
                    (1, true, false)
                } else if let Some((taken, hashes)) = raw_text_opening(rest).filter(|_| !after_word)
                {
                    within = Within::RawText { hashes };
                    (taken, true, false)
                } else if letter == '\'' {
                    (
                        character_length(rest).unwrap_or(1),
                        rest.starts_with('\'') && character_length(rest).is_none(),
                        false,
                    )
                } else {
                    (1, true, false)
                }
            }
            Within::LineComment => {
                if letter == '\n' {
                    within = Within::Code;
                }
                (1, false, false)
            }
            Within::BlockComment { depth } => {
                if rest.starts_with("/*") {
                    within = Within::BlockComment { depth: depth + 1 };
                    (2, false, false)
                } else if rest.starts_with("*/") {
                    within = if depth == 1 {
                        Within::Code
                    } else {
                        Within::BlockComment { depth: depth - 1 }
                    };
                    (2, false, false)
                } else {
                    (1, false, false)
                }
            }
            Within::Text => match letter {
                '\\' => (2, false, true),
                '"' => {
                    within = Within::Code;
                    (1, true, false)
                }
                _ => (1, false, true),
            },
            Within::RawText { hashes } => {
                if letter == '"'
                    && rest
                        .chars()
                        .skip(1)
                        .take_while(|letter| *letter == '#')
                        .count()
                        >= hashes
                {
                    within = Within::Code;
                    (1 + hashes, true, false)
                } else {
                    (1, false, true)
                }
            }
        };
        for &(_, letter) in letters.iter().skip(index).take(taken) {
            blank_or(&mut code, letter, in_code);
            blank_or(&mut text, letter, in_text);
            previous = letter;
        }
        index += taken;
    }
    (code, text)
}

fn blank_or(output: &mut String, letter: char, shows: bool) {
    if shows || letter == '\n' {
        output.push(letter);
    } else {
        output.extend(std::iter::repeat_n(' ', letter.len_utf8()));
    }
}

/// `r"`, `r#"`, `br##"` …: the letters of the opening and its number of hashes.
fn raw_text_opening(rest: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let after = rest.get(prefix.len()..)?;
    let hashes = after.chars().take_while(|letter| *letter == '#').count();
    (after.chars().nth(hashes) == Some('"')).then_some((prefix.len() + hashes + 1, hashes))
}

/// The letters of a character literal; none where the quote begins a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let mut letters = rest.chars().skip(1);
    if letters.next()? == '\\' {
        // The escaped letter may itself be a quote.
        let tail = rest.chars().skip(3).position(|letter| letter == '\'')?;
        return Some(3 + tail + 1);
    }
    (letters.next()? == '\'').then_some(3)
}

fn is_word_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_word_letter(letter))
        .filter(|word| !word.is_empty())
}

fn word_at(code: &str, offset: usize) -> &str {
    let rest = code.get(offset..).unwrap_or("");
    let end = rest
        .find(|letter| !is_word_letter(letter))
        .unwrap_or(rest.len());
    rest.get(..end).unwrap_or("")
}

/// Where `word` stands in the code as a whole word.
fn word_offsets<'code>(code: &'code str, word: &'code str) -> impl Iterator<Item = usize> + 'code {
    code.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(move |offset| {
            let before = code
                .get(..*offset)
                .and_then(|before| before.chars().next_back());
            !before.is_some_and(is_word_letter) && word_at(code, *offset) == word
        })
}

/// The offset after `::`, with blanks around it; none where no `::` follows.
fn after_colons(code: &str, offset: usize) -> Option<usize> {
    let rest = code.get(offset..)?;
    let tail = rest.trim_start().strip_prefix("::")?.trim_start();
    Some(code.len() - tail.len())
}

pub fn has_macro(code: &str, name: &str) -> bool {
    word_offsets(code, name).any(|offset| {
        code.get(offset + name.len()..)
            .is_some_and(|rest| rest.trim_start().starts_with('!'))
    })
}

/// The offset of the brace that closes the one at `open`, or the end of the code.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, letter) in code.get(open..).unwrap_or("").char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open + index;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The insides of `mod name { … }`, as ranges of offsets.
fn inline_modules(code: &str) -> Vec<(usize, usize)> {
    word_offsets(code, "mod")
        .filter_map(|start| {
            let rest = code.get(start + "mod".len()..)?;
            let header = rest.find(['{', ';'])?;
            let open = start + "mod".len() + header;
            rest.get(header..)?
                .starts_with('{')
                .then(|| (open, closing_brace(code, open)))
        })
        .collect()
}
