//! What is new in a mail's text: without what it quotes, what it forwards, and the signature. A
//! quotation stays where the text goes on below it: there it is what the words answer to.

mod marks;

use self::marks::Mark;

/// How many lines are looked at; what comes after is quotation, if anything.
const LINES_MAX: usize = 4_000;
/// How many marks are looked at: nobody quotes so often, and a text made of them costs no more.
const MARKS_MAX: usize = 100;

/// The new text of a mail, lines ended by LF.
pub(super) fn new_text(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).take(LINES_MAX).collect();
    let signed = before_signature(&lines);
    let mut kept: Vec<&str> = Vec::new();
    let mut written = false;
    let mut marks_left = MARKS_MAX;
    let mut at = 0;
    while let Some(line) = signed.get(at) {
        let rest = signed.get(at..).unwrap_or_default();
        let Some((mark, length)) = marks::at(rest).filter(|_| marks_left > 0) else {
            kept.push(line);
            written = written || is_text(line);
            at += 1;
            continue;
        };
        marks_left -= 1;
        let after = rest.get(length..).unwrap_or_default();
        let quoted = quotation(after);
        let goes_on = after
            .get(quoted..)
            .unwrap_or_default()
            .iter()
            .any(|line| is_text(line));
        at += length;
        match mark {
            // Answered from above: nothing new comes below.
            Mark::Sender | Mark::Head if written => break,
            Mark::Wrote if written && (quoted == 0 || !goes_on) => break,
            // Answered in between: the quotation stays as what is answered, without its heading.
            Mark::Wrote if written => {}
            // Answered from below.
            Mark::Wrote => at += quoted,
            Mark::Sender | Mark::Head => {}
        }
    }
    without_end(&kept).join("\n").trim_matches('\n').to_owned()
}

/// The lines before the signature's mark (RFC 3676 §4.3), if there is text before it.
fn before_signature<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let mark = lines.iter().position(|line| *line == "--");
    match mark.and_then(|at| lines.get(..at)) {
        Some(before) if before.iter().any(|line| !line.trim().is_empty()) => before,
        _ => lines,
    }
}

/// How many lines of quotation a text begins with, empty ones before and in between included.
fn quotation(lines: &[&str]) -> usize {
    let end = lines
        .iter()
        .position(|line| is_text(line) || marks::is_initialled(line));
    let block = lines.get(..end.unwrap_or(lines.len())).unwrap_or_default();
    let last = block.iter().rposition(|line| marks::is_quoted(line));
    last.map_or(0, |at| at + 1)
}

/// Whether somebody has written something in a line: no quotation, no rule, no mark of a device.
fn is_text(line: &str) -> bool {
    !line.trim().is_empty() && !marks::is_quoted(line) && !marks::is_rule(line)
}

/// The lines without what follows the text: quotation, rules, what devices put there, and a short
/// signature under a rule.
fn without_end<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let mut lines = lines;
    loop {
        let end = lines
            .iter()
            .rposition(|line| is_text(line) && !marks::is_of_device(line));
        let Some(end) = end else {
            // Nothing but quotation: that is what was sent.
            let quoted = lines.iter().any(|line| marks::is_quoted(line));
            return if quoted { lines } else { &[] };
        };
        lines = lines.get(..=end).unwrap_or_default();
        let rule = lines.iter().rposition(|line| marks::is_long_rule(line));
        let below = rule.and_then(|at| lines.get(at + 1..)).unwrap_or_default();
        let above = rule.and_then(|at| lines.get(..at)).unwrap_or_default();
        let signature = !below.is_empty()
            && below.len() <= SIGNATURE_LINES
            && below.iter().all(|line| line.len() < 100);
        if !signature || !above.iter().any(|line| is_text(line)) {
            return lines;
        }
        lines = above;
    }
}

/// How many lines a signature under a rule has at most.
const SIGNATURE_LINES: usize = 6;
