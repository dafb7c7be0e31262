//! What the program says about itself while it runs: log lines on standard error.
//!
//! Lines never hold addresses, message texts, tokens or keys.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The filter is not one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log filter \"{filter}\" cannot be read: write a level (error, warn, info, debug, trace) or a list like info,cadenza::engine=debug"
)]
pub struct BadFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Starts the log; once in a process.
///
/// # Errors
/// [`BadFilter`] where the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| BadFilter {
            filter: filter.to_owned(),
            source,
        })?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            lines.with_ansi(colours).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // A second start in one process, as tests may do, keeps the first.
    started.or(Ok(()))
}
