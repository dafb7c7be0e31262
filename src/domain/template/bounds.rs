//! What is refused before a source is parsed: size, nesting, statements and characters that cannot be
//! in a message. The checks run on the tokens, so that neither the parser nor the destruction of
//! its tree ever recurses far.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::read::{line_at, offset, refusal, syntax_error};
use super::tags::single_brace_tag;
use super::{MAX_SOURCE_BYTES, TemplateError};

/// Most tokens inside one `{{ … }}` or `{% … %}`.
const MAX_TOKENS_PER_TAG: usize = 64;
/// Most merge tags and conditions in a template.
const MAX_TAGS: usize = 2_000;
/// How deep conditions nest; each `elif` counts.
pub(crate) const MAX_NESTING: usize = 16;
/// Checks length and characters.
pub(super) fn check_source(source: &str) -> Result<(), TemplateError> {
    if source.len() > MAX_SOURCE_BYTES {
        let message =
            format!("the text is longer than {MAX_SOURCE_BYTES} bytes: shorten it or host images");
        return Err(TemplateError { line: 1, message });
    }
    if let Some((at, c)) = source
        .char_indices()
        .find(|(_, c)| c.is_control() && !is_layout(*c))
    {
        let message = format!(
            "the text holds the invisible character U+{:04X}: remove it",
            u32::from(c)
        );
        return Err(TemplateError {
            line: line_at(source, at),
            message,
        });
    }
    Ok(())
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{85}')
}

/// Bounds and statement words, before anything is built.
pub(super) fn check_tokens(source: &str, syntax: &SyntaxConfig) -> Result<(), TemplateError> {
    let (mut in_tag, mut tags) = (0_usize, 0_usize);
    // For each open `if`, how many levels it holds: itself and its `elif`s.
    let mut open: Vec<usize> = Vec::new();
    let mut at_word = false;
    let mut last_line = 1;
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token.map_err(|error| syntax_error(last_line, &error))?;
        last_line = usize::from(span.end_line);
        let refuse = |message: String| Err(refusal(source, span, message));
        let is_word = std::mem::replace(&mut at_word, false);
        match token {
            Token::TemplateData(text) => check_text(source, span, text)?,
            Token::VariableStart | Token::BlockStart => {
                (in_tag, tags) = (0, tags + 1);
                at_word = matches!(token, Token::BlockStart);
            }
            Token::Ident(word) if is_word => match word {
                "if" => open.push(1),
                "elif" => open.last_mut().into_iter().for_each(|levels| *levels += 1),
                "endif" => drop(open.pop()),
                "else" => {}
                word => {
                    return refuse(format!(
                        "{{% {word} %}} is not available in messages: use merge tags and {{% if … %}}"
                    ));
                }
            },
            _ => {}
        }
        in_tag += 1;
        if in_tag > MAX_TOKENS_PER_TAG {
            return refuse("this merge tag is too long: split it into simpler ones".to_owned());
        }
        if tags > MAX_TAGS {
            return refuse(format!(
                "there are more than {MAX_TAGS} merge tags: use fewer"
            ));
        }
        if open.iter().sum::<usize>() > MAX_NESTING {
            return refuse(format!(
                "{{% if %}} nests deeper than {MAX_NESTING}: simplify it"
            ));
        }
    }
    Ok(())
}

/// Text that only looks like text: what `{% raw %}` lets through, and tags with single braces.
fn check_text(source: &str, span: Span, text: &str) -> Result<(), TemplateError> {
    if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        let message = "{% raw %} is not available in messages: write single braces".to_owned();
        return Err(refusal(source, span, message));
    }
    match single_brace_tag(text) {
        Some((at, name)) => {
            let message = format!(
                "a single pair of braces would be sent as it is: write {{{{ {name} }}}} with two"
            );
            let line = line_at(source, offset(span) + at);
            Err(TemplateError { line, message })
        }
        None => Ok(()),
    }
}
