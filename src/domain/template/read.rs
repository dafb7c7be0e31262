//! From source to nodes: bounds first, then the parser, then a walk that keeps only the language of
//! the module above. Nothing that is not known here passes.

use std::collections::HashSet;

use minijinja::Error;
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::bounds;
use super::html::{NoSink, Scanner};
use super::tags::{Tag, label};
use super::value::{Escape, Filter, Operand};
use super::{Condition, Emit, Kind, Node, TagUse, TemplateError};

/// Longest literal, in bytes.
const MAX_LITERAL_BYTES: usize = 500;

/// Reads a source.
pub(super) fn read(source: &str, kind: Kind) -> Result<(Vec<Node>, Vec<TagUse>), TemplateError> {
    bounds::check_source(source)?;
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax
        .keep_trailing_newline(true)
        .build()
        .map_err(|error| syntax_error(1, &error))?;
    bounds::check_tokens(source, &syntax)?;
    let tree = parse(source, "template", syntax).map_err(|error| syntax_error(1, &error))?;
    let mut reader = Reader {
        source,
        html: (kind == Kind::Html).then(Scanner::new),
        escape: match kind {
            Kind::Subject => Escape::Line,
            Kind::Json => Escape::Json,
            Kind::Text | Kind::Html => Escape::Text,
        },
        guarded: Vec::new(),
        tags: Vec::new(),
        seen: HashSet::new(),
    };
    let Stmt::Template(template) = &tree else {
        let message = "the text cannot be read as a template".to_owned();
        return Err(TemplateError { line: 1, message });
    };
    let nodes = reader.statements(&template.children)?;
    if reader.html.as_ref().is_some_and(|html| !html.at_rest()) {
        let message = "the HTML ends inside a tag, a comment or a <style>: close it".to_owned();
        return Err(TemplateError {
            line: line_at(source, source.len()),
            message,
        });
    }
    Ok((nodes, reader.tags))
}

pub(super) fn line_at(source: &str, offset: usize) -> usize {
    1 + source
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

pub(super) fn syntax_error(last_line: usize, error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or("it is not finished");
    let line = error.line().unwrap_or(last_line);
    let message = format!(
        "this merge tag cannot be read ({detail}): write tags as {{{{ first_name }}}}, end each \
         {{% if … %}} with {{% endif %}} and each {{# with #}}"
    );
    TemplateError { line, message }
}

pub(super) fn offset(span: Span) -> usize {
    usize::try_from(span.start_offset).unwrap_or(usize::MAX)
}

pub(super) fn refusal(source: &str, span: Span, message: String) -> TemplateError {
    TemplateError {
        line: line_at(source, offset(span)),
        message,
    }
}

/// The walk over the tree.
struct Reader<'s> {
    source: &'s str,
    /// The place in the document, for HTML.
    html: Option<Scanner>,
    /// How values are written where there is no HTML.
    escape: Escape,
    /// Tags that the conditions around guarantee to have a value.
    guarded: Vec<Tag>,
    tags: Vec<TagUse>,
    seen: HashSet<(Vec<String>, bool)>,
}

