//! `cadenza sequence`: sequences as files, over the API.
//!
//! A file is the whole of a sequence: what it leaves out has its default. It is read with the
//! server's own rules before anything is sent, so that a plan tells what applying would do and
//! publishing would refuse, and changes nothing.
//!
//! - `definition`: the file. `shape`: whether it has the shape of the API's inputs.
//! - `senders`: addresses for ids. `stored`, `predicate`: the sequence as the API has it.
//! - `plan`: the differences. `publishing`: what publishing does beside. `apply`: making them.
//! - `api`: the server.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

mod api;
mod apply;
mod definition;
mod plan;
mod predicate;
mod publishing;
mod senders;
mod shape;
mod stored;
mod wrong;

pub use self::api::{Api, ApiError, Remote};
pub use self::apply::{Done, Prepared, Wish, prepare};
pub use self::definition::Definition;
pub use self::plan::{FieldChange, How, Plan, StepChange};
pub use self::publishing::{Move, Publishing, RemovedStep};
pub use self::stored::{Stored, find};
pub use self::wrong::Wrong;
use super::Failure;
use crate::domain::id::SequenceId;
use crate::zones::ZoneDatabase;

/// What a plan ends with where there is something to do.
const CHANGES: u8 = 2;
/// A file is no longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

const EXPORT_EXAMPLES: &str = "\
Example:
  cadenza sequence export seq_… > welcome.yaml";

const APPLY_EXAMPLES: &str = "\
The file is the whole of the sequence: what it leaves out has its default. It stands for the
sequence with its id, or else the one with its name, or else a new one. In senderIds it may name
senders by their addresses.

--plan ends with 0 where nothing would change, with 2 where something would, and with 1 where the
file, the command line or the server is at fault.

Examples:
  cadenza sequence apply welcome.yaml --plan
  cadenza sequence apply welcome.yaml
  cadenza sequence apply welcome.yaml --disable --publish --plan
  cadenza sequence apply welcome.yaml --disable --publish --removed-step read=text,old=text";

#[derive(Debug, Subcommand)]
pub(super) enum SequenceCommand {
    /// Write a sequence as YAML to standard output
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Make or edit the sequence that a file of YAML describes
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(ApplyArgs),
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The server
    #[arg(
        long,
        env = "CADENZA_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    url: String,
    /// The token, an editor's; an export and a plan also work with a viewer's
    #[arg(
        long,
        env = "CADENZA_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
}

impl ServerArgs {
    fn remote(&self) -> Result<Remote, SequenceError> {
        let token = self.token.as_deref().unwrap_or_default();
        if token.trim().is_empty() {
            return Err(SequenceError::NoToken);
        }
        Ok(Remote::new(&self.url, token)?)
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The sequence
    #[arg(value_name = "ID")]
    id: SequenceId,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tell what would change, and change nothing
    #[arg(long, env = "CADENZA_PLAN")]
    plan: bool,
    /// Disable the sequence first if it is published and has to change
    #[arg(long, env = "CADENZA_DISABLE")]
    disable: bool,
    /// Publish the sequence in the end
    #[arg(long, env = "CADENZA_PUBLISH")]
    publish: bool,
    /// Where leads go whose step is gone, with --publish: next, the next step that is
    /// left; stop; or OLD=NEW, with a comma between several
    #[arg(
        long,
        env = "CADENZA_REMOVED_STEP",
        default_value = "next",
        requires = "publish",
        value_name = "WAY"
    )]
    removed_step: RemovedStep,
    #[command(flatten)]
    server: ServerArgs,
}

