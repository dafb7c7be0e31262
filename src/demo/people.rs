//! Invented people, with names in many scripts and clocks around the world.

use crate::entropy::Entropy;

const FIRST: &[&str] = &[
    "Ana",
    "Björn",
    "Chloé",
    "Dimitra",
    "Elif",
    "Farah",
    "Goran",
    "Hana",
    "Ivan",
    "Jürgen",
    "Kofi",
    "Léa",
    "Mateo",
    "Nia",
    "Óscar",
    "Priya",
    "Quynh",
    "Rania",
    "Søren",
    "Tomás",
    "Uma",
    "Víctor",
    "Wanjiru",
    "Xin",
    "Yūki",
    "Zoë",
    "Αλέξης",
    "Мария",
    "אורי",
    "ليلى",
    "太郎",
    "伟",
    "지민",
    "อรุณ",
];
const LAST: &[&str] = &[
    "Almeida",
    "Brontë",
    "Çelik",
    "D'Angelo",
    "Eriksson",
    "Fernández-Ruiz",
    "González",
    "Háček",
    "Ito",
    "Jovanović",
    "Kowalska",
    "López",
    "Müller",
    "Nguyễn",
    "O'Neill",
    "Papadopoulos",
    "Quispe",
    "Rossi",
    "Šimić",
    "Tanaka",
    "Usman",
    "van der Berg",
    "Wójcik",
    "Yıldız",
    "Zhang",
];
const COMPANY: &[&str] = &[
    "Aurora Labs",
    "Basalt Works",
    "Cobalt Group",
    "Delta Labs",
    "Ember Works",
    "Fjord Group",
    "Granite Labs",
    "Harbour Works",
    "Indigo Group",
    "Juniper Labs",
    "Kestrel Works",
    "Lumen Group",
];
const PLACE: &[(&str, &str)] = &[
    ("Lisbon", "Europe/Lisbon"),
    ("London", "Europe/London"),
    ("Madrid", "Europe/Madrid"),
    ("Athens", "Europe/Athens"),
    ("New York", "America/New_York"),
    ("Denver", "America/Denver"),
    ("São Paulo", "America/Sao_Paulo"),
    ("Nairobi", "Africa/Nairobi"),
    ("Mumbai", "Asia/Kolkata"),
    ("Tokyo", "Asia/Tokyo"),
    ("Sydney", "Australia/Sydney"),
    ("Vancouver", "America/Vancouver"),
];
const TITLE: &[&str] = &["Head of Sales", "Founder", "Engineer", "Buyer", "Director"];

/// A CSV file of invented people.
pub(super) fn csv(count: usize, entropy: &Entropy) -> String {
    let mut csv = String::from("email,first_name,last_name,company,title,time_zone,city\n");
    for number in 0..count {
        let (city, zone) = pick(PLACE, entropy)
            .copied()
            .unwrap_or(("Lisbon", "Europe/Lisbon"));
        let [first, last, company, title] = [FIRST, LAST, COMPANY, TITLE]
            .map(|list| pick(list, entropy).copied().unwrap_or_default());
        // Some people have no first name on record, as in any real list.
        let first = if number % 17 == 0 { "" } else { first };
        csv.push_str(&format!(
            "person{number}@example.org,{first},\"{last}\",{company},{title},{zone},{city}\n"
        ));
    }
    csv
}

fn pick<'a, T>(list: &'a [T], entropy: &Entropy) -> Option<&'a T> {
    let length = u64::try_from(list.len()).ok()?;
    let index = entropy.bits().checked_rem(length)?;
    list.get(usize::try_from(index).ok()?)
}