impl Reader<'_> {
    fn refuse<T>(&self, span: Span, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(refusal(self.source, span, message.into()))
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<Vec<Node>, TemplateError> {
        let mut nodes = Vec::with_capacity(statements.len());
        for statement in statements {
            match statement {
                Stmt::EmitRaw(raw) => {
                    if let Some(html) = &mut self.html {
                        html.feed(raw.raw, &mut NoSink);
                    }
                    push_text(&mut nodes, raw.raw);
                }
                Stmt::EmitExpr(emit) => {
                    let operand = self.operand(&emit.expr)?;
                    let span = emit.span();
                    let escape = match &mut self.html {
                        None => self.escape,
                        Some(html) => html
                            .merge()
                            .map_err(|message| refusal(self.source, span, message))?,
                    };
                    self.note(&operand, operand.has_default());
                    nodes.push(Node::Emit(Emit { operand, escape }));
                }
                Stmt::IfCond(cond) => {
                    let condition = self.condition(&cond.expr)?;
                    let node =
                        self.branches(cond.span(), condition, &cond.true_body, &cond.false_body)?;
                    nodes.push(node);
                }
                _ => {
                    let message = "only merge tags and {% if … %} are available in messages";
                    return Err(TemplateError {
                        line: 1,
                        message: message.to_owned(),
                    });
                }
            }
        }
        Ok(nodes)
    }

    fn branches(
        &mut self,
        span: Span,
        condition: Condition,
        then: &[Stmt<'_>],
        otherwise: &[Stmt<'_>],
    ) -> Result<Node, TemplateError> {
        let before = self.html.clone();
        let guarded = self.guarded.len();
        guarantees(&condition, true, &mut self.guarded);
        let then = self.statements(then)?;
        self.guarded.truncate(guarded);
        guarantees(&condition, false, &mut self.guarded);
        let after_then = std::mem::replace(&mut self.html, before);
        let otherwise = self.statements(otherwise)?;
        self.guarded.truncate(guarded);
        if let (Some(html), Some(other)) = (&mut self.html, &after_then) {
            html.join(other)
                .map_err(|message| refusal(self.source, span, message))?;
        }
        Ok(Node::If {
            condition,
            then,
            otherwise,
        })
    }

    fn note(&mut self, operand: &Operand, has_default: bool) {
        let has_default = has_default || self.guarded.contains(&operand.tag);
        let path = operand.tag.path();
        if self.seen.insert((path.clone(), has_default)) {
            self.tags.push(TagUse { path, has_default });
        }
    }

    fn condition(&mut self, expr: &Expr<'_>) -> Result<Condition, TemplateError> {
        match expr {
            Expr::UnaryOp(not) if matches!(not.op, UnaryOpKind::Not) => {
                Ok(Condition::Not(Box::new(self.condition(&not.expr)?)))
            }
            Expr::BinOp(op) => match op.op {
                BinOpKind::ScAnd | BinOpKind::ScOr => {
                    let left = Box::new(self.condition(&op.left)?);
                    let right = Box::new(self.condition(&op.right)?);
                    Ok(match op.op {
                        BinOpKind::ScAnd => Condition::And(left, right),
                        _ => Condition::Or(left, right),
                    })
                }
                BinOpKind::Eq | BinOpKind::Ne => {
                    let (tag, literal) = match &op.left {
                        Expr::Const(_) => (&op.right, &op.left),
                        _ => (&op.left, &op.right),
                    };
                    let operand = self.operand(tag)?;
                    self.note(&operand, true);
                    let equals = Condition::Equals(operand, self.literal(literal)?);
                    Ok(match op.op {
                        BinOpKind::Eq => equals,
                        _ => Condition::Not(Box::new(equals)),
                    })
                }
                _ => self.refuse(
                    op.span(),
                    "this operator is not available in conditions: use and, or, not, == and !=",
                ),
            },
            Expr::Test(test) if test.args.is_empty() && test.name == "defined" => {
                let operand = self.operand(&test.expr)?;
                self.note(&operand, true);
                Ok(Condition::Defined(operand))
            }
            Expr::Test(test) => self.refuse(
                test.span(),
                "this test is not available: use `is defined` or `is not defined`",
            ),
            Expr::Const(constant) => self.refuse(
                constant.span(),
                "a condition on a fixed value is always the same: name a merge tag",
            ),
            other => {
                let operand = self.operand(other)?;
                self.note(&operand, true);
                Ok(Condition::True(operand))
            }
        }
    }

    fn operand(&self, expr: &Expr<'_>) -> Result<Operand, TemplateError> {
        match expr {
            Expr::Filter(filter) => {
                let Some(inner) = &filter.expr else {
                    return self.refuse(filter.span(), "a filter needs a merge tag before it");
                };
                let mut operand = self.operand(inner)?;
                operand
                    .filters
                    .push(self.filter(filter.name, &filter.args, filter.span())?);
                Ok(operand)
            }
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
                let path = self.path(expr)?;
                Ok(Operand {
                    tag: Tag::from_path(&path),
                    filters: Vec::new(),
                })
            }
            Expr::Const(_) => self.refuse(expr.span(), "write fixed text outside the braces"),
            Expr::IfExpr(_) => self.refuse(
                expr.span(),
                "an if inside {{ … }} is not available: use {% if … %} … {% else %} … {% endif %}",
            ),
            Expr::Call(_) => self.refuse(
                expr.span(),
                "functions are not available in messages: use a filter, as in \
                 {{ first_name | default(\"there\") }}",
            ),
            Expr::BinOp(_) | Expr::UnaryOp(_) | Expr::Compare(_) => self.refuse(
                expr.span(),
                "merge tags cannot compute or join values: write the tags one after the other",
            ),
            Expr::Slice(_) | Expr::Test(_) | Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => self
                .refuse(
                    expr.span(),
                    "only a merge tag with filters can stand between {{ and }}",
                ),
        }
    }

    fn path(&self, expr: &Expr<'_>) -> Result<Vec<String>, TemplateError> {
        let (parent, part, span) = match expr {
            Expr::Var(var) => return Ok(vec![var.id.to_owned()]),
            Expr::GetAttr(get) => (&get.expr, get.name.to_owned(), get.span()),
            Expr::GetItem(get) => match &get.subscript_expr {
                Expr::Const(key) if key.value.kind() == ValueKind::String => {
                    (&get.expr, self.literal(&get.subscript_expr)?, get.span())
                }
                _ => {
                    return self.refuse(
                        get.span(),
                        "brackets take a name in quotes, as in {{ attributes[\"Job level\"] }}",
                    );
                }
            },
            other => {
                return self.refuse(
                    other.span(),
                    "a dot can follow only a name, as in attributes.city",
                );
            }
        };
        let mut path = self.path(parent)?;
        path.push(part);
        if path.len() > 8 {
            return self.refuse(
                span,
                format!("{} is too deep: use fewer parts", label(&path)),
            );
        }
        Ok(path)
    }

    fn filter(
        &self,
        name: &str,
        args: &[CallArg<'_>],
        span: Span,
    ) -> Result<Filter, TemplateError> {
        let mut literals = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                CallArg::Pos(expr) => literals.push(self.literal(expr)?),
                CallArg::Kwarg(..) | CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return self.refuse(span, "give a filter its values in quotes, without names");
                }
            }
        }
        let mut literals = literals.into_iter();
        match (name, literals.next(), literals.next(), literals.next()) {
            ("default" | "d", Some(text), None, None) => Ok(Filter::Default(text)),
            ("upper", None, None, None) => Ok(Filter::Upper),
            ("lower", None, None, None) => Ok(Filter::Lower),
            ("title", None, None, None) => Ok(Filter::Title),
            ("capitalize", None, None, None) => Ok(Filter::Capitalize),
            ("trim", None, None, None) => Ok(Filter::Trim),
            ("replace", Some(from), Some(to), None) if !from.is_empty() => {
                Ok(Filter::Replace { from, to })
            }
            (
                "default" | "d" | "upper" | "lower" | "title" | "capitalize" | "trim" | "replace",
                ..,
            ) => self.refuse(
                span,
                format!(
                    "the filter {name} has the wrong values: write default(\"there\"), \
                         replace(\"from\", \"to\"), and the others without any"
                ),
            ),
            _ => self.refuse(
                span,
                format!(
                    "there is no filter {name}: use default, upper, lower, title, capitalize, \
                     trim or replace"
                ),
            ),
        }
    }

    /// A text, number or boolean as it would be merged.
    fn literal(&self, expr: &Expr<'_>) -> Result<String, TemplateError> {
        let Expr::Const(constant) = expr else {
            return self.refuse(
                expr.span(),
                "only a fixed text in quotes or a number fits here",
            );
        };
        match constant.value.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => {}
            _ => return self.refuse(constant.span(), "write a text in quotes or a number here"),
        }
        let text = match constant.value.kind() {
            ValueKind::Bool => constant.value.is_true().to_string(),
            _ => constant.value.to_string(),
        };
        if text.len() > MAX_LITERAL_BYTES {
            let message = format!("this text is longer than {MAX_LITERAL_BYTES} bytes: shorten it");
            return self.refuse(constant.span(), message);
        }
        if ["{{", "}}", "{%", "%}", "{#"]
            .iter()
            .any(|mark| text.contains(mark))
        {
            return self.refuse(
                constant.span(),
                "a merge tag cannot stand inside quotes here",
            );
        }
        Ok(text)
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}

/// The tags that certainly have a value where the condition has come out as `outcome`.
fn guarantees(condition: &Condition, outcome: bool, tags: &mut Vec<Tag>) {
    match (condition, outcome) {
        (Condition::True(operand) | Condition::Defined(operand), true)
        | (Condition::Equals(operand, _), true)
            if !operand.has_default() =>
        {
            tags.push(operand.tag.clone());
        }
        (Condition::And(left, right), true) | (Condition::Or(left, right), false) => {
            guarantees(left, outcome, tags);
            guarantees(right, outcome, tags);
        }
        (Condition::Not(inner), outcome) => guarantees(inner, !outcome, tags),
        _ => {}
    }
}