/// Why a sequence was not written or made.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    /// There is no token.
    #[error(
        "there is no token: give one with --token or CADENZA_TOKEN; cadenza token create makes it"
    )]
    NoToken,
    /// The file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, std::io::Error),
    /// The file is no YAML.
    #[error("this is no YAML: {0}")]
    Yaml(#[from] serde_saphyr::Error),
    /// What is wrong with the file, each with its place.
    #[error("{}", lines(.0))]
    Wrong(Vec<Wrong>),
    /// The API did not answer what was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no such sequence.
    #[error("there is no sequence {0}: take id out of the file to make a new one, or correct it")]
    Missing(SequenceId),
    /// There is no such sequence to write.
    #[error("there is no sequence {0}: take the id from an answer of the API")]
    NoSuch(SequenceId),
    /// Several sequences have the file's name.
    #[error(
        "several sequences are called {name}: write the id of one into the file: {}",
        join(.ids)
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// The sequences.
        ids: Vec<SequenceId>,
    },
    /// The sequence's status forbids it.
    #[error("{0}")]
    State(&'static str),
    /// What is said of steps that are gone names them wrongly.
    #[error("{0}; nothing was changed")]
    RemovedStep(String),
    /// Publishing would refuse the sequence.
    #[error("publishing would refuse this, so nothing was changed: correct what is refused above")]
    Refused,
    /// A condition's predicates lie in one another too deep.
    #[error(
        "a condition's predicates lie deeper in one another than the server tells: write it flatter"
    )]
    Nested,
    /// The sequence was edited while it was read.
    #[error("the sequence was edited while it was read: try again")]
    Changed,
    /// What followed disabling the sequence failed.
    #[error("{0}\nthe sequence was disabled before that, and stays so: apply again, or publish it")]
    LeftDisabled(Box<SequenceError>),
    /// The server's answer is none of this program's API.
    #[error("the server's answer cannot be read: is it the same version as this program?")]
    Unreadable,
    /// The sequence cannot be written.
    #[error("the sequence cannot be written as YAML: {0}")]
    Write(#[from] serde_saphyr::SerializeError),
    /// This program's own schema cannot be read.
    #[error("the schema cannot be read: {0}")]
    Schema(String),
}

fn lines(wrong: &[Wrong]) -> String {
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}

fn join(ids: &[SequenceId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

pub(super) async fn run(command: SequenceCommand) -> Result<ExitCode, Failure> {
    match command {
        SequenceCommand::Export(arguments) => {
            let stored = find(&arguments.server.remote()?, arguments.id).await;
            let stored = stored.map_err(|error| match error {
                SequenceError::Missing(id) => SequenceError::NoSuch(id),
                other => other,
            })?;
            let text = stored.definition.write()?;
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        SequenceCommand::Apply(arguments) => Ok(apply(&arguments).await?),
    }
}

async fn apply(arguments: &ApplyArgs) -> Result<ExitCode, SequenceError> {
    let remote = arguments.server.remote()?;
    let definition = Definition::read(&text_of(&arguments.file)?)?;
    let zones = ZoneDatabase::load();
    let prepared = prepare(&remote, &zones, &definition).await?;
    let wish = Wish {
        disable: arguments.disable,
        publish: arguments.publish,
        on_removed_step: arguments.removed_step.0.clone(),
    };
    say(&definition, &prepared);
    if arguments.plan {
        if let Some(publishing) = prepared.publishing(&remote, &wish).await? {
            print!("{publishing}");
        }
        if wish.publish {
            prepared.allow(&Wish {
                disable: true,
                ..wish.clone()
            })?;
        }
        let code = if prepared.changes(&wish) { CHANGES } else { 0 };
        return Ok(ExitCode::from(code));
    }
    let (id, done) = prepared.carry_out(&remote, wish).await?;
    for step in done {
        println!("{id} {step}");
    }
    Ok(ExitCode::SUCCESS)
}

fn text_of(file: &Path) -> Result<String, SequenceError> {
    let failed = |error| SequenceError::File(file.display().to_string(), error);
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(failed)?)
    };
    let mut text = String::new();
    let read = reader.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let length = read.map_err(failed)?;
    if u64::try_from(length).is_ok_and(|length| length > FILE_BYTES_MAX) {
        let long = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(failed(std::io::Error::other(long)));
    }
    Ok(text)
}

fn say(definition: &Definition, prepared: &Prepared) {
    match prepared.current() {
        Some((id, status)) => println!("{} ({id}, {status})", definition.name),
        None => println!("{} (new)", definition.name),
    }
    if prepared.plan.is_empty() {
        println!("  no change");
    } else {
        print!("{}", prepared.plan);
    }
    for problem in &prepared.problems {
        println!("  {}", apply::describe(problem));
    }
}
