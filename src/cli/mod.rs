//! The command line: every flag is also an environment variable `CADENZA_…`.
//!
//! Standard output is for what was asked for; everything else goes to standard error.

mod analytics;
mod database;
mod demo;
mod inbound;
mod key;
mod post;
pub mod sequence;
mod serve;
mod token;

use std::error::Error;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use self::database::DatabaseArgs;
pub use self::key::KeyArgs;
pub use self::serve::ServeArgs;
use crate::telemetry::{self, LogFormat};

const ABOUT: &str = "An open, self-hosted engine for outreach sequences, with one GraphQL API";
const EXAMPLES: &str = "\
Getting started:
  cadenza demo                                           see everything move, on a fast clock
  cadenza serve                                          serve on http://127.0.0.1:8080
  cadenza token create --workspace acme --role admin     make a token for the API

Every flag is also an environment variable: --database is CADENZA_DATABASE.";

/// What the user typed.
#[derive(Debug, Parser)]
#[command(name = "cadenza", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

/// What goes to standard error.
#[derive(Debug, Args)]
struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or a list such as
    /// info,cadenza::engine=debug
    #[arg(
        long,
        global = true,
        env = "CADENZA_LOG",
        default_value = "info,sea_orm_migration=warn,sqlx=warn",
        value_name = "FILTER"
    )]
    log: String,
    /// How log lines are written
    #[arg(
        long,
        global = true,
        env = "CADENZA_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and send what is due
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Show a believable workspace on a fast clock, sending nothing outside
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Write sequences as files, and make them from files
    #[command(subcommand)]
    Sequence(sequence::SequenceCommand),
    /// Look whether what is counted is what happened
    #[command(subcommand)]
    Analytics(analytics::AnalyticsCommand),
    /// Hand a mail from standard input to a server, for the pipe of a mail server
    #[command(after_help = inbound::EXAMPLES)]
    Inbound(inbound::InboundArgs),
    /// Make tokens for the API
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Bring the schema of the database up to date, and end
    #[command(after_help = database::MIGRATE_EXAMPLES)]
    Migrate(DatabaseArgs),
    /// Print the GraphQL schema in the schema definition language
    #[command(after_help = "Example:\n  cadenza schema > schema.graphql")]
    Schema,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    let failed = match cli.command {
        // By any other a mail server returns the mail.
        Command::Inbound(_) => ExitCode::from(inbound::LATER),
        _ => ExitCode::FAILURE,
    };
    let outcome = telemetry::start(&cli.log.log, cli.log.log_format)
        .map_err(Into::into)
        .and_then(|()| run(cli.command));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            failed
        }
    }
}

/// Tells what the command line says of itself, or what is wrong with it: clap itself would end with 2, which
/// has a meaning here.
fn told(error: &clap::Error) -> ExitCode {
    if error.print().is_err() || error.use_stderr() {
        let is_inbound = std::env::args_os()
            .nth(1)
            .is_some_and(|first| first == "inbound");
        return match is_inbound {
            true => ExitCode::from(inbound::LATER),
            false => ExitCode::FAILURE,
        };
    }
    ExitCode::SUCCESS
}

/// Why a command failed.
type Failure = Box<dyn Error + Send + Sync>;

fn run(command: Command) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Serve(arguments) => runtime.block_on(serve::run(*arguments))?,
        Command::Demo(arguments) => runtime.block_on(demo::run(arguments))?,
        Command::Sequence(command) => return runtime.block_on(sequence::run(command)),
        Command::Analytics(command) => return runtime.block_on(analytics::run(command)),
        Command::Inbound(arguments) => return Ok(runtime.block_on(inbound::run(&arguments))),
        Command::Token(command) => runtime.block_on(token::run(command))?,
        Command::Migrate(arguments) => runtime.block_on(database::migrate(arguments))?,
        Command::Schema => print!("{}", crate::graphql::sdl()),
    }
    Ok(ExitCode::SUCCESS)
}

/// An error with its causes, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in the message.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_an_environment_variable() {
        use clap::CommandFactory;
        fn check(command: &clap::Command) {
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_long().is_some())
            {
                let long = argument.get_long().unwrap_or_default();
                if matches!(long, "help" | "version") {
                    continue;
                }
                let name = format!("CADENZA_{}", long.to_uppercase().replace('-', "_"));
                let env = argument.get_env().and_then(|env| env.to_str());
                assert_eq!(
                    env,
                    Some(name.as_str()),
                    "--{long} of {}",
                    command.get_name()
                );
                assert!(argument.get_help().is_some(), "--{long} says nothing");
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        check(&command);
    }
}
